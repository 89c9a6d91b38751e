//! A report as one file for a browser: it loads nothing, and without its script all of it is there but the filter.
//!
//! Every value is escaped by the template. The policy in the head lets no script run but the one that is built in, known by its hash.

mod timeline;

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::repeat::repeat;
use super::table::{accepted, call};
use super::text::{known, place, plain, pretty, rpc, side, times, until};
use crate::{Evidence, Example, Finding, Kind, ReasonCount, Report, Severity, SideInfo, Verdict};

const STYLE: &str = include_str!("report.css");
const SCRIPT: &str = include_str!("report.js");

/// The report as HTML.
pub(super) fn render(report: &Report) -> String {
    let open: Vec<&Finding> = report.grouped().into_iter().flatten().map(|(_, finding)| finding).collect();
    let held = report.findings.iter().filter(|finding| finding.accepted.is_some()).collect::<Vec<_>>();
    let policy = format!(
        "default-src 'none'; style-src '{}'; script-src '{}'; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    );
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "critape: " (verdict(report)) ", " (side(&report.recorded)) " → " (side(&report.live)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (head(report, open.len()))
                @if let Some(timeline) = &report.timeline { (timeline::render(timeline, &report.findings)) }
                @if !report.findings.is_empty() {
                    h2 { "Findings" }
                    (filter(&report.findings))
                }
                @for finding in open { (one(report, finding)) }
                @if !held.is_empty() { h2 { "Accepted by the baseline" } }
                @for finding in held { (one(report, finding)) }
                (baseline(report))
                (left_out(report))
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

/// What a policy calls a script or a style.
fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text.as_bytes())))
}

fn verdict(report: &Report) -> &'static str {
    match report.verdict {
        Verdict::Same => "same",
        Verdict::Different => "different",
        Verdict::Inconclusive => "inconclusive",
    }
}

fn head(report: &Report, open: usize) -> Markup {
    let calls = &report.calls;
    let one_side = |name: &str, of: &SideInfo| {
        html! {
            dt { (name) }
            dd { (side(of)) @if let Some(place) = place(of) { " " code.dim { (place) } } }
        }
    };
    html! {
        h1 { "critape: " span class={ "verdict " (verdict(report)) } { (verdict(report)) }
            ", " (open) @if open == 1 { " finding" } @else { " findings" } (accepted(report)) }
        dl {
            (one_side("recorded", &report.recorded))
            (one_side("live", &report.live))
            dt { "calls" }
            dd {
                (calls.recorded) " recorded, " (calls.sent) " sent, " (calls.compared) " compared, "
                (calls.collapsed) " collapsed, "
                (calls.settled) " settled, " (calls.skipped) " skipped, " (calls.inconclusive) " inconclusive"
            }
        }
    }
}

fn filter(findings: &[Finding]) -> Markup {
    let kinds: BTreeSet<Kind> = findings.iter().map(|finding| finding.kind).collect();
    let methods: BTreeSet<&str> = findings.iter().map(|finding| rpc(&finding.method)).collect();
    html! {
        form #filter hidden {
            @for severity in [Severity::Breaking, Severity::Behaviour, Severity::Cosmetic] {
                label class=(severity.to_string()) {
                    input type="checkbox" name="severity" value=(severity.to_string()) checked;
                    " " (severity.to_string())
                }
            }
            select name="kind" aria-label="kind" {
                option value="" { "every kind" }
                @for kind in kinds { option value=(kind.to_string()) { (kind.to_string()) } }
            }
            select name="method" aria-label="method" {
                option value="" { "every method" }
                @for method in methods { option value=(plain(method)) { (plain(method)) } }
            }
            input type="search" name="text" placeholder="text in a finding" aria-label="text in a finding";
            span #shown .dim {}
        }
    }
}

fn one(report: &Report, finding: &Finding) -> Markup {
    html! {
        article id=(anchor(finding)) data-severity=(finding.severity.to_string()) data-kind=(finding.kind.to_string())
            data-method=(plain(rpc(&finding.method))) {
            header {
                span class={ "severity " (finding.severity.to_string()) } { (finding.severity.to_string()) }
                h3 { (plain(&finding.summary)) }
            }
            (facts(finding))
            @for (index, example) in finding.examples.iter().enumerate() {
                @if index == 0 { (pair(example)) }
            }
            @if finding.examples.len() > 1 {
                details {
                    summary { (more(finding.examples.len() - 1)) }
                    @for example in finding.examples.iter().skip(1) { (pair(example)) }
                }
            }
            @if let Some(evidence) = &finding.evidence { (in_full(evidence)) }
            @let commands = repeat(report, finding);
            @if !commands.is_empty() {
                details {
                    summary { "To see it again" }
                    @for command in commands { pre { (command) } }
                }
            }
        }
    }
}

fn more(examples: usize) -> String {
    if examples == 1 { "1 more example".to_owned() } else { format!("{examples} more examples") }
}

/// The name of a finding's place on the page.
fn anchor(finding: &Finding) -> String {
    format!("f-{}", finding.id)
}

fn facts(finding: &Finding) -> Markup {
    html! {
        dl {
            dt { "where" }
            dd {
                code { (plain(&finding.method)) } " " code { (plain(&finding.path)) } " " (finding.kind.to_string())
                @if let Some(transition) = &finding.transition { " " code { (plain(transition)) } }
                ", " (times(finding.count)) " " code.dim { (plain(&finding.id)) }
            }
            @if let Some(first) = &finding.follows {
                dt { "as above" }
                dd { "the same cause: " a href={ "#f-" (plain(first)) } { code { (plain(first)) } } }
            }
            @if let Some(consequence) = &finding.consequence { dt { "so" } dd { (plain(consequence)) } }
            @if let Some(change) = &finding.known { dt { "known" } dd { (known(change)) } }
            dt { "rule" }
            dd {
                (plain(&finding.rule))
                @if let Some(rule) = &finding.rule_text {
                    ": " (plain(&rule.reason))
                    @if !rule.source.is_empty() { span.dim { " (" (plain(&rule.source)) ")" } }
                }
            }
            @if let Some(accepted) = &finding.accepted {
                dt { "accepted" }
                dd { (plain(&accepted.note)) (until(accepted.expires.as_deref())) }
            }
        }
    }
}

fn pair(example: &Example) -> Markup {
    html! {
        h4 { (call(example)) @if let Some(at) = &example.at { " " span.dim { (plain(at)) } } }
        (beside(&pretty(&example.recorded), &pretty(&example.live)))
    }
}

/// Two texts side by side, the lines marked that only one of them has.
fn beside(recorded: &str, live: &str) -> Markup {
    let column = |title: &str, text: &str, other: &str, mark: &'static str| {
        let others: BTreeSet<&str> = other.lines().map(|line| line.trim_end_matches(',')).collect();
        let class = |line: &str| if others.contains(line.trim_end_matches(',')) { "kept" } else { mark };
        html! {
            div {
                h5 { (title) }
                pre { @for line in text.lines() { span class=(class(line)) { (line) } } }
            }
        }
    };
    html! {
        div.pair {
            (column("recorded", recorded, live, "gone"))
            (column("live", live, recorded, "new"))
        }
    }
}

fn in_full(evidence: &Evidence) -> Markup {
    let text = |call: &Option<Value>, part: &str| {
        let value = call.as_ref().and_then(|call| call.get(part)).filter(|value| !value.is_null());
        value.map(pretty).unwrap_or_default()
    };
    html! {
        @if !evidence.before.is_empty() {
            details {
                summary {
                    "What came before"
                    @if let Some(about) = &evidence.about { " of " (plain(about)) }
                }
                table {
                    tr { th.number { "call" } th { "began" } th { "method" } th { "outcome" } th { "object" } }
                    @for call in &evidence.before {
                        tr {
                            td.number { (call.call) }
                            td { (plain(&call.started)) }
                            td { (plain(rpc(&call.method))) }
                            td { (plain(&call.outcome)) }
                            td { (call.object.as_deref().map(plain).unwrap_or_default()) }
                        }
                    }
                }
            }
        }
        details {
            summary { "Both calls in full" }
            @for part in ["requests", "responses", "outcome"] {
                h4 { (part) }
                (beside(&text(&evidence.recorded, part), &text(&evidence.live, part)))
            }
            @if evidence.cut > 0 {
                p.dim { (evidence.cut) " messages are left out because they are too large for a report" }
            }
        }
    }
}

fn baseline(report: &Report) -> Markup {
    let Some(used) = &report.baseline else { return html! {} };
    let entries =
        [(&used.expired, "has expired and counts again"), (&used.unused, "holds nothing and may go")];
    html! {
        @if entries.iter().any(|(entries, _)| !entries.is_empty()) {
            h2 { "Baseline" }
            ul {
                @for (entries, what) in entries {
                    @for entry in entries {
                        li { code { (plain(&entry.entry)) } " " (what) ": " (plain(&entry.note)) (until(entry.expires.as_deref())) }
                    }
                }
            }
        }
    }
}

/// What was not compared, and what rules let pass.
fn left_out(report: &Report) -> Markup {
    let reasons = |title: &str, reasons: &[ReasonCount]| {
        html! {
            @for reason in reasons {
                tr { td { (title) } td.number { (reason.count) } td { (plain(&reason.reason)) } td { "first: call " (reason.first_call) } }
            }
        }
    };
    html! {
        @if !report.preflight.is_empty() {
            h2 { "Known before the first call" }
            table {
                @for limit in &report.preflight {
                    tr {
                        td { (limit.effect.to_string()) } td.number { (limit.calls) } td { (limit.kind.to_string()) }
                        td { (plain(&limit.summary)) }
                    }
                }
            }
        }
        @if !report.inconclusive.is_empty() || !report.skipped.is_empty() {
            h2 { "Not compared" }
            table { (reasons("inconclusive", &report.inconclusive)) (reasons("skipped", &report.skipped)) }
        }
        @if report.suppressed.count > 0 {
            h2 { "Explained by rules" }
            table {
                @for rule in &report.suppressed.rules {
                    tr { td.number { (rule.count) } td { (plain(&rule.rule)) } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{self, HOSTILE};
    use super::*;

    #[test]
    fn all_of_it_is_there_without_the_script() {
        let page = render(&sample::report());
        for part in [
            "<span class=\"verdict different\">different</span>, 2 findings",
            "Stopping a container that is not there is no error any more",
            "kubelet goes on where it failed before",
            "What came before of default/web/app",
            "Both calls in full",
            "critape replay node.tape -r unix:///run/r.sock --pod web",
            "<svg",
        ] {
            assert!(page.contains(part), "{part:?} is not in {page}");
        }
        // Hidden is the filter alone, which is of no use then.
        assert_eq!(page.matches(" hidden").count(), 1);
        assert!(!page.contains("http://") && !page.contains("https://"), "it loads nothing");
    }

    #[test]
    fn what_follows_from_a_finding_leads_to_it() {
        let report = sample::grouped();
        let (page, first) = (render(&report), &report.findings[0].id);
        assert!(page.contains(&format!("<a href=\"#f-{first}\">")), "{page}");
    }

    #[test]
    fn no_value_becomes_markup() {
        let page = render(&sample::hostile());
        let built_in = ["<script>", "</script>"].map(|tag| page.matches(tag).count());
        assert_eq!(built_in, [1, 1]);
        assert!(!page.contains("<img"));
        assert!(!page.contains("<!--"));
        // In an attribute a quote is an entity as well.
        assert!(page.contains("data-method=\"script&gt;&quot;"), "{page}");
        assert!(page.contains("&lt;/script&gt;&lt;script&gt;alert(1)"));
        assert!(!page.contains(HOSTILE));
    }

    #[test]
    fn the_policy_knows_the_script_and_the_style_as_they_are() {
        let page = render(&sample::report());
        let between = |open: &str, close: &str| {
            let from = page.find(open).unwrap() + open.len();
            &page[from..from + page[from..].find(close).unwrap()]
        };
        assert!(page.contains(&hash(between("<script>", "</script>"))));
        assert!(page.contains(&hash(between("<style>", "</style>"))));
    }

    #[test]
    fn lines_of_one_side_are_marked() {
        let page = beside("{\n  \"a\": 1,\n  \"b\": 2\n}", "{\n  \"a\": 1\n}").into_string();
        assert_eq!((page.matches("class=\"gone\"").count(), page.matches("class=\"new\"").count()), (1, 0));
    }
}
