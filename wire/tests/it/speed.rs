//! How long observing takes: `cargo test --release -p critape-wire -- --ignored --nocapture speed`.

use std::time::Instant;

use critape_wire::{AuthorityFilter, Event, Limits, Observer, Side, Sink};

use crate::conversation::{call, record, request};
use crate::support::*;

const CALLS: usize = 2_000;
const ROUNDS: usize = 20;

/// Drops what it is told.
struct Count(usize);

impl Sink for Count {
    fn event(&mut self, event: Event) {
        drop(event);
        self.0 += 1;
    }
}

fn observed(tape: &Tape) -> usize {
    let (mut observer, mut count) = (Observer::new(Limits::default()), Count(0));
    for (from, bytes) in tape {
        observer.feed(*from, bytes, &mut count);
    }
    count.0
}

fn filtered(tape: &Tape, before: &[u8]) -> usize {
    let (mut filter, mut out) = (AuthorityFilter::new(Limits::default()), Vec::new());
    let mut length = 0;
    filter.feed(PREFACE, &mut out);
    filter.feed(before, &mut out);
    for (_, bytes) in tape.iter().filter(|(from, _)| *from == Side::Client) {
        filter.feed(bytes.strip_prefix(PREFACE).unwrap_or(bytes), &mut out);
        length += out.len();
        out.clear();
    }
    length
}

/// The least time of many rounds, in nanoseconds.
fn least(mut work: impl FnMut() -> usize) -> f64 {
    let time = |_| {
        let start = Instant::now();
        assert!(work() > 0);
        start.elapsed().as_secs_f64() * 1e9
    };
    (0..ROUNDS).map(time).fold(f64::MAX, f64::min)
}

#[test]
#[ignore = "a measurement"]
fn speed() {
    let calls = record(|client| async move {
        for _ in 0..CALLS {
            call(&client, request("/runtime.v1.RuntimeService/Version"), message(0, &[7; 200]))
                .await
                .unwrap();
        }
    });
    let per_call = |time: f64| time / CALLS as f64;
    println!("unary call of 200 B observed: {:.0} ns", per_call(least(|| observed(&calls))));
    println!("unary call let through: {:.0} ns", per_call(least(|| filtered(&calls, &[]))));
    let bad = frame(HEADERS, END_HEADERS, 1, &literals(&[(":authority", "/run/x.sock")]));
    println!("unary call written anew: {:.0} ns", per_call(least(|| filtered(&calls, &bad))));

    let mut long = hello();
    long.push((Side::Client, frame(HEADERS, END_HEADERS, 1, &literals(REQUEST))));
    let body = message(0, &vec![7; 20 << 20]);
    long.extend(body.chunks(16_384).map(|chunk| (Side::Client, frame(DATA, 0, 1, chunk))));
    println!("message of 20 MiB: {:.2} ms", least(|| observed(&long)) / 1e6);
}
