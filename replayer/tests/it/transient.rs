//! Reads that fail for a moment.

use std::time::Duration;

use cri::v1;
use critape_replayer::{Config, Pace};

use crate::signatures;
use crate::world::{Client, World, pod, recorded};

/// containerd#10013: the list fails while a sandbox is not ready. Here that is another's, which goes once the list
/// has failed.
#[tokio::test]
async fn a_read_that_fails_once_is_a_finding() {
    let tape = recorded(&World::new(&[]), async |client: &Client| {
        client.run(pod("web")).await;
        let asked = v1::ListPodSandboxStatsRequest::default();
        client.call::<v1::ListPodSandboxStatsResponse>("ListPodSandboxStats", asked).await.unwrap();
    })
    .await;
    let world = World::new(&["containerd-10013"]);
    let client = world.client().await;
    let foreign = client.run(pod("foreign")).await;
    let stop = v1::StopPodSandboxRequest { pod_sandbox_id: foreign.clone() };
    client.call::<v1::StopPodSandboxResponse>("StopPodSandbox", stop).await.unwrap();
    let config = |config| Config { share: true, pace: Pace::Max, settle: Duration::from_secs(20), ..config };
    let goes_once_it_has_failed = async {
        while client.sandboxes().await.len() < 2 {
            tokio::task::yield_now().await;
        }
        // Nothing but the list is asked for from now on: the third time it has failed twice, at least once.
        let before = world.calls();
        while world.calls() < before + 3 {
            tokio::task::yield_now().await;
        }
        client.remove_pod(&foreign).await;
    };
    let (report, ()) = tokio::join!(world.replay(&tape, config), goes_once_it_has_failed);
    let report = report.unwrap();
    assert_eq!(signatures(&report), ["ListPodSandboxStats outcome.code OK→NOT_FOUND"]);
    assert_eq!(report.calls.settled, 1);
}
