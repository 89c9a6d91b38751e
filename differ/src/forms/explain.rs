//! One finding in full, as text.

use std::fmt::{self, Write as _};

use serde_json::Value;

use super::Color;
use super::repeat::repeat;
use super::table::{Paint, call};
use super::text::{cut, known, plain, pretty, rpc, side, signature, times, until};
use crate::{Evidence, Finding, Report};

/// Longest piece of a message that is shown.
const MAX_MESSAGE: usize = 64 * 1024;

/// Everything that a report says about one of its findings.
pub fn explain(report: &Report, finding: &Finding, color: Color) -> String {
    let mut out = String::new();
    // Writing to a string never fails.
    let _ = write(&mut out, report, finding, &Paint { color });
    out
}

fn write(out: &mut String, report: &Report, finding: &Finding, paint: &Paint) -> fmt::Result {
    let severity = paint.severity(finding.severity);
    writeln!(out, "{severity}  {}", paint.bold(&plain(&finding.summary)))?;
    writeln!(
        out,
        "{}\n",
        paint.dim(&format!("{}  {}  [{}]", signature(finding), times(finding.count), finding.id))
    )?;
    if !report.is_of_check() {
        writeln!(out, "recorded  {}", side(&report.recorded))?;
    }
    writeln!(out, "live      {}", side(&report.live))?;
    if let Some(about) = finding.evidence.as_ref().and_then(|evidence| evidence.about.as_deref()) {
        writeln!(out, "about     {}", plain(about))?;
    }
    writeln!(out, "rule      {}", plain(&finding.rule))?;
    if let Some(rule) = &finding.rule_text {
        let source =
            if rule.source.is_empty() { String::new() } else { format!(" ({})", plain(&rule.source)) };
        writeln!(out, "          {}{source}", plain(&rule.reason))?;
    }
    let consequence = finding.consequence.as_deref().unwrap_or("the rules don't say");
    writeln!(out, "so        {}", plain(consequence))?;
    if let Some(first) = &finding.follows {
        writeln!(out, "as above  {} has the same cause", plain(first))?;
    }
    match &finding.known {
        Some(change) => writeln!(out, "known     {}", known(change))?,
        None if report.is_of_check() => {}
        None => {
            writeln!(out, "known     no: the catalogue has no change between these two that looks like it")?;
        }
    }
    if let Some(accepted) = &finding.accepted {
        let until = until(accepted.expires.as_deref());
        writeln!(out, "accepted  {}{until}", plain(&accepted.note))?;
    }
    examples(out, finding, paint)?;
    match &finding.evidence {
        Some(evidence) => calls(out, evidence, paint)?,
        None => writeln!(
            out,
            "\nThe calls are not in the report: there was no room for them, or the finding is about none."
        )?,
    }
    let commands = repeat(report, finding);
    if !commands.is_empty() {
        writeln!(out, "\n{}", paint.bold("To see it again"))?;
        commands.iter().try_for_each(|command| writeln!(out, "  {command}"))?;
    }
    Ok(())
}

fn examples(out: &mut String, finding: &Finding, paint: &Paint) -> fmt::Result {
    for example in &finding.examples {
        let at = example.at.as_deref().map(|at| format!("  {}", plain(at))).unwrap_or_default();
        writeln!(out, "\n{}{}", paint.bold(&call(example)), paint.dim(&at))?;
        for (mark, code, value) in [("- recorded", "31", &example.recorded), ("+ live", "32", &example.live)]
        {
            writeln!(out, "{}", paint.with(code, mark))?;
            indented(out, &pretty(value))?;
        }
    }
    Ok(())
}

fn calls(out: &mut String, evidence: &Evidence, paint: &Paint) -> fmt::Result {
    if !evidence.before.is_empty() {
        writeln!(out, "\n{}", paint.bold("What came before"))?;
        for call in &evidence.before {
            let object = call.object.as_deref().map(plain).unwrap_or_default();
            writeln!(
                out,
                "  {:>6}  {}  {:<24}  {:<20}  {object}",
                call.call,
                plain(&call.started),
                plain(rpc(&call.method)),
                plain(&call.outcome)
            )?;
        }
    }
    for (title, call) in [("The recorded call", &evidence.recorded), ("The live call", &evidence.live)] {
        let Some(call) = call else { continue };
        writeln!(out, "\n{}", paint.bold(title))?;
        one_call(out, call)?;
    }
    if evidence.cut > 0 {
        writeln!(out, "\n{} messages are left out because they are too large for a report", evidence.cut)?;
    }
    Ok(())
}

fn one_call(out: &mut String, call: &Value) -> fmt::Result {
    for name in ["requests", "responses"] {
        for message in call.get(name).and_then(Value::as_array).into_iter().flatten() {
            writeln!(out, "  {}", name.trim_end_matches('s'))?;
            indented(out, &cut(&pretty(message), MAX_MESSAGE))?;
        }
    }
    if let Some(outcome) = call.get("outcome").filter(|outcome| !outcome.is_null()) {
        writeln!(out, "  outcome")?;
        indented(out, &pretty(outcome))?;
    }
    Ok(())
}

fn indented(out: &mut String, text: &str) -> fmt::Result {
    text.lines().try_for_each(|line| writeln!(out, "    {line}"))
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn all_that_is_known_is_told() {
        let report = sample::report();
        let text = explain(&report, &report.findings[0], Color::Plain);
        for part in [
            "StopContainer ended with NOT_FOUND when recorded and ends with OK now",
            "about     default/web/app",
            "rule      outcome\n          how a call ends",
            "known     containerd#10521 (since 1.7.21, a fix)",
            "7  2026-01-02T03:04:04.000000000Z  CreateContainer",
            "The recorded call\n  request\n    {\n      \"containerId\": \"c1\"",
            "The live call\n",
            "To see it again\n  critape replay node.tape",
        ] {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
        let without = explain(&report, &report.findings[1], Color::Plain);
        assert!(without.contains("known     no:"), "{without}");
    }
}
