//! What the relations mean.

use std::fmt;

use cri::IdentityKind;
use critape_calls::{IdentityMap, Resolution, Spelling};
use regex::{Regex, RegexBuilder};

use crate::rules::addresses::{Family, url_form};

/// Earliest and latest moment that passes for a time in a unit: 2001 to 2100.
const PLAUSIBLE_SECONDS: std::ops::RangeInclusive<u64> = 978_307_200..=4_102_444_800;
/// A number at the end of a word is made up on the spot where it is this long: `containerd-mount1347088907`.
const LONG_NUMBER: usize = 5;
/// Numbers above this are what an underflow leaves behind.
pub(crate) const PLAUSIBLE_COUNTER: u64 = 1 << 60;

/// Digits of the id of a sandbox or a container.
const ID_DIGITS: usize = 64;

/// How two values must relate to count as the same.
#[derive(Clone, Debug, PartialEq)]
pub enum Relation {
    /// Both unset, or both a time of the same unit and sign.
    Timestamp,
    /// As `Timestamp`, and unset on one side is fine.
    Sometime,
    /// Any plausible number.
    Counter,
    /// Same scheme, class of host and path; the token may differ.
    Url,
    /// Both unset, or both an address of the same family.
    Address,
    /// Same text without ids, longer numbers and addresses.
    Text,
    /// Both there or both not.
    Presence,
    /// Not there on one side is fine; where both are there they must be the same.
    Optional,
    /// Same path once a moved folder is taken back.
    Folder,
    /// Same path from an object's id on, with the part before that; the folder may be another.
    Below,
    /// The same port, or the one that a replay took in its place.
    Port,
    /// Ids that stand for one another, in one spelling.
    Id,
    /// JSON in a text: what is in it is compared, each part by the rules for it.
    Json,
    /// The live number is between these two, or is one of them.
    Range {
        /// The smallest that passes.
        min: f64,
        /// The largest.
        max: f64,
    },
    /// The live number is as near as this to the recorded one.
    Number(Within),
    /// The live value is one of these.
    OneOf(Vec<String>),
    /// The live text, ids taken for the recorded ones, is all matched by this.
    Pattern(TextPattern),
    /// Not compared.
    Ignore,
}

impl Relation {
    /// What it demands, in a sentence without its end.
    pub fn meaning(&self) -> &'static str {
        match self {
            Self::Timestamp => "both unset, or both a time of the same unit",
            Self::Sometime => "times of the same unit where both are set",
            Self::Counter => "any plausible number",
            Self::Url => "same scheme, class of host and path; the token may differ",
            Self::Address => "both unset, or both an address of the same family",
            Self::Text => "same text without ids, longer numbers and addresses",
            Self::Presence => "there on both sides or on neither",
            Self::Optional => "the same where both are there",
            Self::Folder => "same path once a moved folder is taken back",
            Self::Below => "same path from an object's id on, whatever folder of the runtime it is in",
            Self::Port => "the same port, or the one that a replay took in its place",
            Self::Id => "ids that stand for one another, in one spelling",
            Self::Json => "JSON, each part compared by the rules for it",
            Self::Range { .. } => "the live number is within bounds",
            Self::Number(_) => "the live number is near the recorded one",
            Self::OneOf(_) => "the live value is one of some",
            Self::Pattern(_) => "the live text fits a pattern",
            Self::Ignore => "nothing is compared",
        }
    }
}

/// Whether this is a number that is a time in some unit.
pub(crate) fn is_time(number: &str) -> bool {
    number.parse::<i128>().is_ok_and(|number| {
        !matches!(TimeClass::of(number), TimeClass::Unset | TimeClass::Negative | TimeClass::Odd)
    })
}

/// How near two numbers must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Within {
    /// Their difference is at most this.
    By(f64),
    /// Their difference is at most this share of the recorded number, where 0.1 is a tenth.
    Share(f64),
}

impl Within {
    /// Reads a share, as `10%`.
    pub(crate) fn parse_share(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
        match number {
            Some(number) if number >= 0.0 && number.is_finite() => Ok(Self::Share(number / 100.0)),
            _ => Err(format!("{text:?} is no share: write it as \"10%\"")),
        }
    }

    fn holds(self, recorded: f64, live: f64) -> bool {
        let apart = (live - recorded).abs();
        match self {
            Self::By(by) => apart <= by,
            Self::Share(share) => apart <= share * recorded.abs(),
        }
    }
}

/// A regular expression that is to match all of a text.
#[derive(Clone, Debug)]
pub struct TextPattern {
    text: String,
    expression: Regex,
}

impl TextPattern {
    /// Reads a regular expression; the error says what is wrong with it, in one line.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let expression = RegexBuilder::new(&format!("^(?:{text})$"))
            .dot_matches_new_line(true)
            .build()
            .map_err(|error| error.to_string().lines().map(str::trim).collect::<Vec<_>>().join(" "))?;
        Ok(Self { text: text.to_owned(), expression })
    }
}

impl PartialEq for TextPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timestamp => f.write_str("timestamp"),
            Self::Sometime => f.write_str("sometime"),
            Self::Counter => f.write_str("counter"),
            Self::Url => f.write_str("url"),
            Self::Address => f.write_str("address"),
            Self::Text => f.write_str("text"),
            Self::Presence => f.write_str("presence"),
            Self::Optional => f.write_str("optional"),
            Self::Folder => f.write_str("folder"),
            Self::Below => f.write_str("below"),
            Self::Port => f.write_str("port"),
            Self::Id => f.write_str("id"),
            Self::Json => f.write_str("json"),
            Self::Range { min, max } => write!(f, "range {min} to {max}"),
            Self::Number(Within::By(by)) => write!(f, "number ±{by}"),
            Self::Number(Within::Share(share)) => write!(f, "number ±{}%", share * 100.0),
            Self::OneOf(values) => write!(f, "oneof {}", values.join(", ")),
            Self::Pattern(pattern) => write!(f, "pattern {}", pattern.text),
            Self::Ignore => f.write_str("ignore"),
        }
    }
}

/// Whether two texts relate as asked. `live` is as the runtime gave it.
pub(crate) fn texts(relation: &Relation, recorded: &str, live: &str, ids: &IdentityMap) -> bool {
    match relation {
        Relation::Ignore => true,
        Relation::Presence => recorded.is_empty() == live.is_empty(),
        Relation::Optional => recorded.is_empty() || live.is_empty() || ids.to_recorded(live) == recorded,
        Relation::Url => url_form(recorded) == url_form(live),
        Relation::Address => {
            let (before, now) = (Family::of(recorded), Family::of(live));
            before == now && (before != Family::None || recorded == live)
        }
        Relation::Text => plain(recorded) == plain(&ids.to_recorded_path(live)),
        Relation::Folder => recorded == ids.to_recorded_path(live),
        Relation::Below => {
            let live = ids.to_recorded_path(live);
            recorded == live || below(recorded).is_some_and(|it| below(&live) == Some(it))
        }
        Relation::Id => Spelling::of(recorded) == Spelling::of(live) && same_id(recorded, live, ids),
        Relation::Json => recorded == ids.to_recorded(live),
        Relation::Timestamp => time_text(recorded) == time_text(live),
        Relation::Sometime => {
            let (before, now) = (time_text(recorded), time_text(live));
            before == now || [before, now].contains(&TimeText::Unset) && now != TimeText::Other
        }
        Relation::OneOf(values) => values.contains(&ids.to_recorded(live)),
        Relation::Pattern(pattern) => pattern.expression.is_match(&ids.to_recorded(live)),
        // Some numbers come as texts.
        Relation::Range { .. } | Relation::Number(_) => match (recorded.parse(), live.parse()) {
            (Ok(recorded), Ok(live)) => fractions(relation, recorded, live),
            _ => false,
        },
        Relation::Counter | Relation::Port => false,
    }
}

/// A path from the part before the first id of a sandbox or a container on; nothing where there is none.
fn below(path: &str) -> Option<&str> {
    let is_id = |part: &str| part.len() == ID_DIGITS && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = path.split('/').find(|part| is_id(part))?;
    let before = path.find(id)?.checked_sub(1)?;
    path[..before].rfind('/').map(|parent| &path[parent..])
}

/// Whether one stands for the other, or neither has been met.
fn same_id(recorded: &str, live: &str, ids: &IdentityMap) -> bool {
    let unmet = !matches!(ids.resolve(IdentityKind::Object, recorded), Resolution::Live(_));
    ids.to_recorded(live) == recorded || unmet && !ids.is_bound_live(live)
}

/// Whether two whole numbers relate as asked.
pub(crate) fn numbers(relation: &Relation, recorded: i128, live: i128) -> bool {
    match relation {
        Relation::Ignore => true,
        Relation::Presence => (recorded == 0) == (live == 0),
        Relation::Optional => recorded == 0 || live == 0,
        Relation::Timestamp => TimeClass::of(recorded) == TimeClass::of(live),
        Relation::Sometime => {
            let (before, now) = (TimeClass::of(recorded), TimeClass::of(live));
            let is_time = !matches!(now, TimeClass::Negative | TimeClass::Odd);
            before == now || live == 0 || recorded == 0 && is_time
        }
        Relation::Counter => {
            (0..=i128::from(PLAUSIBLE_COUNTER)).contains(&live)
                || !(0..=i128::from(PLAUSIBLE_COUNTER)).contains(&recorded)
        }
        Relation::Range { .. } | Relation::Number(_) => fractions(relation, recorded as f64, live as f64),
        Relation::OneOf(values) => values.contains(&live.to_string()),
        Relation::Url
        | Relation::Address
        | Relation::Text
        | Relation::Folder
        | Relation::Below
        | Relation::Id
        | Relation::Port
        | Relation::Json
        | Relation::Pattern(_) => false,
    }
}

/// Whether two fractions relate as asked.
pub(crate) fn fractions(relation: &Relation, recorded: f64, live: f64) -> bool {
    match relation {
        Relation::Ignore => true,
        Relation::Presence => (recorded == 0.0) == (live == 0.0),
        Relation::Optional => recorded == 0.0 || live == 0.0,
        Relation::Counter => live.is_finite() && live >= 0.0,
        Relation::Range { min, max } => (*min..=*max).contains(&live),
        Relation::Number(within) => within.holds(recorded, live),
        _ => false,
    }
}

/// What form of time a text has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TimeText {
    /// Empty, or Go's zero time.
    Unset,
    /// RFC 3339.
    Time,
    Other,
}

fn time_text(text: &str) -> TimeText {
    let form: String =
        text.chars().take(19).map(|letter| if letter.is_ascii_digit() { '0' } else { letter }).collect();
    match form.as_str() {
        "" => TimeText::Unset,
        "0000-00-00T00:00:00" if text.starts_with("0001-01-01T00:00:00") => TimeText::Unset,
        "0000-00-00T00:00:00" => TimeText::Time,
        _ => TimeText::Other,
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

/// A text without what differs from run to run: numbers of more than two digits and hexadecimal runs of eight and more.
pub(crate) fn plain(text: &str) -> String {
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
        let time = |a, b| numbers(&Relation::Timestamp, a, b);
        assert!(time(ns, ns + 5_000_000_000));
        assert!(time(0, 0));
        assert!(!time(ns, 0), "set against unset");
        assert!(!time(ns, ns / 1_000_000_000), "nanoseconds against seconds");
        assert!(!time(ns, -ns), "before the epoch");
        assert!(!time(ns, ns / 1000));
    }

    #[test]
    fn a_time_that_is_not_there_always_is_one_where_it_is_there() {
        let ns = 1_790_000_000_000_000_000_i128;
        let sometime = |a, b| numbers(&Relation::Sometime, a, b);
        assert!(sometime(0, ns) && sometime(ns, 0) && sometime(ns, ns + 1));
        assert!(
            !sometime(0, -1) && !sometime(0, 1) && !sometime(ns, -ns) && !sometime(ns, ns / 1_000_000_000)
        );
    }

    #[test]
    fn a_runtime_may_keep_its_objects_in_another_folder() {
        let ids = IdentityMap::default();
        let holds = |recorded: &str, live: &str| texts(&Relation::Below, recorded, live, &ids);
        let id = "5".repeat(64);
        let at = |folder: &str, rest: &str| format!("{folder}/{id}/{rest}");
        assert!(holds(&at("/run/containerd/cri/sandboxes", "shm"), &at("/scratch/cri/sandboxes", "shm")));
        assert!(!holds(&at("/run/cri/sandboxes", "shm"), &at("/run/cri/sandboxes", "hosts")));
        assert!(!holds(&at("/run/cri/sandboxes", "shm"), &at("/run/cri/containers", "shm")));
        assert!(!holds("/run/a", "/scratch/a") && !holds(&id, &at("/run/a", "")), "no folder, no id");
        assert!(holds("proc", "proc") && holds("/run/a", "/run/a"));
    }

    #[test]
    fn counters_may_be_anything_but_nonsense() {
        let counter = |a, b| numbers(&Relation::Counter, a, b);
        assert!(counter(5, 70_000_000));
        assert!(counter(5, 0));
        assert!(!counter(5, i128::from(u64::MAX - 100)), "an underflow");
        assert!(counter(i128::from(u64::MAX), i128::from(u64::MAX)), "the recording had it too");
    }

    #[test]
    fn texts_agree_without_their_numbers() {
        let text = |a, b| texts(&Relation::Text, a, b, &IdentityMap::default());
        assert!(text("process 12345 gone", "process 777 gone"));
        assert!(text("id deadbeef01", "id 0123456789ab"));
        assert!(text("tmp/containerd-mount1347088907: x", "tmp/containerd-mount771932808: x"));
        assert!(!text("sha256 of v1alpha2", "sha512 of v1alpha2"));
        assert!(!text("exit code 1", "exit code 2"), "short numbers mean something");
        assert!(!text("not found", "not running"));
    }

    #[test]
    fn numbers_may_be_near_or_within_bounds() {
        let near = |within: Within, a, b| numbers(&Relation::Number(within), a, b);
        assert!(near(Within::By(5.0), 100, 105) && !near(Within::By(5.0), 100, 106));
        let tenth = Within::parse_share("10%").unwrap();
        assert!(near(tenth, 1000, 900) && !near(tenth, 1000, 899) && !near(tenth, 0, 1));
        assert!(Within::parse_share("10").is_err() && Within::parse_share("-1%").is_err());
        let range = Relation::Range { min: 1.0, max: 3.0 };
        assert!(
            numbers(&range, 9, 3)
                && !numbers(&range, 2, 4)
                && !texts(&range, "x", "2", &IdentityMap::default())
        );
    }

    #[test]
    fn texts_may_be_one_of_some_or_fit_a_pattern() {
        let ids = IdentityMap::default();
        let some = Relation::OneOf(vec!["Error".into(), "OOMKilled".into()]);
        assert!(texts(&some, "Error", "OOMKilled", &ids) && !texts(&some, "Error", "Completed", &ids));
        let pattern = Relation::Pattern(TextPattern::parse("eth[0-9]|lo").unwrap());
        assert!(texts(&pattern, "", "eth7", &ids) && !texts(&pattern, "", "eth77", &ids), "all of it");
        assert!(TextPattern::parse("(").unwrap_err().contains("unclosed"));
        let optional = Relation::Optional;
        assert!(texts(&optional, "", "x", &ids) && texts(&optional, "x", "", &ids));
        assert!(!texts(&optional, "x", "y", &ids));
    }

    #[test]
    fn ids_keep_their_spelling_and_what_they_stand_for() {
        let (a, b, c) = ("a".repeat(64), "b".repeat(64), "c".repeat(64));
        let mut ids = IdentityMap::default();
        ids.bind(IdentityKind::Container, &a, &b);
        let id = |recorded: &str, live: &str| texts(&Relation::Id, recorded, live, &ids);
        assert!(id(&a, &b) && !id(&a, &c) && !id(&c, &b) && !id(&a, &format!("sha256:{b}")));
    }

    #[test]
    fn times_in_texts_are_told_from_none() {
        let time = |a, b| texts(&Relation::Timestamp, a, b, &IdentityMap::default());
        assert!(time("2026-01-02T03:04:05.6Z", "2026-01-02T03:04:06+01:00"));
        assert!(
            !time("2026-01-02T03:04:05Z", "0001-01-01T00:00:00Z") && !time("2026-01-02T03:04:05Z", "now")
        );
    }
}
