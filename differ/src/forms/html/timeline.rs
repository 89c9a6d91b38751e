//! The recorded calls over time, a lane for each pod, those with findings marked.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::super::text::{cut, plain};
use super::anchor;
use crate::{Finding, Timeline, TimelineCall};

/// Width of the picture, and of the names at its left.
const WIDTH: f64 = 1200.0;
const NAMES: f64 = 170.0;
const LANE: f64 = 18.0;
/// The least width of a call: it must be seen.
const LEAST: f64 = 2.0;
/// Letters of a lane's name.
const NAME_LETTERS: usize = 26;

/// The picture, in SVG.
pub(super) fn render(timeline: &Timeline, findings: &[Finding]) -> Markup {
    let marks = marks(findings);
    let height = timeline.lanes.len() as f64 * LANE + 8.0;
    let (found, others): (Vec<&TimelineCall>, Vec<&TimelineCall>) =
        timeline.calls.iter().partition(|call| marks.contains_key(&call.call));
    html! {
        h2 { "Timeline" }
        p.dim {
            "From " (plain(&timeline.from)) ", " (seconds(timeline.duration)) "; calls with findings are coloured and lead to them."
            @if timeline.left_out > 0 { " " (timeline.left_out) " calls are left out." }
        }
        svg viewBox=(format!("0 0 {WIDTH} {height}")) role="img" aria-label="calls over time" {
            @for (index, lane) in timeline.lanes.iter().enumerate() {
                @let y = index as f64 * LANE + 4.0;
                text x="6" y=(format!("{:.1}", y + 12.0)) {
                    title { (name(lane)) }
                    (cut(&name(lane), NAME_LETTERS))
                }
                line.lane x1=(NAMES.to_string()) x2=(WIDTH.to_string()) y1=(format!("{:.1}", y + LANE)) y2=(format!("{:.1}", y + LANE)) {}
            }
            // Last, so that nothing lies over them.
            @for call in others { (rect(timeline, call, None)) }
            @for call in found { (rect(timeline, call, marks.get(&call.call).copied())) }
        }
    }
}

/// The worst finding of each call that an example is of.
fn marks(findings: &[Finding]) -> BTreeMap<u64, &Finding> {
    let mut marks: BTreeMap<u64, &Finding> = BTreeMap::new();
    for finding in findings {
        for call in finding.examples.iter().filter_map(|example| example.recorded_call) {
            // They come worst first.
            marks.entry(call).or_insert(finding);
        }
    }
    marks
}

fn rect(timeline: &Timeline, call: &TimelineCall, finding: Option<&Finding>) -> Markup {
    let scale = (WIDTH - NAMES - 8.0) / timeline.duration.max(1) as f64;
    let x = NAMES + call.at as f64 * scale;
    let width = (call.duration as f64 * scale).max(if finding.is_some() { 3.0 * LEAST } else { LEAST });
    // What begins at the very end would stand outside.
    let x = x.min(WIDTH - width);
    let lane = call.lane.min(timeline.lanes.len().saturating_sub(1));
    let y = lane as f64 * LANE + 7.0;
    let class = match finding {
        Some(finding) => format!("mark {}", finding.severity),
        None if call.outcome == "OK" => "call".to_owned(),
        None => "call failed".to_owned(),
    };
    // A stream lies over everything else.
    let height = if call.method == "GetContainerEvents" { 3 } else { 12 };
    let rect = html! {
        rect class=(class) x=(format!("{x:.1}")) y=(format!("{y:.1}")) width=(format!("{width:.1}")) height=(height) {
            title {
                "call " (call.call) " " (plain(&call.method)) " " (plain(&call.outcome)) ", " (seconds(call.duration))
                @if let Some(finding) = finding { ": " (plain(&finding.summary)) }
            }
        }
    };
    match finding {
        Some(finding) => html! { a href=(format!("#{}", anchor(finding))) { (rect) } },
        None => rect,
    }
}

fn name(lane: &str) -> String {
    if lane.is_empty() { "(no pod)".to_owned() } else { plain(lane) }
}

/// A duration in ns as people read it.
fn seconds(ns: u64) -> String {
    match ns {
        0..1_000_000 => format!("{:.1} µs", ns as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", ns as f64 / 1e6),
        _ => format!("{:.1} s", ns as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::sample;
    use super::*;

    #[test]
    fn calls_with_findings_are_marked_and_lead_to_them() {
        let report = sample::report();
        let svg = render(report.timeline.as_ref().unwrap(), &report.findings).into_string();
        let link = format!("<a href=\"#f-{}\">", report.findings[0].id);
        assert_eq!(svg.matches(&link).count(), 1, "{svg}");
        assert!(svg.contains("class=\"mark breaking\""));
        assert_eq!(svg.matches("<rect").count(), 2);
        assert!(svg.contains("3 calls are left out."));
    }

    #[test]
    fn odd_times_and_lanes_stay_in_the_picture() {
        let call = TimelineCall {
            call: 1,
            lane: 9,
            at: u64::MAX,
            duration: 0,
            method: String::new(),
            outcome: String::new(),
        };
        let timeline = Timeline { calls: vec![call], lanes: vec!["a/b".to_owned()], ..Timeline::default() };
        let svg = render(&timeline, &[]).into_string();
        assert!(svg.contains("x=\"1198.0\" y=\"7.0\""), "{svg}");
    }
}
