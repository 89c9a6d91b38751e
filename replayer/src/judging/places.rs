//! Under which method a report has what was found of a call.

use critape_calls::Call;
use critape_differ::{Compared, Findings, Kind, Witness};

use crate::judging::list_streams::is_streamed;

/// The request path of the method: that of the call as it went over the wire; for a list that was streamed, that of the list, so that what
/// differs in it is one finding however a client asks.
pub(crate) fn place_of(call: &Call) -> &str {
    if is_streamed(call) { &call.path } else { call.sent_path() }
}

/// Adds what the comparison of one call found. What is served is about the RPC that was sent.
pub(crate) fn add(findings: &mut Findings, call: &Call, witness: &dyn Witness, mut compared: Compared) {
    let (capabilities, rest) =
        compared.divergences.into_iter().partition::<Vec<_>, _>(|it| it.kind == Kind::Capability);
    compared.divergences = rest;
    findings.add(place_of(call), witness, compared);
    for divergence in capabilities {
        findings.add_divergence(call.sent_path(), witness, divergence);
    }
}
