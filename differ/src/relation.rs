//! What the relations mean.

use critape_calls::IdentityMap;

use crate::Relation;

/// Earliest and latest moment that passes for a time in a unit: 2001 to 2100.
const PLAUSIBLE_SECONDS: std::ops::RangeInclusive<u64> = 978_307_200..=4_102_444_800;
/// A number at the end of a word is made up on the spot where it is this long: `containerd-mount1347088907`.
const LONG_NUMBER: usize = 5;
/// Numbers above this are what an underflow leaves behind.
const PLAUSIBLE_COUNTER: u64 = 1 << 60;

/// Whether two texts relate as asked. `live` is as the runtime gave it.
pub(crate) fn texts(relation: Relation, recorded: &str, live: &str, ids: &IdentityMap) -> bool {
    match relation {
        Relation::Ignore => true,
        Relation::Presence => recorded.is_empty() == live.is_empty(),
        Relation::Url => url_form(recorded) == url_form(live),
        Relation::Text => plain(recorded) == plain(&ids.to_recorded_path(live)),
        Relation::Folder => recorded == ids.to_recorded_path(live),
        Relation::Timestamp | Relation::Sometime | Relation::Counter => false,
    }
}

/// Whether two whole numbers relate as asked.
pub(crate) fn numbers(relation: Relation, recorded: i128, live: i128) -> bool {
    match relation {
        Relation::Ignore => true,
        Relation::Presence => (recorded == 0) == (live == 0),
        Relation::Timestamp => TimeClass::of(recorded) == TimeClass::of(live),
        Relation::Sometime => recorded == 0 || live == 0 || TimeClass::of(recorded) == TimeClass::of(live),
        Relation::Counter => {
            (0..=i128::from(PLAUSIBLE_COUNTER)).contains(&live)
                || !(0..=i128::from(PLAUSIBLE_COUNTER)).contains(&recorded)
        }
        Relation::Url | Relation::Text | Relation::Folder => false,
    }
}

/// Whether two fractions relate as asked.
pub(crate) fn fractions(relation: Relation, recorded: f64, live: f64) -> bool {
    match relation {
        Relation::Ignore => true,
        Relation::Presence => (recorded == 0.0) == (live == 0.0),
        Relation::Counter => live.is_finite() && live >= 0.0,
        Relation::Timestamp | Relation::Sometime | Relation::Url | Relation::Text | Relation::Folder => false,
    }
}

/// What kind of time a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TimeClass {
    Unset,
    Negative,
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
    /// No time between 2001 and 2100 in any unit.
    Odd,
}

impl TimeClass {
    fn of(value: i128) -> Self {
        let Ok(value) = u64::try_from(value) else { return Self::Negative };
        let within = |unit: u64| {
            let (first, last) = (*PLAUSIBLE_SECONDS.start(), *PLAUSIBLE_SECONDS.end());
            value >= first.saturating_mul(unit) && value <= last.saturating_mul(unit)
        };
        match value {
            0 => Self::Unset,
            _ if within(1) => Self::Seconds,
            _ if within(1_000) => Self::Milliseconds,
            _ if within(1_000_000) => Self::Microseconds,
            _ if within(1_000_000_000) => Self::Nanoseconds,
            _ => Self::Odd,
        }
    }
}

/// The parts of a streaming URL that must stay: scheme, whether there is a host, path without its token, whether there is a
/// token.
fn url_form(url: &str) -> (String, bool, String, bool) {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (scheme, rest),
        None => ("", url.strip_prefix("//").unwrap_or(url)),
    };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (route, token) = path.rsplit_once('/').unwrap_or((path, ""));
    (scheme.to_owned(), !host.is_empty(), route.to_owned(), !token.is_empty())
}

/// A text without what differs from run to run: numbers of more than two digits and hexadecimal runs of eight and more.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let word = rest.bytes().take_while(u8::is_ascii_alphanumeric).count();
        if word == 0 {
            let next = rest.chars().next().map_or(1, char::len_utf8);
            out.push_str(&rest[..next]);
            rest = &rest[next..];
            continue;
        }
        let (token, after) = rest.split_at(word);
        let digits = token.bytes().rev().take_while(u8::is_ascii_digit).count();
        let number = token.len() > 2 && digits == token.len();
        let hex = token.len() >= 8
            && token.bytes().all(|byte| byte.is_ascii_hexdigit())
            && token.bytes().any(|byte| byte.is_ascii_digit());
        if number {
            out.push('#');
        } else if hex {
            out.push('%');
        } else if digits >= LONG_NUMBER {
            out.push_str(&token[..token.len() - digits]);
            out.push('#');
        } else {
            out.push_str(token);
        }
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_agree_when_unit_and_sign_do() {
        let ns = 1_790_000_000_000_000_000_i128;
        let time = |a, b| numbers(Relation::Timestamp, a, b);
        assert!(time(ns, ns + 5_000_000_000));
        assert!(time(0, 0));
        assert!(!time(ns, 0), "set against unset");
        assert!(!time(ns, ns / 1_000_000_000), "nanoseconds against seconds");
        assert!(!time(ns, -ns), "before the epoch");
        assert!(!time(ns, ns / 1000));
    }

    #[test]
    fn counters_may_be_anything_but_nonsense() {
        let counter = |a, b| numbers(Relation::Counter, a, b);
        assert!(counter(5, 70_000_000));
        assert!(counter(5, 0));
        assert!(!counter(5, i128::from(u64::MAX - 100)), "an underflow");
        assert!(counter(i128::from(u64::MAX), i128::from(u64::MAX)), "the recording had it too");
    }

    #[test]
    fn urls_keep_their_form() {
        let url = |a, b| texts(Relation::Url, a, b, &IdentityMap::default());
        assert!(url("http://127.0.0.1:40001/exec/AbCd1234", "http://127.0.0.1:9/exec/zzzzzzzz"));
        assert!(!url("http://127.0.0.1:40001/exec/AbCd1234", "//127.0.0.1:9/exec/zzzzzzzz"));
        assert!(!url("http://127.0.0.1:40001/exec/AbCd1234", "http:///exec/zzzzzzzz"));
        assert!(!url("http://127.0.0.1:40001/exec/AbCd1234", "http://127.0.0.1:40001/attach/AbCd1234"));
        assert!(!url("http://127.0.0.1:40001/exec/AbCd1234", ""));
    }

    #[test]
    fn texts_agree_without_their_numbers() {
        let text = |a, b| texts(Relation::Text, a, b, &IdentityMap::default());
        assert!(text("process 12345 gone", "process 777 gone"));
        assert!(text("id deadbeef01", "id 0123456789ab"));
        assert!(text("tmp/containerd-mount1347088907: x", "tmp/containerd-mount771932808: x"));
        assert!(!text("sha256 of v1alpha2", "sha512 of v1alpha2"));
        assert!(!text("exit code 1", "exit code 2"), "short numbers mean something");
        assert!(!text("not found", "not running"));
    }
}
