//! Calls that name themselves and carry what can't be packed, and what a tape has of them.

use std::collections::HashMap;
use std::path::Path;

use cri::v1;
use critape_calls::{Body, Call, GapReason};
use critape_tape::Tape;
use prost::Message;
use serde_json::Value;

use crate::folder::Folder;
use crate::kubelet::Kubelet;
use crate::process::until;

/// What such calls usually carry, in bytes.
pub const BODY: usize = 64 * 1024;

/// Text without a pattern, the same for the same seed (xorshift64*).
#[derive(Debug)]
pub struct Noise(u64);

impl Noise {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn text(&mut self, length: usize) -> String {
        const DIGITS: &[u8; 64] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
        let mut text = String::with_capacity(length + 10);
        while text.len() < length {
            let mut bits = self.next();
            for _ in 0..10 {
                text.push(char::from(DIGITS[(bits & 63) as usize]));
                bits >>= 6;
            }
        }
        text.truncate(length);
        text
    }
}

/// A request that bears this name, with so much noise behind it.
pub fn request(name: &str, noise: &mut Noise, length: usize) -> v1::VersionRequest {
    v1::VersionRequest { version: format!("{name} {}", noise.text(length)) }
}

/// A call that is to go well, whatever the recorder has to struggle with.
#[track_caller]
pub fn call(kubelet: &Kubelet, name: &str, noise: &mut Noise, length: usize) {
    let answer: v1::VersionResponse = kubelet.ask("Version", &request(name, noise, length));
    assert_eq!(answer.runtime_name, "critape-simulator");
}

/// What a tape has of calls made here: those that are there whole, by their names.
pub fn whole_calls(tape: &Path) -> HashMap<String, Call> {
    let tape = Tape::open(tape).unwrap();
    let calls = tape.calls().map(Result::unwrap);
    calls.filter(is_whole).filter_map(|call| Some((name(&call)?, call))).collect()
}

/// Request and response have been kept, and the call has ended with a status.
fn is_whole(call: &Call) -> bool {
    let kept = |body: &Body| matches!(body, Body::Kept(_));
    let [request, response] = [&call.requests[..], &call.responses[..]];
    request.len() == 1
        && response.len() == 1
        && request.iter().chain(response).all(|message| kept(&message.body))
        && call.outcome.ending == critape_calls::Ending::Status
}

fn name(call: &Call) -> Option<String> {
    let Body::Kept(body) = &call.requests.first()?.body else { return None };
    let request = v1::VersionRequest::decode(body.clone()).ok()?;
    request.version.split_once(' ').map(|(name, _)| name.to_owned())
}

/// The gaps of a tape for this reason: calls and bytes.
#[track_caller]
pub fn gaps(folder: &Folder, tape: &str, reason: GapReason) -> Vec<(u64, u64)> {
    let info = folder.json(&format!("tape info {tape} -o json"));
    let of = |gap: &&Value| gap["reason"] == reason.to_string();
    let number = |value: &Value| value.as_u64().unwrap();
    let gaps = info["gaps"].as_array().unwrap().iter().filter(of);
    gaps.map(|gap| (number(&gap["calls"]), number(&gap["bytes"]))).collect()
}

/// That no byte of it is damaged.
#[track_caller]
pub fn verified(folder: &Folder, tape: &str) -> Value {
    let verified = folder.json(&format!("tape verify {tape} -o json"));
    assert_eq!(verified["whole"], true, "{verified}");
    verified
}

/// Waits until a call of this name would survive a kill. What is looked at is a copy, which nobody else has open.
#[track_caller]
pub fn until_committed(folder: &Folder, tape: &str, name: &str) {
    until(&format!("{name} is on the tape"), || {
        folder.copy(tape, "copy.tape");
        let tape = Tape::open(&folder.path("copy.tape")).ok()?;
        let mut calls = tape.calls().filter_map(Result::ok);
        calls.any(|call| is_whole(&call) && self::name(&call).as_deref() == Some(name)).then_some(())
    });
}
