//! The secrets that a tape has sealed, so that they are found in error texts.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

/// Shorter ones are looked for nowhere: they would be found by chance.
pub(crate) const SHORTEST: usize = 8;
/// Longer ones hardly stand in a text as a whole.
const LONGEST: usize = 4096;
/// What a URL may hold as it is.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What is remembered at most; the oldest are forgotten first.
const MOST: usize = 4096;
const MOST_BYTES: usize = 256 * 1024;

/// Secrets to look for. Bounded, and built into one automaton when a text comes after they have changed.
#[derive(Debug, Default)]
pub(crate) struct Known {
    secrets: HashSet<Arc<[u8]>>,
    order: VecDeque<Arc<[u8]>>,
    bytes: usize,
    matcher: Matcher,
}

#[derive(Debug, Default)]
enum Matcher {
    /// The secrets have changed.
    #[default]
    Stale,
    Ready(AhoCorasick),
    /// They can't be built into one.
    Impossible,
}

impl Known {
    /// Remembers a secret; says whether it is new.
    pub(crate) fn learn(&mut self, secret: &[u8]) -> bool {
        let secret = secret.trim_ascii();
        if !(SHORTEST..=LONGEST).contains(&secret.len()) || self.secrets.contains(secret) {
            return false;
        }
        let secret: Arc<[u8]> = secret.into();
        self.bytes += secret.len();
        self.order.push_back(secret.clone());
        self.secrets.insert(secret);
        while self.order.len() > MOST || self.bytes > MOST_BYTES {
            let Some(oldest) = self.order.pop_front() else { break };
            self.bytes -= oldest.len();
            self.secrets.remove(&oldest);
        }
        self.matcher = Matcher::Stale;
        true
    }

    /// All of them, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.order.iter().map(AsRef::as_ref)
    }

    /// Adds every place of `text` at which one of them stands.
    pub(crate) fn find(&mut self, text: &[u8], found: &mut Vec<Range<usize>>) {
        if self.order.is_empty() || text.len() < SHORTEST {
            return;
        }
        if matches!(self.matcher, Matcher::Stale) {
            self.matcher = build(&self.order).map_or(Matcher::Impossible, Matcher::Ready);
        }
        match &self.matcher {
            Matcher::Ready(matcher) => found.extend(matcher.find_iter(text).map(|at| at.range())),
            // Rather too much than too little.
            Matcher::Stale | Matcher::Impossible => found.push(0..text.len()),
        }
    }
}

fn build(secrets: &VecDeque<Arc<[u8]>>) -> Option<AhoCorasick> {
    let patterns: BTreeSet<Vec<u8>> = secrets.iter().flat_map(|secret| spellings(secret)).collect();
    AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(patterns).ok()
}

/// A secret as programs print it: raw, in base64 of both alphabets (padding may follow) by itself or inside something longer, escaped
/// as in JSON, and as in a URL.
fn spellings(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut spellings = vec![
        secret.to_vec(),
        STANDARD_NO_PAD.encode(secret).into_bytes(),
        URL_SAFE_NO_PAD.encode(secret).into_bytes(),
        percent_encode(secret, NON_ALPHANUMERIC).to_string().into_bytes(),
        percent_encode(secret, UNRESERVED).to_string().into_bytes(),
    ];
    for before in 0..3 {
        spellings.push(inside(&STANDARD_NO_PAD, secret, before));
        spellings.push(inside(&URL_SAFE_NO_PAD, secret, before));
    }
    if let Ok(text) = std::str::from_utf8(secret) {
        spellings.extend(json_spellings(text).map(String::into_bytes));
    }
    spellings
}

/// What of the base64 of something longer depends on the secret alone, which stands in it behind so many bytes and any number of
/// threes: as in `user:password`.
fn inside(base64: &impl base64::Engine, secret: &[u8], before: usize) -> Vec<u8> {
    let mut whole = vec![0; before];
    whole.extend_from_slice(secret);
    let text = base64.encode(&whole).into_bytes();
    // Six bits a letter: the first and the last may hold bits of what is around.
    let (first, end) = ((before * 8).div_ceil(6), whole.len() * 8 / 6);
    text.get(first..end).unwrap_or_default().to_vec()
}

/// A text inside a JSON string: as most programs write it, as Go does, which escapes for HTML as well, in ASCII alone, with either
/// case of digits, and with slashes escaped.
fn json_spellings(text: &str) -> impl Iterator<Item = String> {
    let plain = json(text, |_| false);
    let html = json(text, |letter| "<>&\u{2028}\u{2029}".contains(letter));
    let ascii = json(text, |letter| !letter.is_ascii());
    let upper = ascii.split("\\u").enumerate().map(|(index, part)| match part.get(..4) {
        Some(digits) if index > 0 => format!("\\u{}{}", digits.to_ascii_uppercase(), &part[4..]),
        _ => part.to_owned(),
    });
    let upper: String = upper.collect();
    let slashed = [&plain, &ascii, &upper].map(|text| text.replace('/', "\\/"));
    [plain, html, ascii, upper].into_iter().chain(slashed)
}

/// The inside of a JSON string; `escaped` says which characters are written as numbers too.
fn json(text: &str, escaped: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            letter if letter.is_ascii_control() && letter != '\u{7f}' || escaped(letter) => {
                for unit in letter.encode_utf16(&mut [0; 2]) {
                    // Writing to a string can't fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(known: &mut Known, text: &str) -> Vec<String> {
        let mut found = Vec::new();
        known.find(text.as_bytes(), &mut found);
        found.into_iter().map(|range| text[range].to_owned()).collect()
    }

    #[test]
    fn secrets_are_found_in_every_spelling() {
        let mut known = Known::default();
        assert!(found(&mut known, "hunter2-hunter2").is_empty());
        let secret = "pa\"ss<wörd>&\n/?~~~";
        assert!(known.learn(secret.as_bytes()));
        assert!(!known.learn(secret.as_bytes()));
        let spelt = [
            secret.to_owned(),
            STANDARD_NO_PAD.encode(secret),
            URL_SAFE_NO_PAD.encode(secret),
            serde_json_like(secret),
            "pa\\\"ss\\u003cwörd\\u003e\\u0026\\n/?~~~".to_owned(),
            "pa%22ss%3Cw%C3%B6rd%3E%26%0A%2F%3F%7E%7E%7E".to_owned(),
            "pa%22ss%3Cw%C3%B6rd%3E%26%0A%2F%3F~~~".to_owned(),
            "pa\\\"ss<w\\u00f6rd>&\\n/?~~~".to_owned(),
            "pa\\\"ss<w\\u00F6rd>&\\n\\/?~~~".to_owned(),
            "pa\\\"ss<wörd>&\\n\\/?~~~".to_owned(),
        ];
        for spelling in spelt {
            let text = format!("a {spelling} b");
            assert_eq!(found(&mut known, &text), vec![spelling.clone()], "{spelling}");
        }
        // Inside the base64 of something longer, wherever it begins in it: all but the letters that it shares.
        for user in ["", "a:", "ab:", "abc:"] {
            let text = STANDARD_NO_PAD.encode(format!("{user}{secret}!"));
            let sealed = found(&mut known, &text).concat();
            assert!(sealed.len() + 6 + user.len() * 4 / 3 >= text.len(), "{sealed} of {text}");
        }
        // One that is learnt later is found too.
        known.learn(b"another one");
        assert_eq!(found(&mut known, "so another one"), ["another one"]);
    }

    fn serde_json_like(text: &str) -> String {
        text.replace('"', "\\\"").replace('\n', "\\n")
    }

    #[test]
    fn short_ones_are_left_and_memory_is_bounded() {
        let mut known = Known::default();
        assert!(!known.learn(b"1234567") && !known.learn(b" 1234567\n"));
        assert!(!known.learn(&[b'x'; LONGEST + 1]));
        for index in 0..MOST + 10 {
            known.learn(format!("secret-{index:08}").as_bytes());
        }
        assert_eq!(known.iter().count(), MOST);
        assert!(found(&mut known, "secret-00000009").is_empty());
        assert_eq!(found(&mut known, "secret-00000010").len(), 1);
        for index in 0..200 {
            known.learn(format!("{index:04000}").as_bytes());
            assert!(known.bytes <= MOST_BYTES);
        }
    }
}
