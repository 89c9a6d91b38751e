//! What the recorder counts of itself: how much it forwards, how far the writer is behind, what is missing.
//!
//! The relay counts on its own thread, between two reads, so counting a call must cost nothing to speak of: its method is
//! looked up once, when it starts, and everything else goes by number. Only methods of the schema have a name of their own:
//! no client can make the number of series grow.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use cri::methods;
use critape_calls::{Code, Ending, GapReason, Side};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::metrics::Disk;

/// Upper bounds of the histogram of durations, in seconds.
const DURATIONS: [f64; 6] = [0.001, 0.01, 0.1, 1.0, 10.0, 100.0];
/// The name of methods that the schema does not have.
const OTHER: &str = "other";
/// Codes that gRPC defines.
const CODES: usize = 17;
/// Ends that are told apart: the codes, one for any other, and three that have no code.
const ENDS: usize = CODES + 4;

type Labels<const N: usize> = [(&'static str, &'static str); N];
type Reasons = Family<[(&'static str, String); 1], Counter>;
type Seconds = Gauge<f64, AtomicU64>;

/// Which method a call is of, as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MethodIndex(usize);

/// Counts since the recorder began. Any thread may count, and any may read.
#[derive(Debug)]
pub struct Counters {
    pub(crate) registry: Registry,
    indices: HashMap<&'static str, usize>,
    methods: Vec<PerMethod>,
    calls: Family<Labels<2>, Counter>,
    durations: Family<Labels<1>, Histogram, fn() -> Histogram>,
    in_flight: Gauge,
    bytes: [Counter; 2],
    open: Gauge,
    connections: Counter,
    undecodable: Counter,
    other_calls: Counter,
    other_connections: Counter,
    refused: Counter,
    shed: Reasons,
    gaps: Reasons,
    gap_calls: Reasons,
    gap_bytes: Reasons,
    recording: Gauge,
    queue_bytes: Gauge,
    queue_events: Gauge,
    queue_limit: Gauge,
    events: Counter,
    lag: Seconds,
    commits: Histogram,
    segments: Counter,
    segment_bytes: Gauge,
}

#[derive(Debug)]
struct PerMethod {
    path: &'static str,
    ends: [OnceLock<Counter>; ENDS],
    duration: OnceLock<Histogram>,
}

impl PerMethod {
    fn new(path: &'static str) -> Self {
        Self { path, ends: [const { OnceLock::new() }; ENDS], duration: OnceLock::new() }
    }
}

impl Counters {
    /// All at zero. `limit` is the budget of the queue in bytes; the space that `tape` takes is looked at when somebody asks.
    pub(crate) fn new(limit: u64, tape: PathBuf) -> Self {
        let paths: Vec<&str> = methods().iter().map(|method| method.path.as_str()).collect();
        let indices = paths.iter().enumerate().map(|(index, path)| (*path, index)).collect();
        let histogram: fn() -> Histogram = || Histogram::new(DURATIONS);
        let mut counters = Self {
            registry: Registry::with_prefix("critape"),
            indices,
            methods: paths.into_iter().chain([OTHER]).map(PerMethod::new).collect(),
            calls: Family::default(),
            durations: Family::new_with_constructor(histogram),
            in_flight: Gauge::default(),
            bytes: Default::default(),
            open: Gauge::default(),
            connections: Counter::default(),
            undecodable: Counter::default(),
            other_calls: Counter::default(),
            other_connections: Counter::default(),
            refused: Counter::default(),
            shed: Family::default(),
            gaps: Family::default(),
            gap_calls: Family::default(),
            gap_bytes: Family::default(),
            recording: Gauge::default(),
            queue_bytes: Gauge::default(),
            queue_events: Gauge::default(),
            queue_limit: Gauge::default(),
            events: Counter::default(),
            lag: Gauge::default(),
            commits: Histogram::new(DURATIONS),
            segments: Counter::default(),
            segment_bytes: Gauge::default(),
        };
        counters.queue_limit.set(signed(limit));
        counters.register();
        counters.registry.register_collector(Box::new(Disk { tape }));
        counters
    }

    fn register(&mut self) {
        let to = &mut self.registry;
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        to.register("build", "The program", Info::new(version));
        to.register("calls", "Calls that have ended, by method and code", self.calls.clone());
        to.register("calls_in_flight", "Calls that have not ended", self.in_flight.clone());
        let help = "How long calls took";
        to.register_with_unit("call_duration", help, Unit::Seconds, self.durations.clone());
        let bytes: Family<Labels<1>, Counter> = Family::default();
        self.bytes = ["client", "runtime"].map(|from| bytes.get_or_create_owned(&[("from", from)]));
        to.register_with_unit("forwarded", "Bytes forwarded, by who sent them", Unit::Bytes, bytes);
        to.register("connections", "Connections that were relayed", self.connections.clone());
        to.register("connections_open", "Connections that are being relayed", self.open.clone());
        let help = "Connections turned away because the runtime was not there";
        to.register("connections_refused", help, self.refused.clone());
        let help = "Connections of HTTP/2 that could not be decoded to their end";
        to.register("connections_undecodable", help, self.undecodable.clone());
        let help = "Connections of other protocols, which are forwarded and not recorded";
        to.register("other_connections", help, self.other_connections.clone());
        let help = "Calls of services that are not CRI, which are forwarded and not recorded";
        to.register("other_calls", help, self.other_calls.clone());
        self.register_tape();
    }

    fn register_tape(&mut self) {
        let to = &mut self.registry;
        let help = "Messages left out of the tape, by reason, as it happens";
        to.register("messages_shed", help, self.shed.clone());
        to.register("gaps", "Gaps on the tape, by reason", self.gaps.clone());
        to.register("gap_calls", "Calls that lost something in gaps", self.gap_calls.clone());
        let help = "Bytes of messages missing in gaps";
        to.register("gap_missing_bytes", help, self.gap_bytes.clone());
        to.register(
            "recording",
            "1 while events reach the tape, 0 when that has failed",
            self.recording.clone(),
        );
        let help = "Memory of what waits to be written";
        to.register_with_unit("queue", help, Unit::Bytes, self.queue_bytes.clone());
        to.register("queue_events", "Events that wait to be written", self.queue_events.clone());
        let help = "What may wait to be written at most";
        to.register_with_unit("queue_limit", help, Unit::Bytes, self.queue_limit.clone());
        to.register("events_written", "Events committed to the tape", self.events.clone());
        let help = "Age of the oldest event of the last commit when it was committed";
        to.register_with_unit("write_lag", help, Unit::Seconds, self.lag.clone());
        to.register_with_unit("commit", "How long commits took", Unit::Seconds, self.commits.clone());
        to.register("segments", "Segments begun", self.segments.clone());
        let help = "Bytes of chunks in the open segment";
        to.register_with_unit("segment", help, Unit::Bytes, self.segment_bytes.clone());
    }

    /// A connection is being relayed. [`Self::disconnected`] is its end.
    pub(crate) fn connected(&self) {
        self.connections.inc();
        self.open.inc();
    }

    pub(crate) fn disconnected(&self) {
        self.open.dec();
    }

    /// A client was turned away because the runtime was not there.
    pub(crate) fn refused(&self) {
        self.refused.inc();
    }

    /// A connection that does not speak HTTP/2.
    pub(crate) fn other_connection(&self) {
        self.other_connections.inc();
    }

    /// A connection whose HTTP/2 can't be followed any more.
    pub(crate) fn undecodable(&self) {
        self.undecodable.inc();
    }

    /// A call of a service that is not CRI's.
    pub(crate) fn other_call(&self) {
        self.other_calls.inc();
    }

    /// What passed beside the tape so far.
    pub fn passed(&self) -> Passed {
        Passed { calls: self.other_calls.get(), connections: self.other_connections.get() }
    }

    pub(crate) fn forwarded(&self, from: Side, bytes: u64) {
        self.bytes[usize::from(from == Side::Runtime)].inc_by(bytes);
    }

    /// A call has started. [`Self::ended`] is its end.
    pub(crate) fn started(&self, path: &str) -> MethodIndex {
        self.in_flight.inc();
        MethodIndex(self.indices.get(path).copied().unwrap_or(self.methods.len() - 1))
    }

    /// A call has ended. The code counts where there was a status.
    pub(crate) fn ended(
        &self,
        MethodIndex(method): MethodIndex,
        ending: Ending,
        code: Code,
        after: Duration,
    ) {
        self.in_flight.dec();
        let Some(method) = self.methods.get(method) else { return };
        let (index, name) = match ending {
            Ending::Status => ((code.0 as usize).min(CODES), ""),
            Ending::Cancelled | Ending::Deadline => (CODES + 1, "cancelled"),
            Ending::Reset(_) => (CODES + 2, "reset"),
            Ending::Truncated => (CODES + 3, "truncated"),
        };
        let counter = method.ends[index].get_or_init(|| {
            let name = if name.is_empty() { code.name().unwrap_or(OTHER) } else { name };
            self.calls.get_or_create_owned(&[("method", method.path), ("code", name)])
        });
        counter.inc();
        let duration =
            method.duration.get_or_init(|| self.durations.get_or_create_owned(&[("method", method.path)]));
        duration.observe(after.as_secs_f64());
    }

    /// A message is left out of the tape.
    pub(crate) fn shed(&self, reason: GapReason) {
        self.shed.get_or_create(&[("reason", reason.to_string())]).inc();
    }

    /// A gap is on the tape.
    pub(crate) fn gap(&self, reason: GapReason, calls: u64, bytes: u64) {
        let labels = [("reason", reason.to_string())];
        self.gaps.get_or_create(&labels).inc();
        self.gap_calls.get_or_create(&labels).inc_by(calls);
        self.gap_bytes.get_or_create(&labels).inc_by(bytes);
    }

    /// What waits for the writer.
    pub(crate) fn queued(&self, bytes: u64, events: u64) {
        self.queue_bytes.set(signed(bytes));
        self.queue_events.set(signed(events));
    }

    /// Events were written to the tape.
    pub(crate) fn appended(&self, events: u64) {
        self.recording.set(1);
        self.events.inc_by(events);
    }

    /// What was written is committed: the oldest event that was waiting happened `lag` ago, and it took `took`. `segment_bytes` is
    /// what the open segment holds.
    pub(crate) fn committed(&self, lag: Duration, segment_bytes: u64, took: Duration) {
        self.lag.set(lag.as_secs_f64());
        self.segment_bytes.set(signed(segment_bytes));
        self.commits.observe(took.as_secs_f64());
    }

    /// A segment has begun.
    pub(crate) fn segment_begun(&self) {
        self.recording.set(1);
        self.segments.inc();
    }

    /// Nothing reaches the tape any more.
    pub(crate) fn write_failed(&self) {
        self.recording.set(0);
    }
}

/// What was forwarded and is not on the tape, because it is not CRI.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Calls of other gRPC services, as containerd's own.
    pub calls: u64,
    /// Connections of other protocols, as CRI-O's HTTP/1.1.
    pub connections: u64,
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(counters: &Counters) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &counters.registry).unwrap();
        text
    }

    #[test]
    fn calls_are_counted_by_method_and_code() {
        let counters = Counters::new(1 << 20, PathBuf::new());
        let version = counters.started("/runtime.v1.RuntimeService/Version");
        let other = counters.started("/runtime.v1.RuntimeService/Nope");
        let status = |code| (Ending::Status, Code(code));
        for (method, (ending, code)) in [
            (version, status(0)),
            (version, status(0)),
            (version, status(5)),
            (version, status(999)),
            (version, (Ending::Truncated, Code(0))),
            (other, status(12)),
        ] {
            counters.ended(method, ending, code, Duration::from_millis(5));
        }
        let text = text(&counters);
        for line in [
            r#"critape_calls_total{method="/runtime.v1.RuntimeService/Version",code="OK"} 2"#,
            r#"critape_calls_total{method="/runtime.v1.RuntimeService/Version",code="NOT_FOUND"} 1"#,
            r#"critape_calls_total{method="/runtime.v1.RuntimeService/Version",code="other"} 1"#,
            r#"critape_calls_total{method="/runtime.v1.RuntimeService/Version",code="truncated"} 1"#,
            r#"critape_calls_total{method="other",code="UNIMPLEMENTED"} 1"#,
            r#"critape_call_duration_seconds_bucket{le="0.01",method="/runtime.v1.RuntimeService/Version"} 5"#,
            "critape_queue_limit_bytes 1048576",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
        }
    }

    #[test]
    fn names_are_made_by_the_schema_alone() {
        let counters = Counters::new(0, PathBuf::new());
        let lines = |counters| text(counters).lines().filter(|line| !line.starts_with('#')).count();
        let series = lines(&counters);
        for number in 0..100 {
            let method = counters.started(&format!("/runtime.v1.RuntimeService/Made{number}"));
            counters.ended(method, Ending::Status, Code(100 + number), Duration::ZERO);
        }
        // One counter and one histogram.
        assert_eq!(lines(&counters), series + 1 + DURATIONS.len() + 3);
    }
}
