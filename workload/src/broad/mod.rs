//! Forty pods, and whatever else has ever brought a fault of a runtime to light.

mod calls;
mod end;
mod images;
mod odd;
mod pods;
mod rounds;
mod streams;

use cri::{Endpoint, Generation, v1};

use crate::kubelet::{DEADLINE, Kubelet, WorkloadError};

type Result<T> = std::result::Result<T, WorkloadError>;

/// A node and its kubelet: a connection for each service.
#[derive(Clone, Debug)]
struct Node {
    runtime: Kubelet,
    images: Kubelet,
    seed: u64,
}

/// Does it all: images that come and go, forty pods with restarts, probes, lists, statistics and events, pods that ask for
/// what few ask for, stops in every order, and calls that fail. Leaves nothing behind but images.
///
/// What is asked follows from `seed`; how calls beside one another interleave does not.
///
/// # Errors
/// Where a call fails that goes well on a runtime that keeps to the contract.
pub async fn broad(endpoint: &Endpoint, seed: u64) -> Result<()> {
    let node =
        Node { runtime: Kubelet::connect(endpoint).await?, images: Kubelet::connect(endpoint).await?, seed };
    greet(&node).await?;
    let watchers = streams::Watchers::subscribe(endpoint).await?;
    images::churn(&node).await?;
    let mut pods = pods::start_ordinary(&node).await?;
    pods.extend(Box::pin(odd::start(&node)).await?);
    rounds::go(&node, &pods).await?;
    streams::come_back(endpoint, &node, &mut pods).await?;
    let last = end::all(&node, pods).await?;
    watchers.until_deleted(&last).await
}

async fn greet(node: &Node) -> Result<()> {
    node.runtime.call("Version", &v1::VersionRequest::default()).await?;
    // As kubelet did before it spoke v1 only. A runtime need not serve it.
    let version = v1::VersionRequest::default();
    let _ = node.runtime.attempt_in(Generation::V1Alpha2, "Version", &version, DEADLINE).await;
    node.images.call("ImageFsInfo", &v1::ImageFsInfoRequest {}).await?;
    node.runtime.call("RuntimeConfig", &v1::RuntimeConfigRequest {}).await?;
    for verbose in [false, true, false] {
        node.runtime.call("Status", &v1::StatusRequest { verbose }).await?;
    }
    Ok(())
}

/// The numbers that follow from a seed and a place: a step of `SplitMix64`.
fn number(seed: u64, place: u64) -> u64 {
    let mut mixed = seed.wrapping_add(place.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
