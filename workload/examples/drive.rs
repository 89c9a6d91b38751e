//! Drives a runtime: `cargo run -p critape-workload --example drive -- unix:///run/x.sock [SEED]`.

use std::error::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let endpoint = arguments.next().ok_or("give the socket of a runtime")?.parse()?;
    let seed = arguments.next().map_or(Ok(7), |seed| seed.parse())?;
    Ok(critape_workload::broad(&endpoint, seed).await?)
}
