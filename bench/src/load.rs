//! Calls one endpoint and takes the time.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use cri::client::Client;
use cri::{Endpoint, v1};
use prost::Message;
use tokio::task::JoinSet;

const PATH: &str = "/runtime.v1.ImageService/ImageStatus";

/// What one lane did in one round.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    /// Calls a second.
    pub(crate) rate: f64,
}

/// Makes `calls` calls with `in_flight` at a time on one connection.
pub(crate) fn measure(endpoint: &Endpoint, size: usize, in_flight: usize, calls: usize) -> Result<Measured> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = Client::connect(endpoint).await?;
        let spec = v1::ImageSpec { image: "x".repeat(size), ..Default::default() };
        let request: bytes::Bytes =
            v1::ImageStatusRequest { image: Some(spec), verbose: false }.encode_to_vec().into();
        let begun = Instant::now();
        let mut tasks = JoinSet::new();
        for _ in 0..in_flight {
            let (client, request) = (client.clone(), request.clone());
            tasks.spawn(async move {
                let mut took = Vec::with_capacity(calls / in_flight);
                for _ in 0..calls / in_flight {
                    let since = Instant::now();
                    // The name is no image's; that the runtime says so is what is measured.
                    let answer = client.unary(PATH, request.clone(), None).await;
                    if let Err(status) = answer
                        && matches!(status.code() as i32, 4 | 13 | 14)
                    {
                        bail!("rejected: a call failed: {status}");
                    }
                    took.push(since.elapsed());
                }
                Ok(took)
            });
        }
        let mut took = Vec::with_capacity(calls);
        while let Some(done) = tasks.join_next().await {
            took.extend(done??);
        }
        let rate = took.len() as f64 / begun.elapsed().as_secs_f64();
        took.sort_unstable();
        Ok(Measured { p50: took[took.len() / 2], p99: took[took.len() * 99 / 100], rate })
    })
}

/// The median of each figure.
pub(crate) fn median(rounds: &[Measured]) -> Measured {
    let middle = rounds.len() / 2;
    let time = |of: fn(&Measured) -> Duration| {
        let mut all: Vec<Duration> = rounds.iter().map(of).collect();
        all.sort_unstable();
        all[middle]
    };
    let mut rates: Vec<f64> = rounds.iter().map(|it| it.rate).collect();
    rates.sort_by(f64::total_cmp);
    Measured { p50: time(|it| it.p50), p99: time(|it| it.p99), rate: rates[middle] }
}
