//! What is wrong with rules is found, and nothing else.

use super::*;

fn rule(name: &str, method: &str, path: &str, relation: &str) -> String {
    let method = if method.is_empty() { String::new() } else { format!("method = [\"{method}\"]\n") };
    format!(
        "[[rule]]\nname = \"{name}\"\n{method}path = [{path}]\nrelation = \"{relation}\"\nreason = \"x\"\n\n"
    )
}

/// The problems of a file: line, kind, rule.
fn problems(text: &str) -> Vec<(usize, ProblemKind, String)> {
    let check = Rules::parse("f", text).unwrap().check(&Rules::standard());
    check.problems.into_iter().map(|it| (it.line, it.kind, it.rule)).collect()
}

#[test]
fn the_standard_rules_have_no_problem() {
    let check = Rules::standard().check(&Rules::default());
    assert_eq!(check.problems, []);
    assert!(check.rules.iter().all(|rule| rule.fields > 0 && !rule.meaning.is_empty()));
    assert_eq!(Rules::default().for_translation().check(&Rules::standard()).problems, []);
}

#[test]
fn paths_that_no_answer_has_are_dead() {
    let dead = |method: &str, path: &str| problems(&rule("x", method, path, "ignore"));
    let none: [(usize, ProblemKind, String); 0] = [];
    for (method, path) in [
        ("", "\"**.created_at\""),
        ("ContainerStatus", "\"status.state\""),
        ("ContainerStatus", "\"status.labels.anything\""),
        ("", "\"**.labels.\\\"a.b\\\"\""),
        ("ContainerStatus", "\"info.info.runtimeSpec.hooks\""),
        ("", "\"info.**.pid\""),
        ("", "\"outcome.message\""),
        ("GetContainerEvents", "\"events\""),
    ] {
        assert_eq!(dead(method, path), none, "{method} {path}");
    }
    for (method, path) in [
        ("", "\"status.sate\""),
        ("ListContainers", "\"status.state\""),
        ("ContainerStatus", "\"status.labels\""),
        ("ContainerStatus", "\"status.labels.a.b\""),
        ("ListContainers", "\"containers.state\""),
        ("Version", "\"info.info.pid\""),
    ] {
        assert_eq!(
            dead(method, path),
            [(if method.is_empty() { 3 } else { 4 }, ProblemKind::Dead, "x".into())],
            "{method} {path}"
        );
    }
    let text = rule("x", "", "\n  \"**.created_at\",\n  \"nothing\",\n", "ignore");
    assert_eq!(problems(&text), [(5, ProblemKind::Dead, "x".into())], "each path has its line");
}

#[test]
fn relations_that_never_are_true_of_a_field_are_told() {
    let unfit = |method: &str, path: &str, relation: &str| {
        let problems = problems(&rule("x", method, path, relation));
        problems.iter().any(|(_, kind, _)| *kind == ProblemKind::Unfit)
    };
    for (method, path, relation) in [
        ("ContainerStatus", "\"status.exit_code\"", "counter"),
        ("ContainerStatus", "\"status.created_at\"", "timestamp"),
        ("ContainerStatus", "\"status.state\"", "presence"),
        ("ContainerStatus", "\"status.labels.*\"", "text"),
        ("ContainerStatus", "\"status.**\"", "counter"),
        ("ContainerStatus", "\"info.info.pid\"", "counter"),
        ("ContainerStatus", "\"status.image\"", "optional"),
        ("ExecSync", "\"stdout\"", "presence"),
        ("", "\"outcome.message\"", "text"),
    ] {
        assert!(!unfit(method, path, relation), "{method} {path} {relation}");
    }
    for (method, path, relation) in [
        ("ContainerStatus", "\"status.exit_code\"", "url"),
        ("ContainerStatus", "\"status.log_path\"", "counter"),
        ("ContainerStatus", "\"status.state\"", "timestamp"),
        ("ContainerStatus", "\"status.image\"", "presence"),
        ("ImageStatus", "\"image.pinned\"", "presence"),
        ("ExecSync", "\"stdout\"", "text"),
    ] {
        assert!(unfit(method, path, relation), "{method} {path} {relation}");
    }
}

#[test]
fn rules_that_come_too_late_are_shadowed() {
    let with = |first: &str, second: (&str, &str)| {
        let text = rule("first", "", first, "ignore") + &rule("second", second.0, second.1, "optional");
        problems(&text).into_iter().map(|(_, kind, rule)| (kind, rule)).collect::<Vec<_>>()
    };
    let shadowed = [(ProblemKind::Shadowed, "second".to_owned())];
    let created = "\"**.created_at\"";
    assert_eq!(with(created, ("ListContainers", "\"containers[].created_at\"")), shadowed);
    assert_eq!(with("\"**.labels.*\"", ("", "\"**.labels.app\"")), shadowed);
    assert_eq!(with("\"info.**.pid\"", ("", "\"info.info.pid\"")), shadowed);
    assert_eq!(with("\"containers[].created_at\"", ("", created)), [], "it has others left");
    assert_eq!(with("\"**.labels.app\"", ("", "\"**.labels.*\"")), []);
}

#[test]
fn rules_that_let_all_pass_and_names_that_are_taken_are_told() {
    let kinds = |text: &str| problems(text).into_iter().map(|(_, kind, _)| kind).collect::<Vec<_>>();
    assert_eq!(kinds(&rule("x", "", "\"**\"", "ignore")), [ProblemKind::Broad]);
    assert_eq!(kinds(&rule("x", "ContainerStatus", "\"*\"", "presence")), [ProblemKind::Broad]);
    assert_eq!(kinds(&rule("x", "Version", "\"runtime_version\"", "ignore")), []);
    let twice = rule("x", "", "\"status.state\"", "ignore") + &rule("x", "", "\"status.reason\"", "text");
    assert_eq!(kinds(&twice), [ProblemKind::Twice]);
}

#[test]
fn a_rule_is_explained() {
    let text = rule("mine", "ListContainers", "\"containers[].created_at\"", "ignore");
    let check = Rules::parse("f", &text).unwrap().check(&Rules::standard());
    let rule = &check.rules[0];
    assert_eq!((rule.line, rule.fields, rule.before.as_slice()), (2, 1, &["time-of-event".to_owned()][..]));
}
