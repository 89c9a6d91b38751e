//! The ways to one server: each a process of its own, as it would be on a node.

mod echo;
mod foreign;
mod hyper_proxy;
mod relays;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;

pub(crate) use echo::{EVENTS, now};

use crate::args::LaneArgs;
use crate::load::{Target, on_one_thread};
use crate::process::{Process, become_program, built_beside, die_with_parent};

/// A way to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lane {
    /// No relay.
    Direct,
    /// tokio's `copy_bidirectional` on one thread.
    Bare,
    /// The recorder's relay, with nobody looking.
    Off,
    /// `critape record`.
    On,
    /// A gRPC proxy on hyper.
    Hyper,
    /// Envoy.
    Envoy,
    /// `mitmdump -w`.
    Mitmdump,
}

impl Lane {
    pub(crate) const ALL: [Self; 7] =
        [Self::Direct, Self::Bare, Self::Off, Self::On, Self::Hyper, Self::Envoy, Self::Mitmdump];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Bare => "bare",
            Self::Off => "off",
            Self::On => "on",
            Self::Hyper => "hyper",
            Self::Envoy => "envoy",
            Self::Mitmdump => "mitmdump",
        }
    }

    /// Copies bytes, and so can take any load that the bare relay can.
    pub(crate) fn is_transparent(self) -> bool {
        matches!(self, Self::Direct | Self::Bare | Self::Off | Self::On)
    }

    /// Comes from elsewhere, and may not be installed.
    pub(crate) fn is_foreign(self) -> bool {
        matches!(self, Self::Envoy | Self::Mitmdump)
    }

    /// What one should know who reads its numbers.
    pub(crate) fn note(self) -> Option<&'static str> {
        match self {
            Self::Mitmdump => Some(
                "mitmdump: over TCP on loopback, both sides, as it knows no unix sockets; it speaks HTTP/2 over TLS only, so an \
                 add-on of a few lines makes it take plain connections for HTTP/2. It writes its flows to a file",
            ),
            Self::Envoy => Some(
                "envoy: one worker (one connection is one worker's in any case), no access log, nothing recorded",
            ),
            _ => None,
        }
    }
}

/// A lane that is open.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) lane: Lane,
    pub(crate) target: Target,
    /// Of the direct lane: the server.
    pub(crate) process: Process,
}

/// Where the server is.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) socket: PathBuf,
    /// The same over TCP, for who can't speak over unix sockets; `None` for a server that has none.
    pub(crate) address: Option<SocketAddr>,
}

/// Options of the recorder beyond its tape and sockets.
pub(crate) type RecordOptions<'a> = &'a [&'a str];

/// What a recorder's tape holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recorded {
    pub(crate) calls: u64,
    pub(crate) gaps: u64,
    /// Bytes, on the wire and on disk.
    pub(crate) wire: u64,
    pub(crate) stored: u64,
}

/// The server, listening both ways.
pub(crate) fn echo(folder: &Path) -> Result<(Process, Upstream)> {
    let upstream = Upstream { socket: folder.join("echo.sock"), address: Some(free_address()?) };
    let port = upstream.address.map_or(0, |address| address.port()).to_string();
    let args: [OsString; 3] = ["echo".into(), upstream.socket.clone().into(), port.into()];
    let mut process = Process::own("echo", &args, folder)?;
    process.wait_until(|| answers(&upstream.socket))?;
    Ok((process, upstream))
}

/// The simulator, as a server with a node's state.
pub(crate) fn simulator(folder: &Path) -> Result<(Process, Upstream)> {
    let upstream = Upstream { socket: folder.join("simulator.sock"), address: None };
    let args: [OsString; 3] = ["simulator".into(), "--listen".into(), upstream.socket.clone().into()];
    let mut process = Process::run("simulator", &built_beside("critape")?, &args, folder)?;
    process.wait_until(|| answers(&upstream.socket))?;
    Ok((process, upstream))
}

/// Opens a lane to `upstream`, or says why that can't be.
pub(crate) fn open(lane: Lane, upstream: &Upstream, folder: &Path) -> Result<Open> {
    let socket = folder.join(format!("{}.sock", lane.name()));
    let own = || -> Result<Process> {
        let args: [OsString; 3] = [lane.name().into(), upstream.socket.clone().into(), socket.clone().into()];
        let mut process = Process::own(lane.name(), &args, folder)?;
        process.wait_until(|| answers(&socket))?;
        Ok(process)
    };
    let process = match lane {
        Lane::Direct => bail!("there is nothing to open"),
        Lane::Bare | Lane::Off | Lane::Hyper => own()?,
        Lane::On => recorder(upstream, &socket, folder, &[])?,
        Lane::Envoy => foreign::envoy(upstream, &socket, folder)?,
        Lane::Mitmdump => {
            let (process, address) = foreign::mitmdump(upstream, folder)?;
            return Ok(Open { lane, target: Target::Tcp(address), process });
        }
    };
    Ok(Open { lane, target: Target::Unix(socket), process })
}

/// `critape record`, onto `folder`'s tape.
pub(crate) fn recorder(
    upstream: &Upstream,
    socket: &Path,
    folder: &Path,
    options: RecordOptions<'_>,
) -> Result<Process> {
    let program = built_beside("critape")?;
    let mut args: Vec<OsString> = vec!["record".into(), tape(folder).into(), "--passive".into()];
    args.extend(["--runtime-endpoint".into(), upstream.socket.clone().into()]);
    args.extend(["--listen".into(), socket.into()]);
    args.extend(options.iter().map(OsString::from));
    let mut process = Process::run("on", &program, &args, folder)?;
    process.wait_until(|| answers(socket))?;
    Ok(process)
}

/// Ends the recorder and says what is on its tape.
///
/// # Errors
/// It did not end well, or the tape holds another number of calls than were `made`.
pub(crate) fn stop_recorder(process: Process, folder: &Path, made: u64) -> Result<Recorded> {
    process.stop()?;
    let info = critape_tape::Tape::open(&tape(folder)).context("the recorder's tape")?.info()?;
    let summary = &info.summary;
    ensure!(
        summary.calls == made,
        "rejected: {made} calls were made through the recorder and {} are on the tape",
        summary.calls
    );
    Ok(Recorded {
        calls: summary.calls,
        gaps: summary.gaps.len() as u64,
        wire: summary.traffic,
        stored: info.stored_bytes,
    })
}

/// The recorder's tape.
pub(crate) fn tape(folder: &Path) -> PathBuf {
    folder.join("tape")
}

fn answers(socket: &Path) -> bool {
    UnixStream::connect(socket).is_ok()
}

/// A port that nobody has. Somebody might take it before its user does; then that one says so.
fn free_address() -> Result<SocketAddr> {
    Ok(std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Is a lane.
pub(crate) fn run(lane: LaneArgs) -> Result<()> {
    die_with_parent()?;
    match lane {
        LaneArgs::Echo { listen, port } => on_one_thread(echo::serve(&listen, port)),
        LaneArgs::Bare { upstream, listen } => on_one_thread(relays::bare(&upstream, &listen)),
        LaneArgs::Off { upstream, listen } => on_one_thread(relays::off(&upstream, &listen)),
        LaneArgs::Hyper { upstream, listen } => on_one_thread(hyper_proxy::serve(&upstream, &listen)),
        LaneArgs::Run { command } => become_program(&command),
    }
}
