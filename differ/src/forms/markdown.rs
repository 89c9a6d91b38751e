//! A report for a pull request: short, with the details folded.

use std::fmt::{self, Write as _};

use super::table::{accepted, call, limitation_line};
use super::text::{cut, known, plain, pretty, rpc, side, signature, times, until};
use crate::{EarlierCall, Effect, Finding, Report, Verdict};

/// Findings in full; what comes after them is named in one line each.
const MAX_IN_FULL: usize = 30;
/// Findings that are named at all. Forges refuse texts of more than 64 KiB.
const MAX_NAMED: usize = 100;
/// Longest piece of a value.
const MAX_VALUE: usize = 600;

/// The report as Markdown of the kind that forges show.
pub(super) fn render(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a string never fails.
    let _ = write(&mut out, report);
    out
}

fn write(out: &mut String, report: &Report) -> fmt::Result {
    let verdict = match report.verdict {
        Verdict::Same => "same",
        Verdict::Different => "different",
        Verdict::Inconclusive => "inconclusive",
    };
    let groups = report.grouped();
    let open: Vec<&Finding> = groups.iter().flatten().map(|(_, finding)| *finding).collect();
    let word = if open.len() == 1 { "finding" } else { "findings" };
    writeln!(out, "### critape: {verdict}, {} {word}{}\n", open.len(), accepted(report))?;
    writeln!(out, "{} → {}\n", inline(&side(&report.recorded)), inline(&side(&report.live)))?;
    let calls = &report.calls;
    writeln!(
        out,
        "{} calls recorded, {} compared, {} inconclusive; {} differences explained by rules\n",
        calls.recorded, calls.compared, calls.inconclusive, report.suppressed.count
    )?;
    let limits = || report.preflight.iter().filter(|limitation| limitation.effect != Effect::Sent);
    for limitation in limits().take(MAX_NAMED) {
        writeln!(out, "- preflight: {}", inline(&limitation_line(limitation)))?;
    }
    if limits().next().is_some() {
        writeln!(out)?;
    }
    if !open.is_empty() {
        table(out, &open)?;
    }
    for group in groups.iter().take(MAX_IN_FULL) {
        folded(out, group)?;
    }
    let held: Vec<&Finding> = report.findings.iter().filter(|finding| finding.accepted.is_some()).collect();
    if !held.is_empty() {
        writeln!(out, "<details><summary>{} accepted</summary>\n", held.len())?;
        for finding in held.iter().take(MAX_NAMED) {
            let Some(accepted) = &finding.accepted else { continue };
            let until = until(accepted.expires.as_deref());
            writeln!(out, "- {}: {}{until}", inline(&finding.summary), inline(&accepted.note))?;
        }
        writeln!(out, "\n</details>\n")?;
    }
    if let Some(used) = &report.baseline {
        for (entries, what) in
            [(&used.expired, "has expired and counts again"), (&used.unused, "holds nothing and may go")]
        {
            for entry in entries.iter().take(MAX_NAMED) {
                writeln!(out, "- baseline: {} {what}", inline(&entry.entry))?;
            }
        }
    }
    Ok(())
}

fn table(out: &mut String, findings: &[&Finding]) -> fmt::Result {
    writeln!(out, "| | finding | method | times | known |\n| --- | --- | --- | ---: | --- |")?;
    for finding in findings.iter().take(MAX_NAMED) {
        let change = finding.known.as_ref().map(|known| inline(&known.reference)).unwrap_or_default();
        let summary = inline(&finding.summary);
        let is_first = !findings.iter().any(|it| finding.follows.as_ref() == Some(&it.id));
        let summary = if is_first { summary } else { format!("as above: {summary}") };
        writeln!(
            out,
            "| {} | {} | {} | {} | {change} |",
            finding.severity,
            summary,
            inline(rpc(&finding.method)),
            finding.count
        )?;
    }
    if findings.len() > MAX_NAMED {
        writeln!(out, "| | and {} more | | | |", findings.len() - MAX_NAMED)?;
    }
    writeln!(out)
}

/// A finding, and what follows from it.
fn folded(out: &mut String, group: &[(usize, &Finding)]) -> fmt::Result {
    let Some(((_, finding), followers)) = group.split_first() else { return Ok(()) };
    writeln!(
        out,
        "<details><summary><b>{}</b>: {}</summary>\n",
        finding.severity,
        entities(&plain(&finding.summary))
    )?;
    writeln!(out, "{} {}, `{}`\n", code(&signature(finding)), times(finding.count), finding.id)?;
    if let Some(consequence) = &finding.consequence {
        writeln!(out, "- So: {}", inline(consequence))?;
    }
    if let Some(change) = &finding.known {
        writeln!(out, "- Known: {}", inline(&known(change)))?;
    }
    let before = finding.evidence.as_ref().map_or(&[][..], |evidence| evidence.before.as_slice());
    if !before.is_empty() {
        let named = |call: &EarlierCall| format!("{} {} {}", call.call, rpc(&call.method), call.outcome);
        let named: Vec<_> = before.iter().map(|call| inline(&named(call))).collect();
        let about = finding.evidence.as_ref().and_then(|evidence| evidence.about.as_deref());
        let of = about.map(|about| format!(" of {}", inline(about))).unwrap_or_default();
        writeln!(out, "- Before{of}: {}", named.join(", "))?;
    }
    for (_, follower) in followers.iter().take(MAX_NAMED) {
        let signature = code(&signature(follower));
        writeln!(
            out,
            "- As above, in another answer: {signature} {}, `{}`",
            times(follower.count),
            follower.id
        )?;
    }
    for example in finding.examples.iter().take(1) {
        let value = |value| cut(&pretty(value), MAX_VALUE);
        let (recorded, live) = (value(&example.recorded), value(&example.live));
        writeln!(out, "\n{}\n", inline(&call(example)))?;
        fenced(out, &format!("{}\n{}", marked('-', &recorded), marked('+', &live)))?;
    }
    writeln!(out, "\n</details>\n")
}

/// Every line with a mark in front, as in a patch.
fn marked(mark: char, text: &str) -> String {
    text.lines().map(|line| format!("{mark} {line}")).collect::<Vec<_>>().join("\n")
}

/// A block of text in which nothing has a meaning: its fence is longer than any in it.
fn fenced(out: &mut String, text: &str) -> fmt::Result {
    let fence = "`".repeat(longest_run(text).max(2) + 1);
    writeln!(out, "{fence}diff\n{text}\n{fence}")
}

/// Code within a line.
fn code(text: &str) -> String {
    let fence = "`".repeat(longest_run(text) + 1);
    format!("{fence} {} {fence}", text.replace('|', "\\|"))
}

fn longest_run(text: &str) -> usize {
    let (mut longest, mut run) = (0, 0);
    for letter in text.chars() {
        run = if letter == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest
}

/// Text within a line that stays what it is.
fn inline(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in plain(text).chars() {
        match letter {
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '!' | '#' => out.extend(['\\', letter]),
            // A name with it is told; a link or an issue number would ring somebody's bell.
            '@' => out.push_str("@\u{200b}"),
            other => out.push_str(&entities(&other.to_string())),
        }
    }
    out
}

fn entities(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn it_is_short_and_folded() {
        let text = render(&sample::report());
        assert!(text.starts_with("### critape: different, 2 findings\n"), "{text}");
        assert!(text.contains("| breaking | StopContainer ended with NOT\\_FOUND"), "{text}");
        assert_eq!(text.matches("<details>").count(), text.matches("</details>").count());
        assert_eq!(text.matches("<details>").count(), 2);
        assert!(text.contains("- Known: containerd\\#10521"), "{text}");
        assert!(text.contains("- preflight: inconclusive"), "{text}");
        assert!(text.contains("- Before of default/web/app: 7 CreateContainer OK"), "{text}");
    }

    #[test]
    fn what_follows_from_a_finding_is_folded_with_it() {
        let text = render(&sample::grouped());
        assert_eq!(text.matches("<details>").count(), 1);
        assert!(text.contains("| behaviour | as above: "), "{text}");
        assert!(text.contains("- As above, in another answer: ` /runtime.v1"), "{text}");
    }

    #[test]
    fn values_stay_values() {
        let text = render(&sample::hostile());
        // Five is more than the value has; between them is code.
        for outside in text.split("`````").step_by(2) {
            assert!(!outside.contains("<img") && !outside.contains("<script"), "{outside}");
        }
        // The fence is longer than the one in the value.
        let lines: Vec<&str> = text.lines().collect();
        let fence = lines.iter().position(|line| line.ends_with("diff") && line.starts_with('`')).unwrap();
        let marks = lines[fence].trim_end_matches("diff");
        assert_eq!(marks.len(), 5);
        assert_eq!(lines.iter().filter(|line| **line == marks).count(), 1);
        assert_eq!(inline("a|b@c"), "a\\|b@\u{200b}c");
    }
}
