//! A list that was asked with a filter holds what fits it, and nothing else.

use std::collections::BTreeMap;

use cri::v1;
use cri::wire::{content_at, fields, text_at};
use prost::Message;

use super::exchange::{Observed, Said, number_in};
use super::{Oracle, Verdict, Watch};
use crate::Severity;

pub(super) const ORACLE: Oracle = Oracle {
    name: "lists-fit-their-filter",
    rule: "a list that was asked with a filter must hold only what fits it, whoever made it",
    source: "runtime.v1: ContainerFilter, PodSandboxFilter and those of statistics: all that is set must fit, ids by their beginning; \
             kubelet stops and removes what such a list shows",
    consequence: "kubelet takes what it is given for what it asked for, and looks after, stops or removes what is of another pod",
    severity: Severity::Breaking,
};

/// Filters of images are not looked at: runtimes spell names in their own way, and containerd heeds none.
#[derive(Debug)]
pub(super) struct Filters;

/// What was asked for. What is empty fits all.
#[derive(Default)]
struct Filter {
    id: String,
    pod_sandbox_id: String,
    state: Option<i32>,
    labels: BTreeMap<String, String>,
}

/// Where an element of a list has what filters are about: numbers of fields, each of a message in the one before it.
struct Element {
    path: &'static str,
    id: &'static [u32],
    pod_sandbox_id: Option<u32>,
    state: u32,
    /// Those before the labels, and that of the labels.
    labels: (&'static [u32], u32),
}

const CONTAINER: Element =
    Element { path: "containers[]", id: &[1], pod_sandbox_id: Some(2), state: 6, labels: (&[], 8) };
const SANDBOX: Element =
    Element { path: "items[]", id: &[1], pod_sandbox_id: None, state: 3, labels: (&[], 5) };
/// Of a container, or of a pod: neither tells a state, nor a container its sandbox.
const STATS: Element =
    Element { path: "stats[]", id: &[1, 1], pod_sandbox_id: None, state: 0, labels: (&[1], 3) };

impl Watch for Filters {
    fn oracle(&self) -> Oracle {
        ORACLE
    }

    fn answered(&mut self, seen: &Observed<'_>, verdict: &mut Verdict) {
        self.passing(seen, verdict);
    }

    fn passing(&mut self, seen: &Observed<'_>, verdict: &mut Verdict) {
        let element = match &seen.said {
            Said::ListContainers(_) => CONTAINER,
            Said::ListPodSandbox(_) => SANDBOX,
            Said::ListContainerStats(_) | Said::ListPodSandboxStats(_) => STATS,
            _ => return,
        };
        // Nearly all lists are asked for everything.
        if seen.request.is_empty() {
            return;
        }
        let Some(filter) = Filter::of(seen).filter(|filter| !filter.fits_all()) else { return };
        for item in seen.elements() {
            let Some(what) = filter.unfit(&element, item) else {
                verdict.held();
                continue;
            };
            let id = text_at(item, element.id).unwrap_or_default();
            verdict.of(id).check(false, element.path, "what fits the filter", format!("{id}, by its {what}"));
        }
    }
}

impl Filter {
    /// `None` where there is none, or it can't be read.
    fn of(seen: &Observed<'_>) -> Option<Self> {
        let asked = seen.request;
        Some(match &seen.said {
            Said::ListContainers(_) => {
                let filter = v1::ListContainersRequest::decode(asked).ok()?.filter?;
                let (id, pod_sandbox_id, state) = (filter.id, filter.pod_sandbox_id, filter.state);
                let labels = filter.label_selector.into_iter().collect();
                Self { id, pod_sandbox_id, state: state.map(|it| it.state), labels }
            }
            Said::ListPodSandbox(_) => {
                let filter = v1::ListPodSandboxRequest::decode(asked).ok()?.filter?;
                let (id, state) = (filter.id, filter.state.map(|it| it.state));
                Self { id, state, labels: filter.label_selector.into_iter().collect(), ..Self::default() }
            }
            Said::ListContainerStats(_) => {
                let filter = v1::ListContainerStatsRequest::decode(asked).ok()?.filter?;
                let labels = filter.label_selector.into_iter().collect();
                Self { id: filter.id, labels, ..Self::default() }
            }
            _ => {
                let filter = v1::ListPodSandboxStatsRequest::decode(asked).ok()?.filter?;
                let labels = filter.label_selector.into_iter().collect();
                Self { id: filter.id, labels, ..Self::default() }
            }
        })
    }

    fn fits_all(&self) -> bool {
        self.id.is_empty() && self.pod_sandbox_id.is_empty() && self.state.is_none() && self.labels.is_empty()
    }

    /// What of an element does not fit.
    fn unfit(&self, element: &Element, item: &[u8]) -> Option<&'static str> {
        let begins =
            |numbers: &[u32], with: &str| text_at(item, numbers).unwrap_or_default().starts_with(with);
        if !begins(element.id, &self.id) {
            return Some("id");
        }
        if element.pod_sandbox_id.is_some_and(|number| !begins(&[number], &self.pod_sandbox_id)) {
            return Some("pod_sandbox_id");
        }
        if self.state.is_some_and(|asked| number_in(item, element.state) != i64::from(asked)) {
            return Some("state");
        }
        let (before, number) = element.labels;
        let labels = content_at(item, before).unwrap_or_default();
        let has = |key: &str, value: &str| {
            fields(labels).map_while(Result::ok).filter(|field| field.number == number).any(|entry| {
                let text = |number: u32| text_at(entry.content, &[number]).unwrap_or_default();
                text(1) == key && text(2) == value
            })
        };
        self.labels.iter().any(|(key, value)| !has(key, value)).then_some("labels")
    }
}
