//! The smallest command that repeats a finding.

use std::time::Duration;

use super::text::{plain, rpc};
use crate::comparing::asked::Asked;
use crate::{CHECK_POD, Finding, Report};

/// Commands that repeat a finding, or show it again, for a shell; the smallest first. None where the report does not say what it is of.
pub fn repeat(report: &Report, finding: &Finding) -> Vec<String> {
    if report.is_of_check() {
        return checked(report, finding);
    }
    let Some(tape) = report.recorded.tape.as_deref() else { return Vec::new() };
    if let Some(other) = report.live.tape.as_deref() {
        return shown(tape, other, finding);
    }
    let endpoint = report.live.endpoint.as_deref().unwrap_or("ENDPOINT");
    let mut commands =
        Vec::from_iter(crictl(finding).map(|command| format!("crictl -r {} {command}", quoted(endpoint))));
    let selection = selection(finding);
    let narrowed: Vec<_> = selection.iter().map(|(flag, _)| (*flag, Takes::AValue)).collect();
    let mut words = vec!["critape replay".to_owned(), quoted(tape), "-r".to_owned(), quoted(endpoint)];
    words.extend(options(report, &narrowed));
    words.extend(selection.iter().flat_map(|(flag, value)| [(*flag).to_owned(), quoted(value)]));
    commands.push(words.join(" "));
    commands
}

/// What shows again what a check found: without a pod of its own where the finding is not about that.
fn checked(report: &Report, finding: &Finding) -> Vec<String> {
    let Some(endpoint) = report.live.endpoint.as_deref() else { return Vec::new() };
    let takes_a_pod = takes_a_pod(finding);
    let of_pod: &[_] = &[("--active", Takes::Nothing), ("--image", Takes::AValue)];
    let mut check = vec!["critape check -r".to_owned(), quoted(endpoint)];
    check.extend(options(report, if takes_a_pod { &[] } else { of_pod }));
    let lists = (finding.rule == "list-and-status-agree").then_some(());
    let shown = match rpc(&finding.method) {
        // What it made is gone.
        name if takes_a_pod && !name.contains("Image") => Vec::new(),
        "ContainerStatus" => {
            vec![inspect("inspect", "containerId", finding), lists.map(|()| "ps -a -o json".to_owned())]
        }
        "PodSandboxStatus" => {
            vec![inspect("inspectp", "podSandboxId", finding), lists.map(|()| "pods -o json".to_owned())]
        }
        _ => vec![crictl(finding)],
    };
    let shown =
        shown.into_iter().flatten().map(|command| format!("crictl -r {} {command}", quoted(endpoint)));
    shown.chain([check.join(" ")]).collect()
}

/// Whether a check comes upon it only where it makes a pod: what is about that comes after calls that change something, and images
/// are asked for by name only then.
fn takes_a_pod(finding: &Finding) -> bool {
    let Some(evidence) = &finding.evidence else { return true };
    let name = rpc(&finding.method);
    let is_of_pod = evidence.about.as_deref().and_then(pod_of).is_some_and(|pod| pod == CHECK_POD);
    let before = evidence.before.iter().map(|call| rpc(&call.method));
    is_of_pod || matches!(name, "GetContainerEvents" | "ImageStatus") || before.chain([name]).any(changes)
}

fn changes(rpc: &str) -> bool {
    cri::methods()
        .by_name(cri::Generation::V1, rpc)
        .is_some_and(|method| method.class != cri::Class::ReadOnly)
}

fn inspect(command: &str, field: &str, finding: &Finding) -> Option<String> {
    let call = finding.evidence.as_ref()?.live.as_ref()?;
    let id = call["requests"][0][field].as_str().filter(|id| !id.is_empty())?;
    Some(format!("{command} {}", quoted(id)))
}

/// What stands after a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    Nothing,
    AValue,
}

/// What the command was told, but for these flags.
fn options(report: &Report, left_out: &[(&str, Takes)]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut words = report.options.iter();
    while let Some(word) = words.next() {
        match left_out.iter().find(|(flag, _)| flag == word) {
            Some((_, Takes::Nothing)) => {}
            Some((_, Takes::AValue)) => drop(words.next()),
            None => kept.push(word_of(word)),
        }
    }
    kept
}

/// What shows the calls of a comparison of two tapes.
fn shown(tape: &str, other: &str, finding: &Finding) -> Vec<String> {
    let Some(example) = finding.examples.first() else { return Vec::new() };
    let show =
        |tape: &str, call: Option<u64>| call.map(|call| format!("critape tape show {} {call}", quoted(tape)));
    show(tape, example.recorded_call).into_iter().chain(show(other, example.live_call)).collect()
}

/// Namespace and name of the pod of something that is named as [`crate::Evidence::about`].
fn pod_of(about: &str) -> Option<[&str; 2]> {
    let (namespace, rest) = about.split_once('/')?;
    Some([namespace, rest.split(['/', '#']).next()?])
}

/// The flags that choose the calls of a replay that lead to the finding.
fn selection(finding: &Finding) -> Vec<(&'static str, String)> {
    let name = rpc(&finding.method);
    let about = finding.evidence.as_ref().and_then(|evidence| evidence.about.as_deref());
    if name == "GetContainerEvents" {
        return vec![("--method", name.to_owned())];
    }
    let until = until(finding).map(|until| ("--until", until));
    if names_nothing(name) {
        // What reads everything shows what others have made.
        return if name.starts_with("List") {
            Vec::from_iter(until)
        } else {
            vec![("--method", name.to_owned())]
        };
    }
    let of = match about.and_then(pod_of) {
        Some([_, pod]) => Some(("--pod", pod.to_owned())),
        None => name.contains("Image").then(|| ("--method", "*Image*".to_owned())),
    };
    of.into_iter().chain(until).collect()
}

fn names_nothing(rpc: &str) -> bool {
    rpc.starts_with("List")
        || rpc.starts_with("Stream")
        || matches!(rpc, "Version" | "Status" | "ImageFsInfo" | "RuntimeConfig")
}

/// Up to the end of the call, because what was under way beside it may be the cause.
fn until(finding: &Finding) -> Option<String> {
    let at =
        finding.examples.iter().find_map(|example| example.at.as_deref()?.parse::<jiff::Timestamp>().ok());
    let recorded = finding.evidence.as_ref().and_then(|evidence| evidence.recorded.as_ref());
    let lasted = recorded.and_then(|call| call.get("duration")?.as_u64()).unwrap_or_default();
    let after = at.and_then(|at| at.checked_add(Duration::from_nanos(lasted.saturating_add(1))).ok());
    after.map(|after| format!("{after:.9}"))
}

/// What crictl calls the same, where it names nothing that a replay would have to make first.
fn crictl(finding: &Finding) -> Option<String> {
    let command = match rpc(&finding.method) {
        "Version" => "version",
        "Status" => "info",
        "RuntimeConfig" => "runtime-config",
        "ImageFsInfo" => "imagefsinfo",
        "ListImages" => return Some(listing("images -o json", finding)),
        "ListPodSandbox" => return Some(listing("pods -o json", finding)),
        "ListContainers" => return Some(listing("ps -a -o json", finding)),
        "ListContainerStats" => return Some(listing("stats -a -o json", finding)),
        "ListPodSandboxStats" => return Some(listing("statsp -o json", finding)),
        "PullImage" | "ImageStatus" | "RemoveImage" => return of_image(finding),
        _ => return None,
    };
    Some(command.to_owned())
}

/// A list with the filter that was asked for, in crictl's flags.
fn listing(command: &str, finding: &Finding) -> String {
    let asked = finding.evidence.as_ref().map(Asked::of).unwrap_or_default();
    let mut words = vec![command.to_owned()];
    for (flag, value) in [("--id", &asked.id), ("--pod", &asked.pod)] {
        words.extend(value.as_deref().map(|value| format!("{flag} {}", quoted(value))));
    }
    // A prefix of the enum's value: `CONTAINER_RUNNING`, `SANDBOX_READY`.
    let state = asked.state.as_deref().map(|state| state.split_once('_').map_or(state, |(_, state)| state));
    words.extend(state.map(|state| format!("--state {}", quoted(&state.to_ascii_lowercase()))));
    words.extend(
        asked.labels.iter().map(|(key, value)| format!("--label {}", quoted(&format!("{key}={value}")))),
    );
    words.extend(asked.image.as_deref().map(quoted));
    words.join(" ")
}

fn of_image(finding: &Finding) -> Option<String> {
    let evidence = finding.evidence.as_ref()?;
    // What was asked for here may be another image than when it was recorded.
    let image = [&evidence.live, &evidence.recorded]
        .into_iter()
        .flatten()
        .find_map(|call| call["requests"][0]["image"]["image"].as_str().filter(|image| !image.is_empty()))?;
    let command = match rpc(&finding.method) {
        "PullImage" => "pull",
        "ImageStatus" => "inspecti",
        _ => "rmi",
    };
    Some(format!("{command} {}", quoted(image)))
}

/// A word that a command was told: a flag, or what stands after one.
fn word_of(word: &str) -> String {
    let is_flag = word.starts_with('-') && word.bytes().all(|byte| byte == b'-' || byte.is_ascii_lowercase());
    if is_flag { word.to_owned() } else { quoted(word) }
}

/// A word for a shell: names come from a tape and are not trusted.
fn quoted(text: &str) -> String {
    let text = plain(text);
    let harmless = |letter: char| letter.is_ascii_alphanumeric() || "_@%+=:,./-".contains(letter);
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(harmless) {
        return text;
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn a_finding_of_a_pod_is_repeated_with_the_pod_alone() {
        let report = sample::report();
        assert_eq!(
            repeat(&report, &report.findings[0]),
            [
                "critape replay node.tape -r unix:///run/r.sock --pod web --until 2026-01-02T03:04:05.000000007Z"
            ]
        );
        let image = repeat(&report, &report.findings[1]);
        assert_eq!(image[0], "crictl -r unix:///run/r.sock pull registry.example/app:1");
        assert!(image[1].ends_with("--method '*Image*'"), "{image:?}");
    }

    #[test]
    fn what_a_replay_was_told_is_told_again() {
        let mut report = sample::report();
        let words =
            ["--map-image", "a=b", "--rules", "my rules.toml", "--share", "-i", "unix:///i.sock", "-$(id)"];
        report.options = words.map(str::to_owned).to_vec();
        let commands = repeat(&report, &report.findings[0]);
        let options = "--map-image a=b --rules 'my rules.toml' --share -i unix:///i.sock '-$(id)'";
        assert!(
            commands[0]
                .starts_with(&format!("critape replay node.tape -r unix:///run/r.sock {options} --pod web")),
            "{commands:?}"
        );
    }

    /// What chooses calls is said once, and the nearer choice counts.
    #[test]
    fn a_slice_is_narrowed_and_not_told_twice() {
        let mut report = sample::report();
        let words =
            ["--pace", "max", "--pod", "all", "--until", "2099-01-01T00:00:00Z", "--container", "app"];
        report.options = words.map(str::to_owned).to_vec();
        let commands = repeat(&report, &report.findings[0]);
        let expected = "critape replay node.tape -r unix:///run/r.sock --pace max --container app --pod web \
                        --until 2026-01-02T03:04:05.000000007Z";
        assert_eq!(commands, [expected]);
    }

    #[test]
    fn what_a_check_found_is_seen_again_with_as_little() {
        let mut report = sample::report();
        report.recorded.tape = None;
        report.calls.recorded = 0;
        report.options = ["--active", "--image", "x:1", "--rules", "r.toml"].map(str::to_owned).to_vec();
        let check = "critape check -r unix:///run/r.sock";
        let all = format!("{check} --active --image x:1 --rules r.toml");
        let least = format!("{check} --rules r.toml");
        assert_eq!(repeat(&report, &report.findings[0]), [all.as_str()], "it changes something");
        let mut of = |rpc: &str, about: Option<&str>| {
            let finding = &mut report.findings[0];
            finding.method = format!("/runtime.v1.RuntimeService/{rpc}");
            finding.rule = "list-and-status-agree".to_owned();
            let live = serde_json::json!({"requests": [{"containerId": "c1", "podSandboxId": "p$1"}]});
            let about = about.map(str::to_owned);
            finding.evidence = Some(crate::Evidence { live: Some(live), about, ..Default::default() });
            repeat(&report, &report.findings[0])
        };
        let crictl = |command: &str| format!("crictl -r unix:///run/r.sock {command}");
        let theirs = [crictl("inspect c1"), crictl("ps -a -o json"), least.clone()];
        assert_eq!(of("ContainerStatus", Some("default/web/app")), theirs);
        assert_eq!(of("PodSandboxStatus", None), [crictl("inspectp 'p$1'"), crictl("pods -o json"), least]);
        assert_eq!(
            of("ContainerStatus", Some("critape/critape-check/check")),
            [all.as_str()],
            "its pod is gone"
        );
        assert_eq!(of("GetContainerEvents", None), [all]);
    }

    #[test]
    fn the_image_that_was_asked_for_here_is_named() {
        let mut report = sample::report();
        let live = serde_json::json!({"requests": [{"image": {"image": "mirror.example/app:1"}}]});
        report.findings[1].evidence.as_mut().unwrap().live = Some(live);
        let commands = repeat(&report, &report.findings[1]);
        assert_eq!(commands[0], "crictl -r unix:///run/r.sock pull mirror.example/app:1");
    }

    #[test]
    fn a_list_is_asked_for_with_the_filter_that_was_asked_with() {
        let mut report = sample::report();
        let mut of = |method: &str, filter: serde_json::Value| {
            report.findings[1].method = format!("/runtime.v1.RuntimeService/{method}");
            let live = serde_json::json!({"requests": [{"filter": filter}]});
            report.findings[1].evidence.as_mut().unwrap().live = Some(live);
            let command = repeat(&report, &report.findings[1]).remove(0);
            command.strip_prefix("crictl -r unix:///run/r.sock ").unwrap_or_default().to_owned()
        };
        let none = serde_json::json!({"id": "", "labelSelector": {}, "podSandboxId": "", "state": null});
        assert_eq!(of("ListContainers", none), "ps -a -o json");
        assert_eq!(of("ListContainers", serde_json::Value::Null), "ps -a -o json");
        let running = serde_json::json!({"podSandboxId": "p1", "state": {"state": "CONTAINER_RUNNING"}});
        assert_eq!(of("ListContainers", running), "ps -a -o json --pod p1 --state running");
        let labels = serde_json::json!({"labelSelector": {"app": "web", "x": "$(id)"}, "id": "c1"});
        let flags = "--id c1 --label app=web --label 'x=$(id)'";
        assert_eq!(of("ListContainerStats", labels.clone()), format!("stats -a -o json {flags}"));
        assert_eq!(of("ListPodSandboxStats", labels), format!("statsp -o json {flags}"));
        let ready = serde_json::json!({"state": {"state": "SANDBOX_NOTREADY"}});
        assert_eq!(of("ListPodSandbox", ready), "pods -o json --state notready");
        assert_eq!(
            of("ListImages", serde_json::json!({"image": {"image": "app:1"}})),
            "images -o json app:1"
        );
    }

    #[test]
    fn no_name_runs_a_command_of_its_own() {
        assert_eq!(quoted("a'; rm -rf / #"), "'a'\\''; rm -rf / #'");
        assert_eq!(quoted("$(id)"), "'$(id)'");
        assert_eq!(quoted("-r"), "'-r'");
        assert_eq!(quoted(""), "''");
        assert!(!quoted("a\nb").contains('\n'));
    }

    #[test]
    fn two_tapes_are_shown() {
        let mut report = sample::report();
        report.live.tape = Some("other tape".to_owned());
        report.findings[0].examples[0].live_call = Some(99);
        assert_eq!(
            repeat(&report, &report.findings[0]),
            ["critape tape show node.tape 12", "critape tape show 'other tape' 99"]
        );
    }
}
