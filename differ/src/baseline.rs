//! Findings that are known and accepted: a file of entries, each with a note and, where it is wise, a date.
//!
//! ```toml
//! [[accept]]
//! id = "3b9d6c0f1a"                 # as a report has it; or, or as well:
//! method = "StopContainer"          # the RPC or its whole path
//! path = "outcome.code"
//! kind = "outcome"
//! transition = "NOT_FOUND→OK"
//! note = "containerd#10521: meant"
//! expires = 2027-01-31              # the last day on which it holds
//! ```

use serde::{Deserialize, Serialize};
use thiserror::Error;
use toml::value::Datetime;

use crate::{Finding, Kind, Report};

/// A baseline is written by people.
const MAX_FILE_BYTES: usize = 4 * 1024 * 1024;

/// Findings that are accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Baseline {
    entries: Vec<Entry>,
}

/// What a baseline says about a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Why.
    pub note: String,
    /// The last day on which that holds, as `2027-01-31`.
    pub expires: Option<String>,
}

/// What became of a baseline.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaselineUse {
    /// Findings that it holds.
    pub accepted: u64,
    /// Entries that fit a finding and no longer hold.
    pub expired: Vec<EntryUse>,
    /// Entries that fit no finding.
    pub unused: Vec<EntryUse>,
}

/// One entry of a baseline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryUse {
    /// What it is about.
    pub entry: String,
    /// Its note.
    pub note: String,
    /// Its last day.
    pub expires: Option<String>,
}

/// Why a baseline is none.
#[derive(Debug, Error)]
pub enum BaselineError {
    /// It is not the TOML that is expected.
    #[error("{name} is not a baseline: {message}")]
    Syntax {
        /// The file.
        name: String,
        /// What is wrong in it, and where.
        message: String,
    },
    /// An entry that would hold everything.
    #[error("{name}: entry {number} names neither id nor method: it would hold every finding")]
    Everything {
        /// The file.
        name: String,
        /// Which one, from 1.
        number: usize,
    },
    /// An entry that does not say why.
    #[error("{name}: entry {number} has no note: say why the finding is accepted")]
    NoNote {
        /// The file.
        name: String,
        /// Which one, from 1.
        number: usize,
    },
    /// A date that is none.
    #[error("{name}: entry {number} expires on {date}, which is no day: write it as 2027-01-31")]
    Date {
        /// The file.
        name: String,
        /// Which one, from 1.
        number: usize,
        /// What stands there.
        date: String,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Entry {
    id: Option<String>,
    method: Option<String>,
    path: Option<String>,
    kind: Option<Kind>,
    transition: Option<String>,
    note: String,
    expires: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    accept: Vec<Row>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    id: Option<String>,
    method: Option<String>,
    path: Option<String>,
    kind: Option<Kind>,
    transition: Option<String>,
    #[serde(default)]
    note: String,
    expires: Option<Day>,
}

/// A date of TOML's own, or one in quotes.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "no day: write it as 2027-01-31")]
enum Day {
    Date(Datetime),
    Text(String),
}

impl Baseline {
    /// Reads a baseline; `name` is what errors call it.
    pub fn parse(name: &str, text: &str) -> Result<Self, BaselineError> {
        let syntax = |message: String| BaselineError::Syntax { name: name.to_owned(), message };
        if text.len() > MAX_FILE_BYTES {
            return Err(syntax(format!("it is larger than {MAX_FILE_BYTES} bytes")));
        }
        let file: File = toml::from_str(text).map_err(|error| syntax(crate::rules::syntax(&error, text)))?;
        let rows = file.accept.into_iter().enumerate();
        let entries = rows.map(|(index, row)| Entry::of(name, index + 1, row)).collect::<Result<_, _>>()?;
        Ok(Self { entries })
    }

    /// Marks what it holds as accepted, and judges the report anew. `today` is a date as `2027-01-31`.
    pub fn apply(&self, report: &mut Report, today: &str) {
        let mut used = BaselineUse::default();
        for entry in &self.entries {
            let mut fits = report.findings.iter_mut().filter(|finding| entry.fits(finding)).peekable();
            // Dates of one form are in the order of their letters.
            let expired = entry.expires.as_deref().is_some_and(|last| last < today);
            if fits.peek().is_none() {
                used.unused.push(entry.told());
            } else if expired {
                used.expired.push(entry.told());
            } else {
                fits.for_each(|finding| {
                    finding.accepted =
                        Some(Accepted { note: entry.note.clone(), expires: entry.expires.clone() });
                });
            }
        }
        used.accepted = report.findings.iter().filter(|finding| finding.accepted.is_some()).count() as u64;
        report.baseline = Some(used);
        report.judge();
    }
}

/// A baseline that holds the findings of a report, for a person to go through. `expires` is a date as `2027-01-31`.
pub fn write_baseline(report: &Report, expires: &str) -> String {
    let head = "# Findings that are accepted. Go through them: say in each note why, and delete what should not be there.\n\
         # An entry holds to the end of the day on which it expires; without that line it holds for good.\n";
    let entries = report.findings.iter().map(|finding| written(finding, expires));
    std::iter::once(head.to_owned()).chain(entries).collect()
}

fn written(finding: &Finding, expires: &str) -> String {
    let known = finding.known.as_ref().map(|known| format!("{}: {}", known.reference, known.note));
    let accepted = finding.accepted.as_ref();
    let note = accepted.map(|it| it.note.clone()).or(known).unwrap_or_else(|| finding.summary.clone());
    let expires = accepted.map_or(Some(expires), |accepted| accepted.expires.as_deref());
    let kind = finding.kind.to_string();
    let values = [
        ("id", Some(finding.id.as_str())),
        ("method", Some(finding.method.as_str())),
        ("path", Some(finding.path.as_str())),
        ("kind", Some(kind.as_str())),
        ("transition", finding.transition.as_deref()),
        ("note", Some(note.as_str())),
    ];
    let values = values
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name} = {}\n", quoted(value?))))
        .chain(expires.map(|day| format!("expires = {day}\n")));
    let head = format!("\n# {}, {}\n[[accept]]\n", one_line(&finding.summary), finding.severity);
    std::iter::once(head).chain(values).collect()
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    // JSON's escapes are TOML's; DEL alone may not stand there as it is.
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

fn one_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

impl Entry {
    fn of(name: &str, number: usize, row: Row) -> Result<Self, BaselineError> {
        let name = name.to_owned();
        if row.id.is_none() && row.method.is_none() {
            return Err(BaselineError::Everything { name, number });
        }
        if row.note.trim().is_empty() {
            return Err(BaselineError::NoNote { name, number });
        }
        let expires = match row.expires.map(day) {
            Some(Err(date)) => return Err(BaselineError::Date { name, number, date }),
            Some(Ok(day)) => Some(day),
            None => None,
        };
        let Row { id, method, path, kind, transition, note, .. } = row;
        Ok(Self { id, method, path, kind, transition, note, expires })
    }

    fn fits(&self, finding: &Finding) -> bool {
        let rpc = finding.method.rsplit('/').next();
        let is = |wanted: &Option<String>, value: &str| wanted.as_deref().is_none_or(|it| it == value);
        is(&self.id, &finding.id)
            && self.method.as_deref().is_none_or(|method| method == finding.method || rpc == Some(method))
            && is(&self.path, &finding.path)
            && self.kind.is_none_or(|kind| kind == finding.kind)
            && self.transition.as_ref().is_none_or(|it| finding.transition.as_ref() == Some(it))
    }

    fn told(&self) -> EntryUse {
        let kind = self.kind.map(|kind| kind.to_string());
        let parts = [&self.id, &self.method, &self.path, &kind, &self.transition];
        let entry = parts.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" ");
        EntryUse { entry, note: self.note.clone(), expires: self.expires.clone() }
    }
}

/// A day as `2027-01-31`; what stands there instead where it is none.
fn day(day: Day) -> Result<String, String> {
    let date = match day {
        Day::Date(date) => date,
        Day::Text(text) => text.parse::<Datetime>().map_err(|_| text)?,
    };
    match date {
        Datetime { date: Some(day), time: None, offset: None } => Ok(day.to_string()),
        other => Err(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Divergence, Findings, Ids, Path, Rules, Severity, SideInfo, Verdict};
    use serde_json::Value;

    fn report() -> Report {
        let mut findings = Findings::default();
        for (method, transition) in [("StopContainer", "NOT_FOUND→OK"), ("PullImage", "OK→UNKNOWN")] {
            let divergence = Divergence {
                path: Path::of(&["outcome", "code"]),
                kind: Kind::Outcome,
                transition: Some(transition.to_owned()),
                recorded: Value::Null,
                live: Value::Null,
                rule: "outcome".into(),
                severity: Severity::Breaking,
                settles: false,
                about: None,
            };
            findings.add_divergence(&format!("/p.S/{method}"), &Ids::default(), divergence);
        }
        findings.into_report(SideInfo::default(), SideInfo::default(), &Rules::standard(), 0.01)
    }

    fn applied(text: &str, today: &str) -> Report {
        let mut report = report();
        Baseline::parse("b.toml", text).unwrap().apply(&mut report, today);
        report
    }

    #[test]
    fn what_it_holds_does_not_count() {
        let both = "[[accept]]\nmethod = \"StopContainer\"\npath = \"outcome.code\"\nnote = \"meant\"\nexpires = 2027-01-31\n\
                    [[accept]]\nmethod = \"/p.S/PullImage\"\nnote = \"our registry\"\n";
        let report = applied(both, "2027-01-31");
        assert_eq!(report.verdict, Verdict::Same);
        assert_eq!(report.baseline.as_ref().unwrap().accepted, 2);
        assert!(report.findings.iter().all(|finding| finding.accepted.is_some()));
        // The day after.
        let report = applied(both, "2027-02-01");
        assert_eq!(report.verdict, Verdict::Different);
        let used = report.baseline.unwrap();
        assert_eq!((used.accepted, used.expired.len(), used.unused.len()), (1, 1, 0));
        assert_eq!(used.expired[0].entry, "StopContainer outcome.code");
    }

    #[test]
    fn what_fits_nothing_is_told() {
        let report = applied(
            "[[accept]]\nmethod = \"StopContainer\"\ntransition = \"OK→NOT_FOUND\"\nnote = \"x\"\nexpires = \"2020-01-01\"",
            "2027-01-01",
        );
        assert_eq!(report.verdict, Verdict::Different);
        let used = report.baseline.unwrap();
        assert_eq!((used.accepted, used.expired.len()), (0, 0));
        assert_eq!(used.unused[0].entry, "StopContainer OK→NOT_FOUND");
    }

    #[test]
    fn one_that_is_written_holds_the_report_it_is_of() {
        let text = write_baseline(&report(), "2027-01-31");
        let report = applied(&text, "2027-01-31");
        assert_eq!((report.verdict, report.baseline.as_ref().unwrap().unused.len()), (Verdict::Same, 0));
        // Written again, it keeps what it said.
        assert_eq!(write_baseline(&report, "2099-01-01"), text);
    }

    #[test]
    fn mistakes_are_named() {
        let error = |text: &str| Baseline::parse("b.toml", text).unwrap_err().to_string();
        assert!(error("[[accept]]\nnote = \"x\"").contains("entry 1 names neither id nor method"));
        assert!(error("[[accept]]\nid = \"a\"").contains("entry 1 has no note"));
        assert!(
            error("[[accept]]\nid = \"a\"\nnote = \"x\"\nexpires = \"soon\"").contains("expires on soon")
        );
        assert!(
            error("[[accept]]\nid = \"a\"\nnote = \"x\"\nexpires = 2027-01-31T00:00:00Z").contains("no day")
        );
        assert!(error("[[accept]]\nidd = \"a\"").contains("line 2"));
    }
}
