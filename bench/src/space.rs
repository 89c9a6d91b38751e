//! What an idle node of 110 pods takes on disk: kubelet lists everything every second, asks for usage every ten, and nothing
//! happens but that usage grows.

use anyhow::{Result, ensure};

use crate::lanes;
use crate::load::on_one_thread;
use crate::node::Node;

const PODS: usize = 110;
/// Seconds of the node's life, gone through as fast as the simulator answers.
const SECONDS: usize = 600;
/// What a tape of an idle node may take, in hundredths of the bytes on the wire.
const BUDGET_PERCENT: f64 = 1.0;

pub(crate) fn measure() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (_simulator, upstream) = lanes::simulator(folder.path())?;
    let socket = folder.path().join("on.sock");
    let recorder = lanes::recorder(&upstream, &socket, folder.path(), &[])?;
    let made = on_one_thread(async {
        let node = Node::connect(&socket).await?;
        node.boot(PODS).await?;
        for second in 0..SECONDS {
            node.idle(second).await?;
        }
        Ok(node.made())
    })?;
    let recorded = lanes::stop_recorder(recorder, folder.path(), made)?;
    let (wire, stored) = (recorded.wire, recorded.stored);
    let percent = stored as f64 * 100.0 / wire as f64;
    println!("{} calls, {wire} bytes on the wire, {stored} stored: {percent:.2} %", recorded.calls);
    ensure!(percent <= BUDGET_PERCENT, "more than {BUDGET_PERCENT} %");
    Ok(())
}
