//! How late the events of a stream come through the recorder, against no relay.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, BytesMut};
use cri::v1;
use prost::Message;

use crate::args::EventsArgs;
use crate::lanes::{self, EVENTS, Lane, Open, now};
use crate::load::{Caller, IMAGE_STATUS, Messages, Target, Timer, framed, on_one_thread};
use crate::stats::{Spread, quantile};

const ROUNDS: usize = 7;
/// How long one stream is listened to.
const PHASE: Duration = Duration::from_secs(4);
const QUICK_PHASE: Duration = Duration::from_millis(800);
/// Calls a second that another connection makes meanwhile, of 1 KiB each.
const BESIDES: f64 = 1000.0;
/// What the 99th percentile may be, in µs.
const MOST: f64 = 1000.0;

/// Delays of one round, in µs.
#[derive(Clone, Copy, Debug)]
struct Delays {
    p50: f64,
    p99: f64,
    events: usize,
}

pub(crate) fn measure(args: &EventsArgs) -> Result<()> {
    let phase = if args.quick { QUICK_PHASE } else { PHASE };
    let folder = tempfile::tempdir()?;
    let (process, upstream) = lanes::echo(folder.path())?;
    let target = Target::Unix(upstream.socket.clone());
    let mut opened = vec![Open { lane: Lane::Direct, target, process }];
    for lane in [Lane::Bare, Lane::On] {
        opened.push(lanes::open(lane, &upstream, folder.path())?);
    }
    println!(
        "delay of an event from when it was made to when its client has it, one every 2 ms, while another connection of the \
         same lane makes {BESIDES:.0} calls/s of 1 KiB; {ROUNDS} rounds of {:.1} s; median [quartiles] of the rounds, in µs",
        phase.as_secs_f64()
    );
    let mut rounds: Vec<Vec<Delays>> = vec![Vec::new(); opened.len()];
    let mut made = 0;
    for round in 0..ROUNDS {
        for turn in 0..opened.len() {
            let index = (round + turn) % opened.len();
            let (delays, calls) = on_one_thread(listen(&opened[index].target, phase))?;
            if opened[index].lane == Lane::On {
                made += calls;
            }
            rounds[index].push(delays);
        }
    }
    println!("  {:<8} {:>22} {:>22} {:>10}", "LANE", "P50", "P99", "EVENTS");
    for (open, rounds) in opened.iter().zip(&rounds) {
        println!(
            "  {:<8} {:>22} {:>22} {:>10}",
            open.lane.name(),
            Spread::of(rounds.iter().map(|round| round.p50)).to_string(),
            Spread::of(rounds.iter().map(|round| round.p99)).to_string(),
            rounds.iter().map(|round| round.events).sum::<usize>()
        );
    }
    let Some(on) = opened.pop() else { bail!("no lane is open") };
    let recorded = lanes::stop_recorder(on.process, folder.path(), made)?;
    ensure!(recorded.gaps == 0, "rejected: the tape has gaps");
    let p99 = Spread::of(rounds[2].iter().map(|round| round.p99));
    let added = rounds[2].iter().zip(&rounds[0]).map(|(on, direct)| on.p99 - direct.p99);
    let verdict = if p99.median <= MOST { "met" } else { "MISSED" };
    println!("on: p99 {p99} µs, of which {} added; at most {MOST:.0}: {verdict}", Spread::of(added));
    Ok(())
}

/// Listens to one stream while calls go on beside it. Says how many calls were made in all.
async fn listen(target: &Target, time: Duration) -> Result<(Delays, u64)> {
    let caller = Caller::connect(target).await?;
    let mut stream = caller.start(EVENTS, framed(&v1::GetEventsRequest {})).await?;
    let mut delays = Vec::new();
    let heard = async {
        let mut buffer = BytesMut::new();
        while let Some(data) = stream.data().await {
            let data = data.context("rejected: the stream broke")?;
            stream.flow_control().release_capacity(data.len())?;
            buffer.extend_from_slice(&data);
            while let Some(event) = take_event(&mut buffer)? {
                delays.push(now() - event.created_at);
            }
        }
        bail!("rejected: the stream ended")
    };
    let others = Caller::connect(target).await?;
    let mut made = 1;
    let besides = async {
        let messages = Messages::new(1024);
        let timer = Timer::new()?;
        let begun = std::time::Instant::now();
        let calls = (time.as_secs_f64() * BESIDES) as usize;
        for index in 0..calls {
            timer.until(begun + Duration::from_secs_f64(index as f64 / BESIDES)).await?;
            others.call(IMAGE_STATUS, messages.get(index)).await.context("rejected: a call failed")?;
            made += 1;
        }
        anyhow::Ok(())
    };
    tokio::select! {
        ended = heard => ended?,
        done = besides => done?,
    }
    delays.sort_unstable();
    ensure!(!delays.is_empty(), "rejected: no event came");
    let of = |share| quantile(&delays, share) as f64 / 1e3;
    Ok((Delays { p50: of(0.5), p99: of(0.99), events: delays.len() }, made))
}

/// Takes a whole message off the front.
fn take_event(buffer: &mut BytesMut) -> Result<Option<v1::ContainerEventResponse>> {
    const PREFIX: usize = 5;
    let Some(length) = buffer.get(1..PREFIX).and_then(|length| length.try_into().ok()) else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(length) as usize;
    if buffer.len() < PREFIX + length {
        return Ok(None);
    }
    buffer.advance(PREFIX);
    Ok(Some(v1::ContainerEventResponse::decode(buffer.split_to(length))?))
}
