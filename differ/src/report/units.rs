//! Whether usage is told in another unit than when it was recorded: KiB for bytes, or nothing for something.
//!
//! What was used differs from run to run, so the rules let it pass. That all of a place's numbers are off by one large factor
//! is no chance. It is looked for in the first answers alone: a wrong unit is wrong from the beginning. Processor time is left
//! out, because it goes by how long things lived, and file systems of images, because they are the node's.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use cri::{Method, v1};
use critape_calls::IdentityMap;
use prost::Message;
use serde_json::json;

use crate::{Divergence, Kind, Path, Severity};

/// The rule that is broken.
pub(crate) const RULE: &str = "usage-unit";

/// Answers that are looked at.
const MAX_LOOKS: usize = 200;
/// Pairs of numbers kept of one place.
const MAX_PAIRS: usize = 1000;
/// Pairs after which what they have in common is no chance.
const MIN_PAIRS: usize = 5;
/// A factor is large from here on, either way.
const LARGE: f64 = 500.0;
/// How many times as large the largest factor of one place may be as the smallest one.
const SPREAD: f64 = 10.0;

/// How a place is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    /// What a program uses while it runs, or has written.
    Level,
    /// It counts, and goes by how long things lived: all that can be told is that it is nothing.
    Count,
}

/// A number in an answer: where, which sort, and what it is.
type Number = (&'static str, Sort, u64);

/// What one object uses, by its id, with the path of the object in the answer.
struct Used {
    id: String,
    at: &'static str,
    numbers: Vec<Number>,
}

/// Usage on both sides, place by place.
#[derive(Debug, Default)]
pub(crate) struct Units {
    looks: usize,
    /// By request path and path.
    places: BTreeMap<(String, String), Place>,
}

#[derive(Debug)]
struct Place {
    sort: Sort,
    pairs: Vec<(u64, u64)>,
    /// Recorded ids; more than two say no more.
    objects: BTreeSet<String>,
}

impl Units {
    /// Takes two answers, where there is usage in them. What can't be read is passed over.
    pub(crate) fn look(&mut self, method: &Method, recorded: &Bytes, live: &Bytes, ids: &IdentityMap) {
        if self.looks >= MAX_LOOKS || !method.name.ends_with("Stats") {
            return;
        }
        let Some((recorded, live)) = used(&method.name, recorded).zip(used(&method.name, live)) else {
            return;
        };
        self.looks += 1;
        let live: BTreeMap<(String, &str), Vec<Number>> =
            live.into_iter().map(|it| ((ids.to_recorded(&it.id), it.at), it.numbers)).collect();
        for before in recorded {
            let Used { id, at, numbers } = before;
            let key = (id, at);
            let Some(now) = live.get(&key) else { continue };
            for (name, sort, recorded) in numbers {
                let Some((.., live)) = now.iter().find(|it| it.0 == name) else { continue };
                let path = format!("{at}.{name}.value");
                let place =
                    self.places.entry((method.path.clone(), path)).or_insert_with(|| Place::new(sort));
                place.add(&key.0, recorded, *live);
            }
        }
    }

    /// What is told in another unit, with the request path that it is about.
    pub(crate) fn divergences(&self) -> impl Iterator<Item = (&str, Divergence)> {
        let off = self.places.iter().filter(|(_, place)| place.is_off());
        off.map(|((method, path), place)| (method.as_str(), place.divergence(path)))
    }
}

impl Place {
    fn new(sort: Sort) -> Self {
        Self { sort, pairs: Vec::new(), objects: BTreeSet::new() }
    }

    fn add(&mut self, id: &str, recorded: u64, live: u64) {
        if self.pairs.len() < MAX_PAIRS {
            self.pairs.push((recorded, live));
            if self.objects.len() < 2 {
                self.objects.insert(id.to_owned());
            }
        }
    }

    fn is_off(&self) -> bool {
        let is_used = |pair: &&(u64, u64)| pair.0 > 0 && pair.1 > 0;
        let all_gone = self.pairs.iter().all(|(recorded, live)| *recorded > 0 && *live == 0);
        if self.pairs.len() >= MIN_PAIRS && all_gone {
            return true;
        }
        let mut factors: Vec<f64> = self
            .pairs
            .iter()
            .filter(is_used)
            .map(|(recorded, live)| *live as f64 / *recorded as f64)
            .collect();
        // One object may just not have got to here what it got to there.
        if self.sort == Sort::Count || factors.len() < MIN_PAIRS || self.objects.len() < 2 {
            return false;
        }
        factors.sort_by(f64::total_cmp);
        let median = factors[factors.len() / 2];
        let is_one = factors[factors.len() - 1] <= factors[0] * SPREAD;
        is_one && (median >= LARGE || median * LARGE <= 1.0)
    }

    fn divergence(&self, path: &str) -> Divergence {
        let side = |of: fn(&(u64, u64)) -> u64| {
            let mut numbers: Vec<u64> = self.pairs.iter().map(of).collect();
            numbers.sort_unstable();
            // 64 bits are a text in JSON, as everywhere in a report.
            json!({ "median": numbers[numbers.len() / 2].to_string(), "of": numbers.len() })
        };
        Divergence {
            path: Path::of(&path.split('.').collect::<Vec<_>>()),
            kind: Kind::Value,
            transition: None,
            recorded: side(|pair| pair.0),
            live: side(|pair| pair.1),
            rule: RULE.to_owned(),
            severity: Severity::Behaviour,
            settles: false,
            about: None,
        }
    }
}

/// What the objects of an answer use.
fn used(method: &str, answer: &Bytes) -> Option<Vec<Used>> {
    let answer = answer.as_ref();
    let mut all = Vec::new();
    match method {
        "ContainerStats" => {
            let stats = v1::ContainerStatsResponse::decode(answer).ok()?.stats;
            all.extend(stats.iter().map(|it| of_container("stats", it)));
        }
        "ListContainerStats" => {
            let stats = v1::ListContainerStatsResponse::decode(answer).ok()?.stats;
            all.extend(stats.iter().map(|it| of_container("stats[]", it)));
        }
        "PodSandboxStats" => {
            let stats = v1::PodSandboxStatsResponse::decode(answer).ok()?.stats;
            stats.iter().for_each(|it| of_pod(["stats.linux", "stats.linux.containers[]"], it, &mut all));
        }
        "ListPodSandboxStats" => {
            let stats = v1::ListPodSandboxStatsResponse::decode(answer).ok()?.stats;
            stats.iter().for_each(|it| of_pod(["stats[].linux", "stats[].linux.containers[]"], it, &mut all));
        }
        _ => return None,
    }
    Some(all)
}

fn of_pod(at: [&'static str; 2], stats: &v1::PodSandboxStats, all: &mut Vec<Used>) {
    let Some(linux) = &stats.linux else { return };
    let id = stats.attributes.as_ref().map(|it| it.id.clone()).unwrap_or_default();
    let mut numbers = memory(linux.memory.as_ref());
    let process = linux.process.as_ref();
    push(
        &mut numbers,
        "process.process_count",
        Sort::Count,
        process.and_then(|it| it.process_count.as_ref()),
    );
    all.push(Used { id, at: at[0], numbers });
    all.extend(linux.containers.iter().map(|it| of_container(at[1], it)));
}

fn of_container(at: &'static str, stats: &v1::ContainerStats) -> Used {
    let id = stats.attributes.as_ref().map(|it| it.id.clone()).unwrap_or_default();
    let mut numbers = memory(stats.memory.as_ref());
    let layer = stats.writable_layer.as_ref();
    push(&mut numbers, "writable_layer.used_bytes", Sort::Level, layer.and_then(|it| it.used_bytes.as_ref()));
    push(
        &mut numbers,
        "writable_layer.inodes_used",
        Sort::Level,
        layer.and_then(|it| it.inodes_used.as_ref()),
    );
    Used { id, at, numbers }
}

fn memory(memory: Option<&v1::MemoryUsage>) -> Vec<Number> {
    let mut numbers = Vec::new();
    let Some(memory) = memory else { return numbers };
    push(&mut numbers, "memory.working_set_bytes", Sort::Level, memory.working_set_bytes.as_ref());
    push(&mut numbers, "memory.usage_bytes", Sort::Level, memory.usage_bytes.as_ref());
    push(&mut numbers, "memory.rss_bytes", Sort::Level, memory.rss_bytes.as_ref());
    numbers
}

fn push(numbers: &mut Vec<Number>, name: &'static str, sort: Sort, number: Option<&v1::UInt64Value>) {
    numbers.extend(number.map(|number| (name, sort, number.value)));
}

#[cfg(test)]
mod tests {
    use cri::{Generation, methods};
    use critape_calls::IdentityMap;

    use super::*;

    fn number(value: u64) -> v1::UInt64Value {
        v1::UInt64Value { value }
    }

    /// Of one container after the other: working set, and bytes in its layer.
    type Look = Vec<[u64; 2]>;

    fn answer(used: &[[u64; 2]]) -> Bytes {
        let stats = used.iter().zip(0..).map(|([memory, layer], id)| v1::ContainerStats {
            attributes: Some(v1::ContainerAttributes { id: format!("c{id}"), ..Default::default() }),
            memory: Some(v1::MemoryUsage { working_set_bytes: Some(number(*memory)), ..Default::default() }),
            writable_layer: Some(v1::FilesystemUsage {
                used_bytes: Some(number(*layer)),
                ..Default::default()
            }),
            ..Default::default()
        });
        v1::ListContainerStatsResponse { stats: stats.collect() }.encode_to_vec().into()
    }

    /// What is found in answers that come after one another.
    fn found(pairs: impl IntoIterator<Item = (Look, Look)>) -> Vec<String> {
        let method = methods().by_name(Generation::V1, "ListContainerStats").unwrap();
        let mut units = Units::default();
        for (recorded, live) in pairs {
            units.look(method, &answer(&recorded), &answer(&live), &IdentityMap::default());
        }
        units.divergences().map(|(_, it)| it.path.to_string()).collect()
    }

    fn often(times: usize, recorded: &[[u64; 2]], live: &[[u64; 2]]) -> Vec<(Look, Look)> {
        vec![(recorded.to_vec(), live.to_vec()); times]
    }

    #[test]
    fn another_unit_is_one_large_factor_everywhere() {
        let memory = "stats[].memory.working_set_bytes.value";
        let layer = "stats[].writable_layer.used_bytes.value";
        let none: [&str; 0] = [];
        let (many, few) = ([[4_096_000, 9], [8_192_000, 9]], [[4000, 9], [8000, 9]]);
        assert_eq!(found(often(5, &many, &few)), [memory]);
        assert_eq!(found(often(5, &few, &many)), [memory]);
        assert_eq!(found(often(2, &many, &few)), none, "too few");
        assert_eq!(found(often(9, &many[..1], &few[..1])), none, "one may not have got to it");
        assert_eq!(found(often(9, &[[4_096_000, 9]], &[[90_000, 9]])), none, "it may well use less");
        let (busy, idle) = ([[5_000_000, 9], [6000, 9]], [[5000, 9], [5000, 9]]);
        assert_eq!(found(often(5, &busy, &idle)), none, "not all of them");
        let (recorded, live) = ([5, 9_000_000], [5, 9000]);
        assert_eq!(found(often(9, &[recorded], &[live])), none, "one container may not have got to it");
        assert_eq!(found(often(5, &[recorded; 2], &[live; 2])), [layer]);
    }

    #[test]
    fn nothing_for_something_everywhere_is_wrong() {
        let none: [&str; 0] = [];
        let (some, nothing) = ([[4000, 0]], [[0, 0]]);
        assert_eq!(found(often(5, &some, &nothing)), ["stats[].memory.working_set_bytes.value"]);
        assert_eq!(found(often(4, &some, &nothing)), none, "too few");
        let and = |last| often(5, &some, &nothing).into_iter().chain(last);
        assert_eq!(found(and(often(1, &some, &some))), none, "it uses some after all");
        assert_eq!(found(and(often(1, &nothing, &nothing))), none, "so it was when recorded");
    }

    #[test]
    fn what_was_told_is_in_the_finding() {
        let method = methods().by_name(Generation::V1, "ListContainerStats").unwrap();
        let mut units = Units::default();
        let look = |units: &mut Units| {
            let (many, few) = (answer(&[[2_048_000, 9]; 2]), answer(&[[2000, 9]; 2]));
            units.look(method, &many, &few, &IdentityMap::default());
        };
        (0..MAX_LOOKS + 9).for_each(|_| look(&mut units));
        let (path, found) = units.divergences().next().unwrap();
        assert_eq!(path, method.path);
        assert_eq!(found.recorded, json!({"median": "2048000", "of": 2 * MAX_LOOKS}));
        assert_eq!(found.live, json!({"median": "2000", "of": 2 * MAX_LOOKS}));
    }
}
