//! Proxies of others, from the virtual environment that `bench/setup.sh` makes.

use std::ffi::OsString;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use super::{Upstream, answers, free_address};
use crate::process::Process;

/// Names the virtual environment.
const VENV: &str = "CRITAPE_BENCH_VENV";

/// mitmproxy takes a connection for HTTP/2 only where TLS has agreed on it.
const PLAIN_HTTP2: &str = "\
def client_connected(client):
    client.alpn = b'h2'

def server_connected(data):
    data.server.alpn = b'h2'
";

/// A program of the virtual environment.
fn program(name: &str) -> Result<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("venv");
    let venv = std::env::var_os(VENV).map_or(beside, PathBuf::from);
    let program = venv.join("bin").join(name);
    ensure!(
        program.exists(),
        "{} is not there: run bench/setup.sh, or name its folder in {VENV}",
        program.display()
    );
    Ok(program)
}

pub(super) fn envoy(upstream: &Upstream, socket: &Path, folder: &Path) -> Result<Process> {
    let config = folder.join("envoy.yaml");
    std::fs::write(&config, envoy_config(socket, &upstream.socket))?;
    let mut args: Vec<OsString> = vec!["--config-path".into(), config.into()];
    args.extend(["--concurrency", "1", "--log-level", "error", "--disable-hot-restart"].map(OsString::from));
    let mut process = Process::run("envoy", &program("envoy")?, &args, folder)?;
    process.wait_until(|| answers(socket))?;
    Ok(process)
}

/// HTTP/2 in and out, over unix sockets, with nothing in between.
fn envoy_config(listen: &Path, upstream: &Path) -> String {
    let windows = format!(
        "initial_stream_window_size: {}, initial_connection_window_size: {}",
        crate::load::STREAM_WINDOW,
        crate::load::CONNECTION_WINDOW
    );
    format!(
        r#"static_resources:
  listeners:
  - name: cri
    address: {{ pipe: {{ path: "{listen}" }} }}
    per_connection_buffer_limit_bytes: 16777216
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: cri
          codec_type: HTTP2
          http2_protocol_options: {{ max_concurrent_streams: 1024, {windows} }}
          stream_idle_timeout: 0s
          route_config:
            virtual_hosts:
            - name: cri
              domains: ["*"]
              routes:
              - match: {{ prefix: "/" }}
                route: {{ cluster: runtime, timeout: 0s }}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: runtime
    type: STATIC
    per_connection_buffer_limit_bytes: 16777216
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config:
          http2_protocol_options: {{ max_concurrent_streams: 1024, {windows} }}
    load_assignment:
      cluster_name: runtime
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ pipe: {{ path: "{upstream}" }} }} }}
"#,
        listen = listen.display(),
        upstream = upstream.display(),
    )
}

pub(super) fn mitmdump(upstream: &Upstream, folder: &Path) -> Result<(Process, SocketAddr)> {
    let Some(server) = upstream.address else { anyhow::bail!("it needs the server on TCP") };
    let script = folder.join("plain_http2.py");
    std::fs::write(&script, PLAIN_HTTP2)?;
    let address = free_address()?;
    let mode = format!("reverse:http://{server}");
    let args: Vec<OsString> = vec![
        "--quiet".into(),
        "--mode".into(),
        mode.into(),
        "--listen-host".into(),
        address.ip().to_string().into(),
        "--listen-port".into(),
        address.port().to_string().into(),
        "--set".into(),
        format!("confdir={}", folder.display()).into(),
        "--scripts".into(),
        script.into(),
        "--save-stream-file".into(),
        folder.join("flows").into(),
    ];
    let mut process = Process::run("mitmdump", &program("mitmdump")?, &args, folder)?;
    process.wait_until(|| TcpStream::connect(address).is_ok())?;
    Ok((process, address))
}
