//! Two pods that are ready at one moment have two addresses.

use std::collections::HashMap;
use std::time::Duration;

use cri::v1;
use cri::wire::text_at;
use foldhash::quality::RandomState;

use super::exchange::{Observed, Said, number_in};
use super::options::namespaces;
use super::{Oracle, Verdict, Watch};
use crate::Severity;

pub(super) const ORACLE: Oracle = Oracle {
    name: "one-address-one-pod",
    rule: "two sandboxes that are ready at one moment and not on the network of the host must not share an address",
    source: "runtime.v1: PodSandboxNetworkStatus; each pod of a cluster has an address of its own: the Kubernetes network model",
    consequence: "traffic for one pod reaches another: its services and probes go to the wrong one",
    severity: Severity::Breaking,
};

/// Sandboxes that are kept in mind.
const MAX_SANDBOXES: usize = 100_000;
/// Sandboxes of one address that are held against one another.
const MAX_HOLDERS: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Addresses {
    /// When the calls returned that made sandboxes, since the epoch, and whether these were to have a network of their own. From then
    /// on a sandbox has the address that it has.
    made: HashMap<String, (Duration, bool), RandomState>,
    /// Who was seen with an address.
    holders: HashMap<String, Vec<Holder>, RandomState>,
    /// Sandboxes, with their addresses, that were seen with the address of another that may have been over.
    doubtful: HashMap<String, String, RandomState>,
}

/// A sandbox had an address in all of this time, as it was ready with it before and after; where it was seen with it once, the end
/// comes first, and it had it at some moment between the two.
#[derive(Debug)]
struct Holder {
    id: String,
    since: Duration,
    until: Duration,
}

impl Watch for Addresses {
    fn oracle(&self) -> Oracle {
        ORACLE
    }

    fn answered(&mut self, seen: &Observed<'_>, verdict: &mut Verdict) {
        match &seen.said {
            Said::RunPodSandbox(asked, made) if self.made.len() < MAX_SANDBOXES => {
                let is_own = namespaces(asked).is_none_or(is_own);
                self.made.insert(made.pod_sandbox_id.clone(), (seen.ended, is_own));
            }
            Said::RemovePodSandbox(id) => {
                self.made.remove(id);
                self.doubtful.remove(id);
            }
            Said::ListPodSandbox(_) if !self.doubtful.is_empty() => self.list(seen, verdict),
            Said::PodSandboxStatus(_, answer) => {
                if let Some((status, ip)) = answer.status.as_ref().and_then(|it| Some((it, own_address(it)?)))
                {
                    self.holds(seen, &status.id, ip, verdict);
                }
            }
            _ => {}
        }
    }
}

impl Addresses {
    fn holds(&mut self, seen: &Observed<'_>, id: &str, ip: &str, verdict: &mut Verdict) {
        let is_known = self.holders.contains_key(ip);
        if !is_known && self.holders.len() >= MAX_SANDBOXES {
            return;
        }
        let (since, is_own) = self.made.get(id).copied().unwrap_or((seen.ended, true));
        if !is_own {
            return;
        }
        let holders = self.holders.entry(ip.to_owned()).or_default();
        let (since, until) = match holders.iter_mut().find(|holder| holder.id == id) {
            Some(holder) => {
                holder.until = holder.until.max(seen.started);
                (holder.since, holder.until)
            }
            None => {
                // An address goes from one to another in time.
                if holders.len() >= MAX_HOLDERS {
                    holders.remove(0);
                }
                holders.push(Holder { id: id.to_owned(), since, until: seen.started });
                (since, seen.started)
            }
        };
        match sharing(holders, id, (since, until)) {
            Some(other) => {
                let expected = format!("an address that {other} does not have");
                verdict.check(false, "status.network.ip", expected, ip);
            }
            None if holders.len() > 1 && self.doubtful.len() < MAX_SANDBOXES => {
                self.doubtful.extend(holders.iter().map(|holder| (holder.id.clone(), ip.to_owned())));
                verdict.held();
            }
            None => verdict.held(),
        }
    }

    /// A sandbox that a list shows ready still has the address that it had.
    fn list(&mut self, seen: &Observed<'_>, verdict: &mut Verdict) {
        let ready = i64::from(v1::PodSandboxState::SandboxReady as i32);
        for item in seen.elements().filter(|item| number_in(item, 3) == ready) {
            let Some(id) = text_at(item, &[1]) else { continue };
            let Some((ip, holders)) =
                self.doubtful.get(id).and_then(|ip| Some((ip, self.holders.get_mut(ip)?)))
            else {
                continue;
            };
            let Some(holder) = holders.iter_mut().find(|holder| holder.id == id) else { continue };
            holder.until = holder.until.max(seen.started);
            let held = (holder.since, holder.until);
            if let Some(other) = sharing(holders, id, held) {
                verdict.of(id).check(
                    false,
                    "items[]",
                    format!("an address of {id} that {other} does not have"),
                    ip.as_str(),
                );
            }
        }
    }
}

/// Another sandbox that had the address when this one had.
fn sharing<'a>(holders: &'a [Holder], id: &str, (since, until): (Duration, Duration)) -> Option<&'a str> {
    let shares = |holder: &&Holder| holder.id != id && holder.since <= until && since <= holder.until;
    holders.iter().find(shares).map(|holder| holder.id.as_str())
}

/// The address of a sandbox that is ready and on a network of its own.
fn own_address(status: &v1::PodSandboxStatus) -> Option<&str> {
    // Where no options are told none were asked for. Other systems tell nothing of networks.
    let options = status.linux.as_ref()?.namespaces.as_ref()?.options.as_ref();
    let ip = &status.network.as_ref()?.ip;
    let is_ready = status.state() == v1::PodSandboxState::SandboxReady;
    (is_ready && options.is_none_or(is_own) && !ip.is_empty()).then_some(ip)
}

fn is_own(options: &v1::NamespaceOption) -> bool {
    options.network() == v1::NamespaceMode::Pod
}
