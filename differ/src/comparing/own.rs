//! What a replay itself has made on the runtime, and who answers for it.
//!
//! A call that fails may leave something behind: that carries the replay's label, or is in a sandbox of the replay,
//! and no call has answered with its id. Where the recorded runtime left nothing like it, that is a difference.

use std::cell::RefCell;
use std::collections::HashSet;

use prost_reflect::{DynamicMessage, Value};

use crate::comparing::comparer::OWNED_LABEL;
use crate::comparing::walk::Walk;

/// What is known of what a replay has made.
#[derive(Debug, Default)]
pub(crate) struct Own {
    /// The value of its label; `None` where there is no replay.
    run: Option<String>,
    /// Live ids of things, of their sandboxes, and uids of pods, that no list has to account for.
    accounted: RefCell<HashSet<String>>,
}

impl Own {
    pub(crate) fn of_run(label: &str) -> Self {
        Self { run: Some(label.to_owned()), ..Self::default() }
    }

    pub(crate) fn account_for(&self, id: &str) {
        self.accounted.borrow_mut().insert(id.to_owned());
    }

    fn is_accounted_for(&self, id: &str) -> bool {
        self.accounted.borrow().contains(id)
    }
}

/// What becomes of a live element of a list that nothing is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Surplus {
    /// It is somebody else's, or known to differ.
    LeftOut,
    /// The call that makes it may be under way.
    Changing,
    /// It was left behind here, and not when recorded.
    LeftBehind,
}

impl Walk<'_> {
    /// What a live element is that no recorded one stands for; `others` are the recorded ones that stand for none.
    pub(crate) fn unbound_surplus<'v>(
        &self,
        id: &str,
        element: &Value,
        others: impl Iterator<Item = &'v Value>,
    ) -> Surplus {
        let own = &self.comparer.memory.own;
        let Some(run) = own.run.as_deref() else { return Surplus::LeftOut };
        let Some(made) = element.as_message().and_then(Made::of) else { return Surplus::LeftOut };
        let is_ours = match made.of {
            Of::Pod => made.label.as_deref() == Some(run),
            Of::Sandbox => self.comparer.ids.is_bound_live(&made.owner),
        };
        if !is_ours || own.is_accounted_for(id) || own.is_accounted_for(&made.owner) {
            return Surplus::LeftOut;
        }
        let owner = self.comparer.ids.to_recorded(&made.owner);
        if self.trajectories.is_changing(&owner) {
            return Surplus::Changing;
        }
        let is_alike = |other: Made| other.owner == owner && other.name == made.name;
        if others.filter_map(Value::as_message).filter_map(Made::of).any(is_alike) {
            own.account_for(id);
            return Surplus::LeftOut;
        }
        Surplus::LeftBehind
    }
}

/// What a sandbox or a container is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Pod,
    Sandbox,
}

/// A sandbox or a container of a list, as far as it tells who made it.
struct Made {
    of: Of,
    /// The uid of the pod, or the id of the sandbox.
    owner: String,
    name: String,
    label: Option<String>,
}

impl Made {
    fn of(element: &DynamicMessage) -> Option<Self> {
        let text = |message: &DynamicMessage, field: &str| {
            message.get_field_by_name(field)?.as_str().filter(|it| !it.is_empty()).map(str::to_owned)
        };
        text(element, "id")?;
        let metadata = element.get_field_by_name("metadata")?;
        let metadata = metadata.as_message()?;
        let name = text(metadata, "name").unwrap_or_default();
        if let Some(owner) = text(element, "pod_sandbox_id") {
            return Some(Self { of: Of::Sandbox, owner, name, label: None });
        }
        let labels = element.get_field_by_name("labels");
        let label = labels.as_deref().and_then(Value::as_map).and_then(|labels| {
            labels.get(&prost_reflect::MapKey::String(OWNED_LABEL.to_owned()))?.as_str().map(str::to_owned)
        });
        Some(Self { of: Of::Pod, owner: text(metadata, "uid")?, name, label })
    }
}
