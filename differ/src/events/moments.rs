//! What an event may say of a sandbox because a call on it is under way: what that call changes, and nothing else.

use cri::Method;
use critape_calls::{Live, Recorded};

use crate::Divergence;
use crate::comparing::comparer::{Change, Compared, Comparer, NoTrajectories};
use crate::events::event_fields::text;
use crate::events::snapshots::{Kept, NETWORK, POD, Snapshot, pod};

impl Comparer<'_> {
    /// Lets pass what the moment of an event explains in the status of its sandbox. Its state is for [`Self::snapshots`] to say.
    pub(crate) fn explain_sandbox(&self, method: &Method, it: &Snapshot<'_>, compared: &mut Compared) {
        let id = text(it.recorded, &[POD, "id"]);
        let is_changing = it.trajectories.is_changing(&id);
        let network_goes = it.trajectories.is_under(Change::Ends, &id)
            || it.trajectories.was_cut_short(&text(it.recorded, &["container_id"]));
        let is_explained = |one: &Divergence| match one.path.segments() {
            [first, field] if first == POD && field == "state" => is_changing,
            [first, field, ..] if first == POD && field == NETWORK => {
                let is_gone = one.transition.as_deref() == Some("present→absent");
                network_goes && (is_gone || self.had_network(method, it, &id))
            }
            _ => false,
        };
        let before = compared.divergences.len();
        compared.divergences.retain(|one| !one.settles || !is_explained(one));
        if compared.divergences.len() < before {
            compared.pass("state-was-changing");
        }
    }

    /// Whether another event of the recording shows this sandbox with the network that the live one shows: it was about to go.
    fn had_network(&self, method: &Method, it: &Snapshot<'_>, id: &str) -> bool {
        let Some(now) = pod(it.live) else { return false };
        let mut live = Kept::new(it.live);
        live.pod(&now, &[NETWORK]);
        let live = live.finish();
        it.shown.networks(id).iter().any(|before| {
            let mut recorded = Kept::new(it.recorded);
            recorded.pod(before, &[NETWORK]);
            let recorded = recorded.finish();
            self.messages(method, Recorded(&recorded), Live(&live), &NoTrajectories).divergences.is_empty()
        })
    }
}
