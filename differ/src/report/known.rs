//! Changes of runtimes that are known, so that a finding can say which it is. Data: one file per runtime in `known/`.
//!
//! A change holds for the versions from `since` on, up to `until`. Both may name several versions, one of each line of releases:
//! what came in 2.0.0 and was brought back to 1.7.21 is in 1.7.22 and not in 1.7.20. A finding is that change where one side has it,
//! the other has not, and what the finding shows fits.

use std::cmp::Ordering;
use std::sync::LazyLock;

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::comparing::path::Pattern;
use crate::{Finding, Kind, Path, SideInfo};

const FILES: [(&str, &str); 3] = [
    ("containerd", include_str!("../../known/containerd.toml")),
    ("cri-o", include_str!("../../known/cri-o.toml")),
    ("docker", include_str!("../../known/docker.toml")),
];

/// What is thought of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Judgement {
    /// It was meant.
    Wanted,
    /// It mended a bug.
    Fix,
    /// It is a bug.
    Bug,
}

impl Judgement {
    /// A word for it that fits into a line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wanted => "wanted",
            Self::Fix => "fix",
            Self::Bug => "bug",
        }
    }
}

/// The known change that a finding is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Issue or pull request, as `containerd#10527`.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The version that brought it, of the line of releases of the side that has it.
    pub since: String,
    /// The version from which on it is no more, if there is one.
    #[serde(default)]
    pub until: Option<String>,
    /// What is thought of it.
    pub what: Judgement,
    /// One sentence.
    pub note: String,
    /// Whether the recorded side has it and the live one has not.
    #[serde(default)]
    pub undone: bool,
}

/// The known changes of all runtimes.
#[derive(Debug, Default)]
pub(crate) struct Catalogue(Vec<Change>);

#[derive(Debug)]
struct Change {
    runtime: &'static str,
    since: Vec<Version>,
    until: Vec<Version>,
    paths: Vec<Pattern>,
    entry: Entry,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    change: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(rename = "ref")]
    reference: String,
    since: Vec<String>,
    #[serde(default)]
    until: Vec<String>,
    what: Judgement,
    note: String,
    /// RPCs; any where there is none.
    #[serde(default)]
    method: Vec<String>,
    /// The CRI package of the call; any where there is none.
    generation: Option<String>,
    path: Vec<String>,
    kind: Option<Kind>,
    /// From a runtime without the change to one with it; any where there is none.
    transition: Option<String>,
}

impl Catalogue {
    /// What comes with the program.
    pub(crate) fn standard() -> &'static Self {
        static STANDARD: LazyLock<Catalogue> = LazyLock::new(|| {
            // A test reads the files.
            let changes = FILES.iter().flat_map(|(runtime, text)| parse(runtime, text).unwrap_or_default());
            Catalogue(changes.collect())
        });
        &STANDARD
    }

    /// The change that this finding is, if it is a known one.
    pub(crate) fn find(
        &self,
        finding: &Finding,
        path: &Path,
        recorded: &SideInfo,
        live: &SideInfo,
    ) -> Option<Known> {
        self.0.iter().filter(|change| change.fits(finding, path)).find_map(|change| {
            let undone = match (change.is_in(recorded), change.is_in(live)) {
                (false, true) => false,
                (true, false) => true,
                _ => return None,
            };
            change
                .goes_like(finding, undone)
                .then(|| change.known(if undone { recorded } else { live }, undone))
        })
    }
}

impl Change {
    fn fits(&self, finding: &Finding, path: &Path) -> bool {
        let mut parts = finding.method.rsplit('/');
        let rpc = parts.next().unwrap_or_default();
        let package = parts.next().and_then(|service| service.rsplit_once('.')).map(|(package, _)| package);
        let entry = &self.entry;
        (entry.method.is_empty() || entry.method.iter().any(|method| method == rpc))
            && entry.generation.as_deref().is_none_or(|generation| package == Some(generation))
            && entry.kind.is_none_or(|kind| kind == finding.kind)
            && self.paths.iter().any(|pattern| pattern.matches(path))
    }

    /// Whether the finding goes from without to with, or the other way where the change is undone.
    fn goes_like(&self, finding: &Finding, undone: bool) -> bool {
        let Some(transition) = &self.entry.transition else { return true };
        let expected = match transition.split_once('→') {
            Some((without, with)) if undone => format!("{with}→{without}"),
            _ => transition.clone(),
        };
        finding.transition.as_ref() == Some(&expected)
    }

    fn is_in(&self, side: &SideInfo) -> bool {
        side.runtime.eq_ignore_ascii_case(self.runtime)
            && version(&side.version)
                .is_some_and(|version| reached(&self.since, &version) && !reached(&self.until, &version))
    }

    fn known(&self, side: &SideInfo, undone: bool) -> Known {
        let version = version(&side.version);
        // Of the line of this side; else the newest.
        let named = |texts: &[String], versions: &[Version]| {
            let own =
                versions.iter().position(|it| version.as_ref().is_some_and(|own| line(it) == line(own)));
            own.or_else(|| versions.len().checked_sub(1)).and_then(|at| texts.get(at).cloned())
        };
        Known {
            reference: self.entry.reference.clone(),
            since: named(&self.entry.since, &self.since).unwrap_or_default(),
            until: named(&self.entry.until, &self.until),
            what: self.entry.what,
            note: self.entry.note.clone(),
            undone,
        }
    }
}

/// Whether this version has what came with `versions`: the version of its own line, or the newest of all.
fn reached(versions: &[Version], version: &Version) -> bool {
    let of_line = versions.iter().find(|it| line(it) == line(version));
    of_line.or_else(|| versions.iter().max()).is_some_and(|since| version.cmp(since) != Ordering::Less)
}

fn line(version: &Version) -> (u64, u64) {
    (version.major, version.minor)
}

/// A version as runtimes spell it: `v1.7.24`, `1.6.20~ds1`, `2.2`.
fn version(text: &str) -> Option<Version> {
    let text = text.trim().trim_start_matches('v');
    if let Ok(version) = Version::parse(text) {
        return Some(version);
    }
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let mut numbers = text[..end].split('.').map_while(|number| number.parse().ok());
    let major = numbers.next()?;
    Some(Version::new(major, numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)))
}

fn parse(runtime: &'static str, text: &str) -> Result<Vec<Change>, String> {
    let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
    file.change.into_iter().map(|entry| read(runtime, entry)).collect()
}

fn read(runtime: &'static str, entry: Entry) -> Result<Change, String> {
    let versions = |texts: &[String]| -> Result<Vec<Version>, String> {
        texts.iter().map(|text| version(text).ok_or_else(|| format!("{text} is no version"))).collect()
    };
    let paths =
        entry.path.iter().map(|text| Pattern::parse(text).ok_or_else(|| format!("{text} is no path")));
    Ok(Change {
        runtime,
        since: versions(&entry.since)?,
        until: versions(&entry.until)?,
        paths: paths.collect::<Result<_, _>>()?,
        entry,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Divergence, Findings, Ids, Report, Rules, Severity};
    use serde_json::Value;

    fn side(runtime: &str, version: &str) -> SideInfo {
        SideInfo { runtime: runtime.into(), version: version.into(), ..SideInfo::default() }
    }

    fn report(recorded: (&str, &str), live: (&str, &str), path: &[&str], transition: Option<&str>) -> Report {
        let mut findings = Findings::default();
        let divergence = Divergence {
            path: Path::of(path),
            kind: if path == ["outcome", "code"] { Kind::Outcome } else { Kind::Presence },
            transition: transition.map(str::to_owned),
            recorded: Value::Null,
            live: Value::Null,
            rule: "outcome".into(),
            severity: Severity::Breaking,
            settles: false,
            about: None,
        };
        let method = "/runtime.v1.RuntimeService/StopPodSandbox";
        findings.add_divergence(method, &Ids::default(), divergence);
        let side = |(runtime, version)| side(runtime, version);
        findings.into_report(side(recorded), side(live), &Rules::standard(), 0.01)
    }

    fn known(recorded: (&str, &str), live: (&str, &str), transition: &str) -> Option<Known> {
        report(recorded, live, &["outcome", "code"], Some(transition)).findings.remove(0).known
    }

    #[test]
    fn every_entry_can_be_read_and_says_what_it_is() {
        for (runtime, text) in FILES {
            let changes = parse(runtime, text).unwrap_or_else(|error| panic!("{runtime}: {error}"));
            assert!(!changes.is_empty());
            for change in changes {
                let entry = &change.entry;
                assert!(!entry.since.is_empty(), "{} has no version", entry.reference);
                assert!(entry.note.ends_with('.'), "{} has no sentence", entry.reference);
                assert!(!entry.path.is_empty(), "{} has no path", entry.reference);
                for method in &entry.method {
                    assert!(cri::methods().by_name(cri::Generation::V1, method).is_some(), "{method}");
                }
            }
        }
    }

    #[test]
    fn a_change_lies_between_the_two_versions() {
        let containerd =
            |recorded, live, transition| known(("containerd", recorded), ("containerd", live), transition);
        let found = containerd("1.6.20~ds1", "v1.7.24", "NOT_FOUND→OK").unwrap();
        assert_eq!((found.since.as_str(), found.undone, found.what), ("1.7.21", false, Judgement::Fix));
        assert_eq!(containerd("1.7.20", "2.1.4", "NOT_FOUND→OK").unwrap().since, "2.0.0");
        assert!(containerd("v2.1.4", "1.7.20", "OK→NOT_FOUND").unwrap().undone);
        // Both have it, neither has it, it goes the other way, or it is another runtime's.
        assert_eq!(containerd("1.7.21", "2.1.4", "NOT_FOUND→OK"), None);
        assert_eq!(containerd("1.6.20", "1.7.20", "NOT_FOUND→OK"), None);
        assert_eq!(containerd("1.7.20", "1.7.21", "OK→NOT_FOUND"), None);
        assert_eq!(known(("else", "1.7.20"), ("else", "1.7.21"), "NOT_FOUND→OK"), None);
    }

    #[test]
    fn versions_are_compared_within_their_lines() {
        let since: Vec<Version> = ["1.6.35", "1.7.21", "2.0.0"].map(|it| version(it).unwrap()).to_vec();
        let has = |text: &str| reached(&since, &version(text).unwrap());
        assert!(has("1.6.36") && has("1.7.21") && has("2.0.0") && has("2.3.1"));
        assert!(!has("1.5.18") && !has("1.6.34") && !has("1.7.20") && !has("2.0.0-rc.1"));
        assert!(!reached(&[], &Version::new(9, 0, 0)));
        assert_eq!(version("unknown"), None);
        assert_eq!(version("1.36"), Some(Version::new(1, 36, 0)));
    }
}
