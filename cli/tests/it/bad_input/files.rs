//! Reports and rules.

use insta::assert_snapshot;

use crate::folder::Folder;
use crate::workload;

#[test]
fn a_report_whose_form_is_not_told() {
    let folder = Folder::new();
    workload::record_briefly(&folder, "node.tape");
    assert_snapshot!(
        folder.refused("diff node.tape node.tape --report report.pdf"),
        @"error: report.pdf: the name of a report must end with .json, .txt, .xml, .md or .html"
    );
    assert_snapshot!(
        folder.refused("replay node.tape -r unix://DIR/r.sock --report report"),
        @"error: report: the name of a report must end with .json, .txt, .xml, .md or .html"
    );
}

/// It is told before the replay, not after it.
#[test]
fn a_report_in_a_folder_that_is_not_there() {
    let folder = Folder::new();
    workload::record_briefly(&folder, "node.tape");
    let refused = folder.refused("replay node.tape -r unix://DIR/absent.sock --report absent/report.json");
    assert!(refused.starts_with("error: ") && refused.contains("absent/report.json"), "{refused}");
    std::fs::create_dir(folder.path("taken.json")).unwrap();
    let refused = folder.refused("replay node.tape -r unix://DIR/absent.sock --report taken.json");
    assert!(refused.contains("taken.json is a folder"), "{refused}");
}

#[test]
fn files_that_are_no_text() {
    let folder = Folder::new();
    workload::record_briefly(&folder, "node.tape");
    std::fs::write(folder.path("bytes"), b"\xff\xfe\0").unwrap();
    assert_snapshot!(
        folder.refused("rules check bytes"),
        @"error: bytes is not a rules file: invalid utf-8 sequence of 1 bytes from index 0"
    );
    assert_snapshot!(
        folder.refused("diff node.tape node.tape --baseline bytes"),
        @"error: bytes is not a baseline: invalid utf-8 sequence of 1 bytes from index 0"
    );
    let refused = folder.refused("explain bytes abc");
    assert!(refused.starts_with("error: bytes is not a report in JSON ("), "{refused}");
}

/// It is told before the replays, not after them.
#[test]
fn a_folder_where_learnt_rules_are_to_be() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("noise.toml")).unwrap();
    assert_snapshot!(
        folder.refused("calibrate absent.tape -r unix://DIR/absent.sock --output noise.toml"),
        @"error: noise.toml is a folder: give the name of a file in it"
    );
}

#[test]
fn rules_with_a_mistake() {
    let folder = Folder::new();
    workload::record_briefly(&folder, "node.tape");
    let rule = |method: &str, path: &str| {
        format!(
            "[[rule]]\nname = \"mine\"\nmethod = [\"{method}\"]\npath = [\"{path}\"]\nrelation = \"ignore\"\n\
             reason = \"a test\"\n"
        )
    };
    let with = |text: &str| {
        folder.write("rules.toml", text);
        folder.refused("diff node.tape node.tape --rules rules.toml")
    };
    assert_snapshot!(
        with("nonsense"),
        @"error: rules.toml is not a rules file: line 1, column 9: key with no value, expected `=`"
    );
    assert_snapshot!(
        with("[[rule]]\nname = \"mine\"\npath = [\"version\"]\nrelation = \"ignore\"\n"),
        @"error: rules.toml is not a rules file: line 1, column 1: missing field `reason`"
    );
    assert_snapshot!(
        with(&rule("Versoin", "version")),
        @r#"error: rules.toml, line 3: CRI has no method "Versoin""#
    );
    assert_snapshot!(
        with(&rule("Version", "version..x")),
        @r#"error: rules.toml, line 4: "version..x" is not a path: write field names joined by dots, [] after a list, * or ** for any"#
    );
    assert_snapshot!(
        folder.refused("replay node.tape -r unix://DIR/r.sock --rules absent.toml"),
        @"error: reading absent.toml: No such file or directory (os error 2)"
    );
}
