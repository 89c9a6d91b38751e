//! Endpoints: where a runtime is, and where something is to listen.

use std::fs;

use insta::assert_snapshot;

use crate::folder::Folder;
use crate::workload;

#[test]
fn no_runtime_at_the_endpoint() {
    let folder = Folder::new();
    workload::record_briefly(&folder, "node.tape");
    assert_snapshot!(
        folder.refused("replay node.tape -r unix://DIR/absent.sock"),
        @"error: no runtime answers at unix://DIR/absent.sock: No such file or directory (os error 2); is it running?"
    );
    assert_snapshot!(
        folder.refused("gateway -r unix://DIR/absent.sock --listen 127.0.0.1:0"),
        @"error: no runtime answers at unix://DIR/absent.sock: No such file or directory (os error 2)"
    );
    assert_snapshot!(
        folder.refused("gateway -r unix://DIR/absent.sock --listen unix://DIR/g.sock"),
        @"error: no runtime answers at unix://DIR/absent.sock: No such file or directory (os error 2)"
    );
}

#[test]
fn a_recorder_without_a_runtime_starts_and_warns() {
    let folder = Folder::new();
    let recorder = folder.recorder("node.tape", "absent.sock", "l.sock", "");
    let ended = recorder.interrupted();
    assert_snapshot!(folder.redacted(&ended.stderr), @r"
    warning: no runtime at unix://DIR/absent.sock yet; clients are turned away until there is one
    listening on unix://DIR/l.sock
    recorded 0 calls on 0 connections onto node.tape; `critape tape show node.tape` lists them
    ");
    assert_eq!(ended.code, Some(0));
    assert!(!folder.path("l.sock").exists());
    folder.json("tape info node.tape -o json");
}

#[test]
fn an_endpoint_that_is_no_unix_socket() {
    let folder = Folder::new();
    workload::record_briefly(&folder, "node.tape");
    assert_snapshot!(folder.refused("record new.tape -r unix://DIR/r.sock --listen tcp://127.0.0.1:1"), @r"
    error: invalid value 'tcp://127.0.0.1:1' for '--listen <ENDPOINT>': tcp://127.0.0.1:1 is not a unix socket: CRI is spoken on unix sockets only, give one as unix:///path/to/socket
    `critape --help` and `critape COMMAND --help` tell what there is
    ");
    assert_snapshot!(
        folder.refused("record new.tape -r tcp://127.0.0.1:1 --listen unix://DIR/l.sock"),
        @"error: --runtime-endpoint: tcp://127.0.0.1:1 is not a unix socket: CRI is spoken on unix sockets only, give one as unix:///path/to/socket"
    );
    assert_snapshot!(
        folder.refused("replay node.tape -r http://127.0.0.1:1"),
        @"error: --runtime-endpoint: http://127.0.0.1:1 is not a unix socket: CRI is spoken on unix sockets only, give one as unix:///path/to/socket"
    );
}

#[test]
fn a_relative_endpoint() {
    let folder = Folder::new();
    assert_snapshot!(folder.refused("simulator --listen s.sock"), @r"
    error: invalid value 's.sock' for '--listen <ENDPOINT>': s.sock is not an absolute path: give the endpoint as unix:///path/to/socket
    `critape --help` and `critape COMMAND --help` tell what there is
    ");
    assert_snapshot!(
        folder.refused("record new.tape -r r.sock --listen unix://DIR/l.sock"),
        @"error: --runtime-endpoint: r.sock is not an absolute path: give the endpoint as unix:///path/to/socket"
    );
}

#[test]
fn an_empty_endpoint() {
    assert_snapshot!(Folder::new().refused("simulator --listen ''"), @r"
    error: invalid value '' for '--listen <ENDPOINT>': the endpoint is empty: give one as unix:///run/containerd/containerd.sock
    `critape --help` and `critape COMMAND --help` tell what there is
    ");
}

#[test]
fn a_path_too_long_for_a_socket() {
    let folder = Folder::new();
    let long = format!("unix:///{}", "x".repeat(107));
    let refused = folder.refused(&format!("record new.tape -r unix://DIR/r.sock --listen {long}"));
    assert_snapshot!(refused.replace(&"x".repeat(107), "xxx"), @r"
    error: invalid value 'unix:///xxx' for '--listen <ENDPOINT>': /xxx is 108 bytes long and a unix socket's path holds at most 107: use a shorter one
    `critape --help` and `critape COMMAND --help` tell what there is
    ");
    let refused = folder.refused(&format!("gateway -r {long} --listen 127.0.0.1:0"));
    assert_snapshot!(
        refused.replace(&"x".repeat(107), "xxx"),
        @"error: --runtime-endpoint: /xxx is 108 bytes long and a unix socket's path holds at most 107: use a shorter one"
    );
}

#[test]
fn a_socket_in_use() {
    let folder = Folder::new();
    let _simulator = folder.simulator("used.sock", "");
    assert_snapshot!(
        folder.refused("simulator --listen unix://DIR/used.sock"),
        @"error: DIR/used.sock is in use: something answers on it; stop that, or choose another path"
    );
    assert_snapshot!(
        folder.refused("record new.tape -r unix://DIR/r.sock --listen unix://DIR/used.sock"),
        @"error: DIR/used.sock is in use: something answers on it; stop that, or choose another path"
    );
    assert_snapshot!(
        folder.refused("gateway -r unix://DIR/used.sock --listen unix://DIR/used.sock"),
        @"error: DIR/used.sock is in use: something answers on it; stop that, or choose another path"
    );
}

#[test]
fn a_port_in_use() {
    let folder = Folder::new();
    let _simulator = folder.simulator("s.sock", "");
    let used = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = used.local_addr().unwrap().port();
    let refused = folder.refused(&format!("gateway -r unix://DIR/s.sock --listen 127.0.0.1:{port}"));
    assert_snapshot!(
        refused.replace(&port.to_string(), "PORT"),
        @"error: listening on 127.0.0.1:PORT: Address already in use (os error 98); choose another port, or 0 for any"
    );
}

#[test]
fn something_else_where_a_socket_is_to_be() {
    let folder = Folder::new();
    folder.write("file", "text\n");
    assert_snapshot!(
        folder.refused("record new.tape -r unix://DIR/r.sock --listen unix://DIR/file"),
        @"error: DIR/file exists and is not a socket: choose another path"
    );
    assert_snapshot!(
        folder.refused("simulator --listen unix://DIR/file"),
        @"error: DIR/file exists and is not a socket: choose another path"
    );
    assert_snapshot!(
        folder.refused("simulator --listen unix://DIR"),
        @"error: DIR exists and is not a socket: choose another path"
    );
    assert_eq!(fs::read(folder.path("file")).unwrap(), b"text\n");
}

#[test]
fn a_socket_in_a_folder_that_is_not_there() {
    let folder = Folder::new();
    assert_snapshot!(
        folder.refused("record new.tape -r unix://DIR/r.sock --listen unix://DIR/no/l.sock"),
        @"error: listening on DIR/no/l.sock: No such file or directory (os error 2); make its folder first"
    );
}

#[test]
fn the_runtimes_own_socket() {
    let folder = Folder::new();
    let _simulator = folder.simulator("r.sock", "");
    assert_snapshot!(
        folder.refused("record new.tape -r unix://DIR/r.sock --listen unix://DIR/r.sock"),
        @"error: unix://DIR/r.sock is the runtime's own socket: give --listen another path"
    );
}

/// A recorder that connects to itself would do so until nothing is left.
#[test]
fn the_runtimes_own_socket_by_another_path() {
    let folder = Folder::new();
    fs::create_dir(folder.path("run")).unwrap();
    std::os::unix::fs::symlink("run", folder.path("link")).unwrap();
    // Few files, so that one that does not refuse stays harmless.
    let line = "record new.tape -r unix://DIR/link/r.sock --listen unix://DIR/run/r.sock";
    let mut command = folder.command_by("prlimit", &["--nofile=64"], line);
    assert_snapshot!(
        folder.refused_by(&mut command),
        @"error: unix://DIR/run/r.sock is the runtime's own socket: give --listen another path"
    );
}

#[test]
fn a_configuration_that_is_none() {
    let folder = Folder::new();
    workload::record_briefly(&folder, "node.tape");
    folder.write("crictl.yaml", "runtime-endpoint: [\n");
    assert_snapshot!(
        folder.refused("replay node.tape --config absent.yaml"),
        @"error: reading absent.yaml: No such file or directory (os error 2)"
    );
    assert_snapshot!(
        folder.refused("replay node.tape --config crictl.yaml"),
        @"error: crictl.yaml is not a crictl configuration: error: line 1 column 19: expected string scalar"
    );
}

#[test]
fn an_address_that_others_reach() {
    let folder = Folder::new();
    let _simulator = folder.simulator("s.sock", "");
    assert_snapshot!(
        folder.refused("gateway -r unix://DIR/s.sock --listen 0.0.0.0:0"),
        @"error: 0.0.0.0:0 can be reached from other machines, and that needs TLS, which is not offered: listen on 127.0.0.1:PORT or unix:///path/to/socket"
    );
    assert_snapshot!(
        folder.refused("gateway -r unix://DIR/s.sock --listen nonsense"),
        @"error: nonsense is no address to listen on: give one as 127.0.0.1:PORT or unix:///path/to/socket"
    );
}

#[test]
fn a_token_that_can_not_be_used() {
    let folder = Folder::new();
    let _simulator = folder.simulator("s.sock", "");
    folder.write("short", "secret\n");
    let gateway = "gateway -r unix://DIR/s.sock --listen 127.0.0.1:0";
    assert_snapshot!(
        folder.refused(&format!("{gateway} --token-file absent")),
        @"error: reading absent: No such file or directory (os error 2)"
    );
    assert_snapshot!(
        folder.refused(&format!("{gateway} --token-file short")),
        @"error: short: the token has 6 characters and needs at least 32: make one with `openssl rand -hex 32`"
    );
    assert_snapshot!(folder.refused(&format!("{gateway} --token-file short --no-auth")), @r"
    error: the argument '--token-file <FILE>' cannot be used with '--no-auth'
    `critape --help` and `critape COMMAND --help` tell what there is
    ");
}

#[test]
fn an_unknown_regression() {
    let folder = Folder::new();
    assert_snapshot!(
        folder.refused("simulator --listen unix://DIR/s.sock --regression nonsense"),
        @r#"error: no regression is called "nonsense": `critape simulator --list-regressions` lists them"#
    );
}
