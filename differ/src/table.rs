//! A report as people read it on a terminal.

use std::fmt::Write as _;

use serde_json::Value;

use crate::{Finding, Report, Severity, SideInfo, Verdict};

/// Longest piece of a value that is shown.
const MAX_VALUE_CHARS: usize = 160;
/// Examples shown of one finding.
const SHOWN_EXAMPLES: usize = 2;
/// Rules named in the line about suppressed differences.
const SHOWN_RULES: usize = 6;

/// The report as text, coloured where asked for.
pub fn render(report: &Report, color: bool) -> String {
    let paint = Paint { color };
    let mut out = String::new();
    // Writing to a string never fails.
    let _ = head(&mut out, report, &paint);
    for (index, finding) in report.findings.iter().enumerate() {
        let _ = one(&mut out, index + 1, finding, &paint);
    }
    let _ = foot(&mut out, report, &paint);
    out
}

struct Paint {
    color: bool,
}

impl Paint {
    fn with(&self, code: &str, text: &str) -> String {
        if self.color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn bold(&self, text: &str) -> String {
        self.with("1", text)
    }

    fn dim(&self, text: &str) -> String {
        self.with("2", text)
    }

    fn severity(&self, severity: Severity) -> String {
        let (code, text) = match severity {
            Severity::Breaking => ("1;31", "breaking"),
            Severity::Behaviour => ("33", "behaviour"),
            Severity::Cosmetic => ("36", "cosmetic"),
        };
        self.with(code, text)
    }
}

fn side(side: &SideInfo) -> String {
    let name = if side.runtime.is_empty() { "unknown runtime" } else { &side.runtime };
    let generation =
        if side.generation.is_empty() { String::new() } else { format!(" ({})", side.generation) };
    format!("{name} {}{generation}", side.version)
}

fn head(out: &mut String, report: &Report, paint: &Paint) -> std::fmt::Result {
    writeln!(out, "recorded  {}", side(&report.recorded))?;
    writeln!(out, "live      {}", side(&report.live))?;
    let calls = &report.calls;
    write!(out, "calls     {} recorded, {} sent, {} compared", calls.recorded, calls.sent, calls.compared)?;
    for (count, what) in
        [(calls.settled, "settled"), (calls.skipped, "skipped"), (calls.inconclusive, "inconclusive")]
    {
        if count > 0 {
            write!(out, ", {count} {what}")?;
        }
    }
    writeln!(out)?;
    if report.suppressed.count > 0 {
        let named: Vec<_> = report
            .suppressed
            .rules
            .iter()
            .take(SHOWN_RULES)
            .map(|rule| format!("{} {}", rule.rule, rule.count))
            .collect();
        let more = report.suppressed.rules.len().saturating_sub(SHOWN_RULES);
        let more = if more > 0 { format!(", {more} more") } else { String::new() };
        let text =
            format!("explained {} differences by rule: {}{more}", report.suppressed.count, named.join(", "));
        writeln!(out, "{}", paint.dim(&text))?;
    }
    writeln!(out)
}

fn one(out: &mut String, number: usize, finding: &Finding, paint: &Paint) -> std::fmt::Result {
    let known =
        finding.known.as_ref().map(|known| format!("  {}", paint.dim(&known.reference))).unwrap_or_default();
    writeln!(
        out,
        "{number:>3}  {}  {}{known}",
        paint.severity(finding.severity),
        paint.bold(&finding.summary)
    )?;
    let times = if finding.count == 1 { "once".to_owned() } else { format!("{} times", finding.count) };
    let transition = finding.transition.as_ref().map(|it| format!("  {it}")).unwrap_or_default();
    let line = format!(
        "{}  {}  {}{transition}  {times}  [{}]",
        finding.method, finding.path, finding.kind, finding.id
    );
    writeln!(out, "     {}", paint.dim(&line))?;
    for example in finding.examples.iter().take(SHOWN_EXAMPLES) {
        let call = match (example.recorded_call, example.live_call) {
            (Some(recorded), Some(other)) => format!("call {recorded} / call {other}"),
            (Some(call), None) | (None, Some(call)) => format!("call {call}"),
            (None, None) => String::new(),
        };
        writeln!(out, "     {call}")?;
        writeln!(out, "       {} {}", paint.with("31", "- recorded"), shown(&example.recorded))?;
        writeln!(out, "       {} {}", paint.with("32", "+ live    "), shown(&example.live))?;
    }
    writeln!(out)
}

fn foot(out: &mut String, report: &Report, paint: &Paint) -> std::fmt::Result {
    for (title, reasons) in [("inconclusive", &report.inconclusive), ("skipped", &report.skipped)] {
        for reason in reasons {
            writeln!(
                out,
                "{title}: {} × {} (first: call {})",
                reason.count, reason.reason, reason.first_call
            )?;
        }
    }
    for what in &report.unchecked {
        writeln!(out, "not checked: {what}")?;
    }
    let line = match report.verdict {
        Verdict::Same => paint.with("1;32", "same: 0 divergences"),
        Verdict::Different => {
            let findings = report.findings.len();
            let times: u64 = report.findings.iter().map(|finding| finding.count).sum();
            let word = if findings == 1 { "finding" } else { "findings" };
            paint.with("1;31", &format!("different: {findings} {word}, {times} divergences"))
        }
        Verdict::Inconclusive => {
            paint.with("1;33", "inconclusive: 0 divergences, but too many calls could not be compared")
        }
    };
    writeln!(out, "{line}")
}

/// A value on one line, cut where it is long.
fn shown(value: &Value) -> String {
    let text = match value {
        Value::Null => "(absent)".to_owned(),
        other => other.to_string(),
    };
    match text.char_indices().nth(MAX_VALUE_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
