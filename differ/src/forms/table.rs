//! A report as people read it on a terminal.

use std::fmt::{self, Write as _};

use super::text::{both, known, place, plain, rpc, side, signature, times, until};
use super::{Color, pace};
use crate::{BaselineUse, EarlierCall, Effect, Example, Finding, Limitation, Report, Severity, Verdict};

/// Longest piece of a value that is shown.
const MAX_VALUE_CHARS: usize = 160;
/// Examples shown of one finding.
const SHOWN_EXAMPLES: usize = 2;
/// Rules named in the line about suppressed differences.
const SHOWN_RULES: usize = 6;
/// Earlier calls named.
const SHOWN_BEFORE: usize = 5;

/// The report as text.
pub(super) fn render(report: &Report, color: Color) -> String {
    let paint = Paint { color };
    let mut out = String::new();
    // Writing to a string never fails.
    let _ = head(&mut out, report, &paint);
    let _ = findings(&mut out, report, &paint);
    let _ = foot(&mut out, report, &paint);
    out
}

pub(super) struct Paint {
    pub(super) color: Color,
}

impl Paint {
    pub(super) fn with(&self, code: &str, text: &str) -> String {
        match self.color {
            Color::Shown => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            Color::Plain => text.to_owned(),
        }
    }

    pub(super) fn bold(&self, text: &str) -> String {
        self.with("1", text)
    }

    pub(super) fn dim(&self, text: &str) -> String {
        self.with("2", text)
    }

    pub(super) fn severity(&self, severity: Severity) -> String {
        let code = match severity {
            Severity::Breaking => "1;31",
            Severity::Behaviour => "33",
            Severity::Cosmetic => "36",
        };
        self.with(code, &severity.to_string())
    }
}

fn head(out: &mut String, report: &Report, paint: &Paint) -> fmt::Result {
    let calls = &report.calls;
    // A check has no recorded side.
    let has_recording = !report.is_of_check();
    let recorded = has_recording.then_some(("recorded", &report.recorded));
    for (name, of) in recorded.into_iter().chain([("live", &report.live)]) {
        let at = place(of).map(|place| paint.dim(&format!("  {place}"))).unwrap_or_default();
        writeln!(out, "{name:<8}  {}{at}", side(of))?;
    }
    write!(out, "calls     ")?;
    if has_recording {
        write!(out, "{} recorded, ", calls.recorded)?;
    }
    write!(out, "{} sent, {} compared", calls.sent, calls.compared)?;
    for (count, what) in [
        (calls.collapsed, "of them by the polls around them"),
        (calls.settled, "settled"),
        (calls.skipped, "skipped"),
        (calls.inconclusive, "inconclusive"),
    ] {
        if count > 0 {
            write!(out, ", {count} {what}")?;
        }
    }
    writeln!(out)?;
    pace::write(out, report)?;
    if report.suppressed.count > 0 {
        let named: Vec<_> = report
            .suppressed
            .rules
            .iter()
            .take(SHOWN_RULES)
            .map(|rule| format!("{} {}", plain(&rule.rule), rule.count))
            .collect();
        let more = report.suppressed.rules.len().saturating_sub(SHOWN_RULES);
        let more = if more > 0 { format!(", {more} more") } else { String::new() };
        let text =
            format!("explained {} differences by rule: {}{more}", report.suppressed.count, named.join(", "));
        writeln!(out, "{}", paint.dim(&text))?;
    }
    writeln!(out)
}

/// Findings by what a kubelet would do about them, worst first; accepted ones last, in short.
fn findings(out: &mut String, report: &Report, paint: &Paint) -> fmt::Result {
    let groups = report.grouped();
    for severity in [Severity::Breaking, Severity::Behaviour, Severity::Cosmetic] {
        let of: Vec<_> = groups.iter().filter(|group| group[0].1.severity == severity).collect();
        if of.is_empty() {
            continue;
        }
        let count: usize = of.iter().map(|group| group.len()).sum();
        let count = paint.dim(&format!("({count})"));
        writeln!(out, "{}{} {count}\n", paint.severity(severity), paint.dim(&meaning(severity)))?;
        for group in of {
            one(out, group, paint)?;
        }
    }
    let numbered = report.findings.iter().enumerate().map(|(index, finding)| (index + 1, finding));
    let accepted: Vec<_> = numbered.filter(|(_, finding)| finding.accepted.is_some()).collect();
    if accepted.is_empty() {
        return Ok(());
    }
    writeln!(out, "{} {}", paint.bold("accepted"), paint.dim(&format!("({})", accepted.len())))?;
    for (number, finding) in accepted {
        let Some(accepted) = &finding.accepted else { continue };
        writeln!(
            out,
            "{number:>3}  {}  {}",
            plain(&finding.summary),
            paint.dim(&format!("[{}]", finding.id))
        )?;
        writeln!(out, "     {}{}", plain(&accepted.note), until(accepted.expires.as_deref()))?;
    }
    writeln!(out)
}

fn meaning(severity: Severity) -> String {
    let text = match severity {
        Severity::Breaking => "a kubelet would fail, retry, or take the pod for something it isn't",
        Severity::Behaviour => "a kubelet would go another way, or show something else",
        Severity::Cosmetic => "a kubelet would not notice",
    };
    format!(": {text}")
}

/// A finding, and in one line each what follows from it.
fn one(out: &mut String, group: &[(usize, &Finding)], paint: &Paint) -> fmt::Result {
    let Some(((at, finding), followers)) = group.split_first() else { return Ok(()) };
    let (number, severity) = (at + 1, paint.severity(finding.severity));
    writeln!(out, "{number:>3}  {severity}  {}", paint.bold(&plain(&finding.summary)))?;
    let line = format!("{}  {}  [{}]", signature(finding), times(finding.count), finding.id);
    writeln!(out, "     {}", paint.dim(&line))?;
    if let Some(consequence) = &finding.consequence {
        writeln!(out, "     so      {}", plain(consequence))?;
    }
    if let Some(change) = &finding.known {
        writeln!(out, "     known   {}", known(change))?;
    }
    for example in finding.examples.iter().take(SHOWN_EXAMPLES) {
        writeln!(out, "     {}", call(example))?;
        let [recorded, live] = both(&example.recorded, &example.live, MAX_VALUE_CHARS);
        writeln!(out, "       {} {recorded}", paint.with("31", "- recorded"))?;
        writeln!(out, "       {} {live}", paint.with("32", "+ live    "))?;
    }
    if let Some(evidence) = &finding.evidence {
        before(out, evidence.about.as_deref(), &evidence.before, paint)?;
    }
    for (at, finding) in followers {
        let line = format!("{}  {}  [{}]", signature(finding), times(finding.count), finding.id);
        writeln!(out, "{:>3}  {}  as above, in another answer", at + 1, paint.severity(finding.severity))?;
        writeln!(out, "     {}", paint.dim(&line))?;
    }
    writeln!(out)
}

/// Which calls an example is of, and what it is about.
pub(super) fn call(example: &Example) -> String {
    let call = match (example.recorded_call, example.live_call) {
        (Some(recorded), Some(other)) => format!("call {recorded} / call {other}"),
        (Some(call), None) | (None, Some(call)) => format!("call {call}"),
        (None, None) => String::new(),
    };
    match &example.about {
        Some(about) => format!("{call}  {}", plain(about)),
        None => call,
    }
}

fn before(out: &mut String, about: Option<&str>, calls: &[EarlierCall], paint: &Paint) -> fmt::Result {
    if calls.is_empty() {
        return Ok(());
    }
    let named: Vec<_> = calls
        .iter()
        .rev()
        .take(SHOWN_BEFORE)
        .rev()
        .map(|call| plain(&format!("{} {} {}", call.call, rpc(&call.method), call.outcome)))
        .collect();
    let of = about.map(|about| format!(" of {}", plain(about))).unwrap_or_default();
    writeln!(out, "     {}", paint.dim(&format!("before{of}: {}", named.join(", "))))
}

fn foot(out: &mut String, report: &Report, paint: &Paint) -> fmt::Result {
    // What is sent as it is says nothing about what follows.
    for limitation in report.preflight.iter().filter(|it| it.effect != Effect::Sent) {
        writeln!(out, "preflight: {}", limitation_line(limitation))?;
    }
    for (title, reasons) in [("inconclusive", &report.inconclusive), ("skipped", &report.skipped)] {
        for reason in reasons {
            writeln!(
                out,
                "{title}: {} × {} (first: call {})",
                reason.count,
                plain(&reason.reason),
                reason.first_call
            )?;
        }
    }
    for what in &report.unchecked {
        writeln!(out, "not checked: {}", plain(what))?;
    }
    if let Some(used) = &report.baseline {
        baseline(out, used)?;
    }
    let line = match report.verdict {
        Verdict::Same => paint.with("1;32", &same(report)),
        Verdict::Different => {
            let findings = report.open().count();
            let divergences: u64 = report.open().map(|finding| finding.count).sum();
            let word = if findings == 1 { "finding" } else { "findings" };
            let accepted = accepted(report);
            paint.with("1;31", &format!("different: {findings} {word}, {divergences} divergences{accepted}"))
        }
        Verdict::Inconclusive => {
            paint.with("1;33", "inconclusive: 0 divergences, but too many calls could not be compared")
        }
    };
    writeln!(out, "{line}")
}

/// What a preflight found, one a line, as text.
pub fn render_limitations<'a>(limitations: impl IntoIterator<Item = &'a Limitation>) -> String {
    let lines: Vec<String> = limitations.into_iter().map(|it| limitation_line(it) + "\n").collect();
    lines.concat()
}

/// A limitation in one line: what becomes of how many calls, and why.
pub(super) fn limitation_line(limitation: &Limitation) -> String {
    let calls = if limitation.calls == 1 { "call" } else { "calls" };
    let first = limitation.first_call.map(|call| format!(" (first: call {call})")).unwrap_or_default();
    format!(
        "{:<12}  {} {calls}  {}: {}{first}",
        limitation.effect.to_string(),
        limitation.calls,
        limitation.kind,
        plain(&limitation.summary)
    )
}

fn same(report: &Report) -> String {
    format!("same: 0 divergences{}", accepted(report))
}

/// How many findings a baseline holds, where it holds any.
pub(super) fn accepted(report: &Report) -> String {
    match report.baseline.as_ref().map_or(0, |used| used.accepted) {
        0 => String::new(),
        1 => ", 1 finding accepted".to_owned(),
        count => format!(", {count} findings accepted"),
    }
}

fn baseline(out: &mut String, used: &BaselineUse) -> fmt::Result {
    for (entries, what) in
        [(&used.expired, "has expired and counts again"), (&used.unused, "holds nothing and may go")]
    {
        for entry in entries {
            let expires = entry.expires.as_deref().map(|day| format!(" ({})", plain(day)));
            writeln!(
                out,
                "baseline: {} {what}{}: {}",
                plain(&entry.entry),
                expires.unwrap_or_default(),
                plain(&entry.note)
            )?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn the_worst_comes_first_with_all_that_is_known() {
        let text = render(&sample::report(), Color::Plain);
        let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part:?} is not in {text}"));
        assert!(at("breaking: ") < at("behaviour: "));
        for part in [
            "known   containerd#10521 (since 1.7.21, a fix): Stopping",
            "so      kubelet goes on where it failed before",
            "before of default/web/app: 7 CreateContainer OK, 9 RemoveContainer OK",
            "- recorded {\"code\":\"NOT_FOUND\"}",
            "different: 2 findings, 4 divergences",
        ] {
            at(part);
        }
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn what_follows_from_a_finding_stands_below_it() {
        let text = render(&sample::grouped(), Color::Plain);
        assert!(text.contains("\n  2  behaviour  as above, in another answer\n"), "{text}");
        assert!(text.contains("(2)\n") && !text.contains("behaviour: a kubelet"), "{text}");
    }

    #[test]
    fn colours_are_there_where_they_are_wanted_and_values_bring_none() {
        let colored = render(&sample::report(), Color::Shown);
        assert!(colored.contains("\u{1b}[1;31mbreaking\u{1b}[0m"));
        let hostile = render(&sample::hostile(), Color::Plain);
        assert!(!hostile.contains('\u{1b}'), "{hostile:?}");
    }

    #[test]
    fn what_a_preflight_found_is_told_unless_it_is_sent_as_it_is() {
        let text = render(&sample::report(), Color::Plain);
        let line =
            "preflight: inconclusive  2 calls  image-missing: quay.example/app is not here (first: call 7)\n";
        assert!(text.contains(line), "{text}");
        assert!(!text.contains("registry"), "{text}");
        assert_eq!(render_limitations(&sample::report().preflight).lines().count(), 2);
    }

    #[test]
    fn what_a_baseline_holds_is_shown_and_does_not_count() {
        let text = render(&sample::accepted(), Color::Plain);
        assert!(text.contains("accepted (2)"), "{text}");
        assert!(text.contains("our registry, until 2099-12-31"), "{text}");
        assert!(text.contains("baseline: StopPodSandbox holds nothing and may go: gone"), "{text}");
        assert!(text.ends_with("same: 0 divergences, 2 findings accepted\n"), "{text}");
    }
}
