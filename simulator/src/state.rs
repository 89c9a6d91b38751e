//! All that the runtime knows, under one lock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cri::v1;

use crate::container::{Container, Memory};
use crate::events::EventHub;
use crate::images::Images;
use crate::index::{self, LookupError};
use crate::names::Names;
use crate::random::Random;
use crate::regressions::Behaviours;
use crate::sandbox::Sandbox;

/// The state of the runtime.
#[derive(Debug)]
pub(crate) struct State {
    pub random: Random,
    pub sandboxes: BTreeMap<String, Sandbox>,
    pub sandbox_names: Names,
    pub containers: BTreeMap<String, Container>,
    pub container_names: Names,
    pub images: Images,
    pub events: EventHub,
    pub addresses: Addresses,
    behaviours: Arc<Behaviours>,
    last_pid: u32,
}

impl State {
    pub(crate) fn new(seed: u64, behaviours: Arc<Behaviours>) -> Self {
        Self {
            random: Random::from_seed(seed),
            sandboxes: BTreeMap::new(),
            sandbox_names: Names::default(),
            containers: BTreeMap::new(),
            container_names: Names::default(),
            images: Images::default(),
            events: EventHub::new(behaviours.delivery()),
            addresses: Addresses::default(),
            behaviours,
            last_pid: 4096,
        }
    }

    pub(crate) fn next_pid(&mut self) -> u32 {
        self.last_pid = if self.last_pid < 4_000_000 { self.last_pid + 7 } else { 4096 };
        self.last_pid
    }

    /// The sandbox with this id or with an id that begins so.
    pub(crate) fn sandbox(&self, id: &str) -> Result<&Sandbox, LookupError> {
        let id = index::resolve(&self.sandboxes, id)?;
        self.sandboxes.get(&id).ok_or(LookupError::Missing)
    }

    /// The container with this id or with an id that begins so.
    pub(crate) fn container(&self, id: &str) -> Result<&Container, LookupError> {
        let id = index::resolve(&self.containers, id)?;
        self.containers.get(&id).ok_or(LookupError::Missing)
    }

    /// As [`Self::container`], to change it.
    pub(crate) fn container_mut(&mut self, id: &str) -> Result<&mut Container, LookupError> {
        let id = index::resolve(&self.containers, id)?;
        self.containers.get_mut(&id).ok_or(LookupError::Missing)
    }

    /// The ids of a sandbox's containers.
    pub(crate) fn container_ids(&self, sandbox_id: &str) -> Vec<String> {
        self.sandboxes
            .get(sandbox_id)
            .map(|sandbox| sandbox.containers.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// Tells the subscribers what happened to a container, or to a sandbox, whose own id stands in both places.
    pub(crate) fn publish(&mut self, kind: v1::ContainerEventType, id: &str, sandbox_id: &str, now: i64) {
        let sandbox = self.sandboxes.get(sandbox_id);
        let mut statuses: Vec<_> = sandbox
            .iter()
            .flat_map(|sandbox| &sandbox.containers)
            .filter_map(|id| self.containers.get(id))
            .map(|container| container.to_status(&self.images))
            .collect();
        let pod_sandbox_status = sandbox.map(Sandbox::to_status);
        self.random.shuffle(&mut statuses);
        let mut event = v1::ContainerEventResponse {
            container_id: id.to_owned(),
            container_event_type: kind.into(),
            created_at: now,
            pod_sandbox_status,
            containers_statuses: statuses,
        };
        self.behaviours.event(&mut event);
        self.events.publish(event);
    }

    /// A container's first process has exited with this code. False if it had before.
    pub(crate) fn container_exited(&mut self, id: &str, code: i32, now: i64) -> bool {
        let Some(container) = self.containers.get_mut(id) else { return false };
        let ran_out = container.is_running() && container.cgroup.ran_out_of_memory();
        let memory = if ran_out { self.behaviours.out_of_memory() } else { Memory::Sufficed };
        if !container.exit(now, code, memory) {
            return false;
        }
        let sandbox_id = container.sandbox_id.clone();
        self.publish(v1::ContainerEventType::ContainerStoppedEvent, id, &sandbox_id, now);
        true
    }
}

/// The addresses of `10.88.0.0/16` that pods have.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    used: BTreeSet<u16>,
    last: u16,
}

impl Addresses {
    /// A free address; none when all are in use.
    pub(crate) fn allocate(&mut self) -> Option<String> {
        for _ in 0..=u16::MAX {
            self.last = self.last.wrapping_add(1);
            // .0 and .255 are avoided everywhere, .0.1 is the bridge's own.
            let is_host = !matches!(self.last & 0xff, 0 | 0xff) && self.last != 1;
            if is_host && self.used.insert(self.last) {
                return Some(format!("10.88.{}.{}", self.last >> 8, self.last & 0xff));
            }
        }
        None
    }

    /// The address is free again.
    pub(crate) fn release(&mut self, address: &str) {
        let mut parts = address.rsplit('.').map_while(|part| part.parse::<u16>().ok());
        if let (Some(low), Some(high)) = (parts.next(), parts.next()) {
            self.used.remove(&(high << 8 | low));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_belongs_to_one_pod() {
        let mut addresses = Addresses::default();
        let all: BTreeSet<_> = std::iter::from_fn(|| addresses.allocate()).collect();
        assert_eq!(all.len(), 256 * 254 - 1);
        assert!(all.contains("10.88.0.2") && !all.contains("10.88.0.1") && !all.contains("10.88.3.255"));
        addresses.release("10.88.3.7");
        assert_eq!(addresses.allocate().as_deref(), Some("10.88.3.7"));
    }
}
