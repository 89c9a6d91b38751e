//! Reports for the tests of all forms.

use serde_json::{Value, json};

use crate::{
    Baseline, Compared, Divergence, EarlierCall, Effect, Evidence, Findings, Kind, Limitation,
    LimitationKind, Path, Report, Rules, Severity, SideInfo, Timeline, TimelineCall, Witness,
};
use critape_calls::{CallId, Stamp};

struct Seen(u64, Evidence);

impl Witness for Seen {
    fn recorded(&self) -> Option<CallId> {
        Some(CallId(self.0))
    }

    fn at(&self) -> Option<Stamp> {
        Some(Stamp(1_767_323_045_000_000_006))
    }

    fn seal(&self, _: &Path, _: &mut Value, _: &mut Value) {}

    fn evidence(&self) -> Option<Evidence> {
        Some(self.1.clone())
    }
}

fn outcome(transition: &str) -> Divergence {
    let (before, now) = transition.split_once('→').unwrap_or_default();
    Divergence {
        path: Path::of(&["outcome", "code"]),
        kind: Kind::Outcome,
        transition: Some(transition.to_owned()),
        recorded: json!({ "code": before }),
        live: json!({ "code": now }),
        rule: "outcome".into(),
        severity: Severity::Breaking,
        settles: false,
        about: None,
    }
}

fn evidence(request: &Value, response: &Value) -> Evidence {
    let call = |id: Option<u64>| {
        Some(json!({"id": id, "requests": [request], "responses": [response], "outcome": {"code": "OK"}}))
    };
    Evidence { recorded: call(Some(12)), live: call(None), ..Evidence::default() }
}

fn before(call: u64, method: &str) -> EarlierCall {
    EarlierCall {
        call,
        method: format!("/runtime.v1.RuntimeService/{method}"),
        started: "2026-01-02T03:04:04.000000000Z".to_owned(),
        outcome: "OK".to_owned(),
        object: Some("default/web/app".to_owned()),
    }
}

fn limitation(kind: LimitationKind, effect: Effect, summary: &str) -> Limitation {
    Limitation { kind, effect, summary: summary.to_owned(), calls: 2, first_call: Some(7) }
}

fn finished(mut findings: Findings) -> Report {
    findings.calls().recorded = 20;
    let side = |version: &str| SideInfo {
        runtime: "containerd".to_owned(),
        version: version.to_owned(),
        generation: "runtime.v1".to_owned(),
        ..SideInfo::default()
    };
    let recorded = SideInfo { tape: Some("node.tape".to_owned()), ..side("1.6.20") };
    let live = SideInfo { endpoint: Some("unix:///run/r.sock".to_owned()), ..side("1.7.24") };
    findings.into_report(recorded, live, &Rules::standard(), 0.01)
}

/// As [`report`]; the second finding has the cause of the first.
pub(super) fn grouped() -> Report {
    let mut report = report();
    report.findings[1].follows = Some(report.findings[0].id.clone());
    report
}

/// A known fix in one method, a difference in another, and two methods that agree.
pub(super) fn report() -> Report {
    let mut findings = Findings::default();
    let stop = "/runtime.v1.RuntimeService/StopContainer";
    let about = Evidence {
        about: Some("default/web/app".to_owned()),
        before: vec![before(7, "CreateContainer"), before(9, "RemoveContainer")],
        ..evidence(&json!({"containerId": "c1"}), &json!({}))
    };
    let compared = || Compared { divergences: vec![outcome("NOT_FOUND→OK")], ..Compared::default() };
    for call in 12..15 {
        findings.add(stop, &Seen(call, about.clone()), compared());
    }
    let pull = Divergence { severity: Severity::Behaviour, ..outcome("NOT_FOUND→UNKNOWN") };
    let request = json!({"image": {"image": "registry.example/app:1"}});
    findings.add(
        "/runtime.v1.ImageService/PullImage",
        &Seen(16, Evidence { recorded: Some(json!({"requests": [request]})), ..Evidence::default() }),
        Compared { divergences: vec![pull], ..Compared::default() },
    );
    for method in ["RuntimeService/Status", "ImageService/ListImages"] {
        let same = Compared::default();
        findings.add(&format!("/runtime.v1.{method}"), &Seen(1, Evidence::default()), same);
    }
    let mut report = finished(findings);
    report.preflight = vec![
        limitation(LimitationKind::ImageMissing, Effect::Inconclusive, "quay.example/app is not here"),
        limitation(LimitationKind::Registry, Effect::Sent, "images are pulled from registry.example"),
    ];
    for finding in &mut report.findings {
        if !finding.method.ends_with("StopContainer") {
            finding.examples[0].at = None;
        }
    }
    let call = |call, lane, at| TimelineCall {
        call,
        lane,
        at,
        duration: 1_000_000,
        method: "StopContainer".to_owned(),
        outcome: "NOT_FOUND".to_owned(),
    };
    report.timeline = Some(Timeline {
        from: "2026-01-02T03:04:00.000000000Z".to_owned(),
        duration: 5_000_000_000,
        lanes: vec![String::new(), "default/web".to_owned()],
        calls: vec![call(1, 0, 0), call(12, 1, 4_000_000_000)],
        left_out: 3,
    });
    report
}

/// The same, and a baseline that holds both.
pub(super) fn accepted() -> Report {
    let mut report = report();
    let text = "[[accept]]\nmethod = \"StopContainer\"\nnote = \"meant\"\n\
                [[accept]]\nmethod = \"PullImage\"\nnote = \"our registry\"\nexpires = 2099-12-31\n\
                [[accept]]\nmethod = \"StopPodSandbox\"\nnote = \"gone\"\n";
    // A test sees whether it did.
    if let Ok(baseline) = Baseline::parse("b.toml", text) {
        baseline.apply(&mut report, "2026-01-01");
    }
    report
}

/// What tries to leave the HTML, the script, an attribute, a comment, the XML, a fence of Markdown, and the terminal.
pub(super) const HOSTILE: &str =
    "</script><script>alert(1)</script>\"><img src=x onerror=alert(1)>'--><!--]]>\n````\n\u{1b}[2J${1}";

/// A report whose every text a runtime has chosen.
pub(super) fn hostile() -> Report {
    let mut findings = Findings::default();
    let divergence = Divergence {
        path: Path::of(&["status", "labels", HOSTILE]),
        kind: Kind::Value,
        transition: Some(format!("{HOSTILE}→{HOSTILE}")),
        recorded: json!({ HOSTILE: [HOSTILE] }),
        live: json!(HOSTILE),
        rule: HOSTILE.into(),
        severity: Severity::Behaviour,
        settles: false,
        about: None,
    };
    let evidence = Evidence {
        about: Some(HOSTILE.to_owned()),
        before: vec![EarlierCall {
            object: Some(HOSTILE.to_owned()),
            outcome: HOSTILE.to_owned(),
            started: HOSTILE.to_owned(),
            ..before(1, HOSTILE)
        }],
        ..evidence(&json!({ HOSTILE: HOSTILE }), &json!(HOSTILE))
    };
    let method = format!("/runtime.v1.RuntimeService/{HOSTILE}");
    let compared = Compared { divergences: vec![divergence], ..Compared::default() };
    findings.add(&method, &Seen(1, evidence), compared);
    findings.inconclusive(CallId(2), HOSTILE.to_owned());
    let mut report = finished(findings);
    report.preflight = vec![limitation(LimitationKind::Device, Effect::Skipped, HOSTILE)];
    for side in [&mut report.recorded, &mut report.live] {
        for text in [&mut side.runtime, &mut side.version, &mut side.generation] {
            HOSTILE.clone_into(text);
        }
        side.tape = Some(HOSTILE.to_owned());
    }
    report.timeline = Some(Timeline {
        from: HOSTILE.to_owned(),
        duration: 1,
        lanes: vec![HOSTILE.to_owned()],
        calls: vec![TimelineCall {
            call: 1,
            lane: 0,
            at: 0,
            duration: 1,
            method: HOSTILE.to_owned(),
            outcome: HOSTILE.to_owned(),
        }],
        left_out: 0,
    });
    report
}
