//! Whether calls take longer, or less long, than when they were recorded.
//!
//! Durations of one method are compared as two samples by their ranks (the Mann-Whitney test), which asks nothing of how they are
//! spread. That two samples of one machine differ with certainty is common all the same: so the medians must be far apart as
//! well, in both halves of the run, by as much as a kubelet would notice.

use std::collections::BTreeMap;
use std::time::Duration;

use critape_calls::CallId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Divergence, Kind, Path, Severity};

/// How far apart ranks must be, in standard deviations. By chance alone it is that once in 30 000 samples; a replay has some
/// thirty methods.
const MIN_DEVIATIONS: f64 = 4.0;
/// Slower is a median at least so many times as long …
const SLOWER: f64 = 1.5;
/// … and longer by so much.
const SLOWER_BY: f64 = 10e6;
/// Faster is one at most this share of it: caches are warm when a tape is replayed.
const FASTER: f64 = 0.25;
/// … and shorter by so much.
const FASTER_BY: f64 = 100e6;
/// In each half of the run the median must be this many times as long, or short.
const IN_EACH_HALF: f64 = 1.25;
/// Events are late that come later by so much: a kubelet is told of what happened, and waits for nothing.
const LATE_BY: f64 = 100e6;
/// A call stands out that took at least so many times as long as the longest recorded one of its method …
const STANDS_OUT: f64 = 10.0;
/// … and longer by so much: kubelet's pods wait for it.
const STANDS_OUT_BY: f64 = 5e9;
/// Pairs of durations kept of one method. What comes later is left out: a day of polls says no more.
const MAX_PAIRS: usize = 20_000;

/// How long the calls of one method took, where both sides made them at one pace. Durations are in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timed {
    /// How many calls.
    pub calls: u64,
    /// Whether these are enough to tell that calls take longer or less long.
    pub judged: bool,
    /// The longest live call, where it stands out. One call is no proof, so this is no finding.
    pub slow: Option<SlowCall>,
}

/// A call that took much longer than any recorded one of its method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlowCall {
    /// The recorded call.
    pub call: u64,
    /// How long the live one took.
    pub took: u64,
    /// How long the longest recorded one of the method took.
    pub recorded: u64,
}

/// How long calls took, by method, in the order in which they were replayed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Durations(BTreeMap<String, Sample>);

/// How long the calls of one method took.
#[derive(Clone, Debug, Default)]
struct Sample {
    pairs: Vec<(f64, f64)>,
    /// All of them, those too that are not kept.
    calls: u64,
    longest_recorded: f64,
    longest: Option<(CallId, f64)>,
}

impl Durations {
    pub(crate) fn add(&mut self, method: &str, call: Option<CallId>, recorded: Duration, live: Duration) {
        let sample = match self.0.get_mut(method) {
            Some(sample) => sample,
            None => self.0.entry(method.to_owned()).or_default(),
        };
        sample.add(call, recorded.as_nanos() as f64, live.as_nanos() as f64);
    }

    /// What is known of the calls of this method.
    pub(crate) fn timed(&self, method: &str) -> Option<Timed> {
        self.0.get(method).map(Sample::timed)
    }

    /// The methods whose durations have shifted, by request path.
    pub(crate) fn divergences(&self) -> impl Iterator<Item = (&str, Divergence)> {
        let shifted = self.0.iter().filter_map(|(method, sample)| Some((method, shift(&sample.pairs)?)));
        shifted.map(|(method, shift)| (method.as_str(), shift.divergence("duration")))
    }

    /// The same, where these are the delays of events: only those that come much later matter.
    pub(crate) fn delays(&self) -> impl Iterator<Item = (&str, Divergence)> {
        let shifted = self.0.iter().filter_map(|(method, sample)| Some((method, shift(&sample.pairs)?)));
        let late = shifted.filter(|(_, shift)| shift.live.p50 - shift.recorded.p50 >= LATE_BY);
        late.map(|(method, shift)| (method.as_str(), shift.divergence("events")))
    }
}

impl Sample {
    fn add(&mut self, call: Option<CallId>, recorded: f64, live: f64) {
        self.calls += 1;
        if self.pairs.len() < MAX_PAIRS {
            self.pairs.push((recorded, live));
        }
        self.longest_recorded = self.longest_recorded.max(recorded);
        if let Some(call) = call.filter(|_| self.longest.is_none_or(|(_, longest)| longest < live)) {
            self.longest = Some((call, live));
        }
    }

    fn timed(&self) -> Timed {
        let recorded = self.longest_recorded;
        let stands_out = |took: f64| took >= recorded * STANDS_OUT && took - recorded >= STANDS_OUT_BY;
        let slow = self.longest.filter(|(_, took)| stands_out(*took));
        Timed {
            calls: self.calls,
            judged: most_deviations(self.pairs.len()) >= MIN_DEVIATIONS,
            slow: slow.map(|(call, took)| SlowCall {
                call: call.0,
                took: took as u64,
                recorded: recorded as u64,
            }),
        }
    }
}

/// By how many deviations so many pairs differ at most: all live ones are longer than all recorded ones.
fn most_deviations(pairs: usize) -> f64 {
    let count = pairs as f64;
    count / 2.0 / ((2.0 * count + 1.0) / 12.0).sqrt()
}

/// Durations that have shifted; all in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Shift {
    recorded: Quantiles,
    live: Quantiles,
    /// In standard deviations of the sum of ranks.
    deviations: f64,
    calls: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Quantiles {
    p50: f64,
    p90: f64,
}

impl Quantiles {
    /// Of durations that are there.
    fn of(durations: impl Iterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = durations.collect();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
        Self { p50: at(0.5), p90: at(0.9) }
    }

    fn to_json(self, calls: usize) -> Value {
        json!({ "p50": self.p50 as u64, "p90": self.p90 as u64, "calls": calls })
    }
}

impl Shift {
    fn divergence(&self, path: &str) -> Divergence {
        let way = if self.live.p50 > self.recorded.p50 { "slower" } else { "faster" };
        Divergence {
            path: Path::root(path),
            kind: Kind::Latency,
            transition: None,
            recorded: self.recorded.to_json(self.calls),
            live: self.live.to_json(self.calls),
            rule: format!("latency: {way} by {:.1} deviations of the ranks", self.deviations.abs()),
            severity: Severity::Behaviour,
            settles: false,
            about: None,
        }
    }
}

/// Whether the live durations of these pairs have shifted against the recorded ones.
fn shift(pairs: &[(f64, f64)]) -> Option<Shift> {
    let deviations = deviations(pairs)?;
    if deviations.abs() < MIN_DEVIATIONS {
        return None;
    }
    let recorded = Quantiles::of(pairs.iter().map(|pair| pair.0));
    let live = Quantiles::of(pairs.iter().map(|pair| pair.1));
    let (ratio, by) = (live.p50 / recorded.p50, live.p50 - recorded.p50);
    let slower = ratio >= SLOWER && by >= SLOWER_BY && deviations > 0.0;
    let faster = ratio <= FASTER && -by >= FASTER_BY && deviations < 0.0;
    let (first, second) = pairs.split_at(pairs.len() / 2);
    // A machine that is busy for a while slows down a part of a run only.
    let lasts = [first, second].iter().all(|half| {
        let before = Quantiles::of(half.iter().map(|pair| pair.0)).p50;
        let now = Quantiles::of(half.iter().map(|pair| pair.1)).p50;
        if slower { now >= before * IN_EACH_HALF } else { now * IN_EACH_HALF <= before }
    });
    ((slower || faster) && lasts).then_some(Shift { recorded, live, deviations, calls: pairs.len() })
}

/// By how many of its standard deviations the sum of the live ranks is above what chance has it. `None` for too few, or where
/// all are equal.
fn deviations(pairs: &[(f64, f64)]) -> Option<f64> {
    let count = pairs.len() as f64;
    let mut all: Vec<(f64, bool)> =
        pairs.iter().flat_map(|(recorded, live)| [(*recorded, false), (*live, true)]).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut rank_sum, mut ties, mut rank) = (0.0, 0.0, 1.0);
    for equal in all.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
        let size = equal.len() as f64;
        let shared = rank + (size - 1.0) / 2.0;
        rank_sum += shared * equal.iter().filter(|(_, live)| *live).count() as f64;
        ties += size.powi(3) - size;
        rank += size;
    }
    let total = 2.0 * count;
    let above = rank_sum - count * (total + 1.0) / 2.0;
    let variance = count * count / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)));
    (pairs.len() > 1 && variance > 0.0).then(|| above / variance.sqrt())
}

#[cfg(test)]
mod tests {
    use critape_calls::{Live, Recorded};
    use proptest::prelude::*;

    use super::*;

    /// Numbers between 0 and 1 that look random, the same for one seed (splitmix64).
    fn random(seed: u64) -> impl FnMut() -> f64 {
        let mut state = seed;
        move || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
        }
    }

    /// A duration around `median`, as calls have them: seldom much shorter, now and then much longer.
    fn duration(random: &mut impl FnMut() -> f64, median: f64, spread: f64) -> f64 {
        let (u, v) = (random().max(1e-12), random());
        let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
        let tail = if random() < 0.01 { 10.0 } else { 1.0 };
        median * (normal * spread).exp() * tail
    }

    fn sample(seed: u64, calls: usize, median: f64, factor: f64, spread: f64) -> Vec<(f64, f64)> {
        let mut random = random(seed);
        (0..calls)
            .map(|_| {
                let recorded = duration(&mut random, median, spread);
                (recorded, factor * duration(&mut random, median, spread))
            })
            .collect()
    }

    /// A run is 30 methods; in a thousand of them at most one may find a shift where there is none.
    #[test]
    fn samples_of_one_distribution_are_no_shift() {
        let mut runs = 0;
        for run in 0..1000_u64 {
            let found = (0..30_u64).any(|method| {
                let calls = 5 + (method as usize * 7) % 60;
                let spread = 0.1 + method as f64 / 20.0;
                shift(&sample(run * 1000 + method, calls, 200e6, 1.0, spread)).is_some()
            });
            runs += u32::from(found);
        }
        assert!(runs <= 1, "{runs} of 1000 runs found a shift");
    }

    proptest! {
        #[test]
        fn a_doubling_of_thirty_calls_is_found(seed: u64, median in 20e6..20e9_f64, spread in 0.02..0.2_f64) {
            let slower = shift(&sample(seed, 30, median, 2.0, spread));
            prop_assert!(slower.is_some_and(|shift| shift.deviations > 0.0));
            prop_assert_eq!(shift(&sample(seed, 30, median, 1.0, spread)), None);
        }

        #[test]
        fn what_does_not_matter_is_none(seed: u64, calls in 0..200_usize, factor in 0.4..10.0_f64) {
            prop_assert_eq!(shift(&sample(seed, calls, 0.5e6, factor, 0.2)), None, "below ten milliseconds");
        }

        #[test]
        fn sides_that_change_places_turn_the_sign(pairs in proptest::collection::vec((0.0..1e9_f64, 0.0..1e9_f64), 2..80)) {
            let turned: Vec<_> = pairs.iter().map(|(recorded, live)| (*live, *recorded)).collect();
            let (one, other) = (deviations(&pairs).unwrap(), deviations(&turned).unwrap());
            prop_assert!((one + other).abs() < 1e-6, "{} {}", one, other);
        }
    }

    #[test]
    fn much_faster_is_found_too_and_a_busy_moment_is_not() {
        let faster = shift(&sample(1, 30, 10e9, 0.01, 0.2)).unwrap();
        assert!(faster.deviations < -MIN_DEVIATIONS);
        assert!(faster.divergence("duration").rule.starts_with("latency: faster"));
        let mut busy = sample(2, 100, 100e6, 1.0, 0.2);
        for (_, live) in &mut busy[..49] {
            *live *= 20.0;
        }
        assert_eq!(shift(&busy), None);
        assert_eq!(shift(&[]), None);
        assert_eq!(shift(&vec![(1e9, 1e9); 50]), None);
    }

    #[test]
    fn events_that_come_much_later_are_a_finding() {
        let found = |later: u64, sooner: u64| {
            let mut findings = crate::Findings::default();
            for event in 0..40 {
                let (recorded, live) =
                    (Duration::from_millis(sooner + event % 3), Duration::from_millis(later + event % 3));
                let method = "/runtime.v1.RuntimeService/GetContainerEvents";
                findings.event_took(method, Recorded(recorded), Live(live));
            }
            let (side, rules) = (crate::SideInfo::default(), crate::Rules::standard());
            findings.into_report(side.clone(), side, &rules, 0.01).findings
        };
        let late = found(300, 1);
        let [finding] = late.as_slice() else { panic!("{late:?}") };
        assert_eq!((finding.kind, finding.path.as_str()), (Kind::Latency, "events"));
        assert_eq!(
            finding.summary,
            "GetContainerEvents tells of what happened later than when it was recorded"
        );
        assert_eq!([found(50, 1).len(), found(1, 300).len()], [0, 0], "a machine that is busy, or was");
    }

    #[test]
    fn a_shift_is_a_finding() {
        let mut findings = crate::Findings::default();
        let ms = Duration::from_millis;
        for call in 0..30 {
            let (recorded, live) = (Recorded(ms(100 + call)), Live(ms(200 + call)));
            findings.took("/runtime.v1.RuntimeService/StartContainer", CallId(call), recorded, live);
            findings.took(
                "/runtime.v1.RuntimeService/StopContainer",
                CallId(call),
                recorded,
                Live(recorded.0),
            );
        }
        let report = findings.into_report(
            crate::SideInfo::default(),
            crate::SideInfo::default(),
            &crate::Rules::standard(),
            0.01,
        );
        let [finding] = report.findings.as_slice() else { panic!("{:?}", report.findings) };
        assert_eq!((finding.kind, finding.path.as_str()), (Kind::Latency, "duration"));
        assert_eq!(finding.summary, "StartContainer takes longer than when it was recorded");
        assert_eq!(finding.examples[0].recorded["calls"], 30);
    }

    #[test]
    fn few_calls_are_not_judged_and_one_that_took_long_is_told() {
        let start = "/runtime.v1.RuntimeService/StartContainer";
        let timed = |calls: u64, longest: Duration| {
            let mut findings = crate::Findings::default();
            for call in 1..=calls {
                let recorded = Duration::from_millis(200 + call);
                let live = if call == 2 { longest } else { recorded };
                findings.add(start, &crate::Ids::default(), crate::Compared::default());
                findings.took(start, CallId(call), Recorded(recorded), Live(live));
            }
            let (side, rules) = (crate::SideInfo::default(), crate::Rules::standard());
            let report = findings.into_report(side.clone(), side, &rules, 0.01);
            assert!(report.findings.is_empty(), "one call is no proof: {:?}", report.findings);
            (
                report.methods[0].timed.unwrap(),
                crate::Form::Table.render(&report, crate::Color::Plain).unwrap(),
            )
        };
        let (few, shown) = timed(11, Duration::from_secs(30));
        let slow = SlowCall { call: 2, took: 30_000_000_000, recorded: 211_000_000 };
        assert_eq!(few, Timed { calls: 11, judged: false, slow: Some(slow) });
        assert!(shown.contains("latency   too few calls to be judged: StartContainer (11)\n"), "{shown}");
        let told = "slow      StartContainer took 30000.0 ms at call 2, and at most 211.0 ms when recorded\n";
        assert!(shown.contains(told), "{shown}");
        let (enough, shown) = timed(12, Duration::from_secs(4));
        assert_eq!(enough, Timed { calls: 12, judged: true, slow: None });
        assert!(!shown.contains("latency") && !shown.contains("slow "), "{shown}");
    }
}
