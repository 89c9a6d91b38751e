//! What was typed.

use insta::assert_snapshot;

use crate::folder::Folder;

#[test]
fn no_command() {
    let folder = Folder::new();
    assert_snapshot!(folder.refused(""), @r"
    error: no command was given
    `critape --help` and `critape COMMAND --help` tell what there is
    ");
    assert_snapshot!(folder.refused("tape"), @r"
    error: no command was given
    `critape --help` and `critape COMMAND --help` tell what there is
    ");
}

#[test]
fn an_unknown_command() {
    let folder = Folder::new();
    assert_snapshot!(folder.refused("xyzzy"), @r"
    error: unrecognized subcommand 'xyzzy'
    `critape --help` and `critape COMMAND --help` tell what there is
    ");
    assert_snapshot!(folder.refused("reply node.tape"), @r"
    error: unrecognized subcommand 'reply'
    did you mean replay?
    `critape --help` and `critape COMMAND --help` tell what there is
    ");
    assert_snapshot!(folder.refused("tape shwo node.tape"), @r"
    error: unrecognized subcommand 'shwo'
    did you mean show?
    `critape --help` and `critape COMMAND --help` tell what there is
    ");
}

#[test]
fn a_missing_argument() {
    let folder = Folder::new();
    assert_snapshot!(folder.refused("record"), @r"
    error: the following required arguments were not provided: <TAPE>
    `critape --help` and `critape COMMAND --help` tell what there is
    ");
    assert_snapshot!(
        folder.refused("record node.tape -r unix://DIR/r.sock"),
        @"error: where clients connect is missing: give --listen unix:///run/critape.sock, or --take-over for the runtime's own path"
    );
    assert_snapshot!(folder.refused("replay"), @r"
    error: the following required arguments were not provided: <TAPE>
    `critape --help` and `critape COMMAND --help` tell what there is
    ");
    assert_snapshot!(folder.refused("diff one.tape"), @r"
    error: the following required arguments were not provided: <LIVE>
    `critape --help` and `critape COMMAND --help` tell what there is
    ");
    assert_snapshot!(folder.refused("simulator"), @r"
    error: the following required arguments were not provided: --listen <ENDPOINT>
    `critape --help` and `critape COMMAND --help` tell what there is
    ");
}

#[test]
fn an_unknown_flag() {
    let folder = Folder::new();
    assert_snapshot!(folder.refused("replay node.tape --sped 2"), @r"
    error: unexpected argument '--sped' found
    did you mean --speed?
    `critape --help` and `critape COMMAND --help` tell what there is
    ");
    assert_snapshot!(folder.refused("tape show node.tape --frobnicate"), @r"
    error: unexpected argument '--frobnicate' found
    `critape --help` and `critape COMMAND --help` tell what there is
    ");
}

#[test]
fn a_value_that_is_none() {
    let folder = Folder::new();
    assert_snapshot!(folder.refused("replay node.tape --max-idle soon"), @r#"
    error: invalid value 'soon' for '--max-idle <D>': "soon" is not a duration: write it as 250ms, 5s or 2m
    `critape --help` and `critape COMMAND --help` tell what there is
    "#);
    insta::allow_duplicates! {
        for line in ["replay node.tape --settle=-5s", "replay node.tape --settle -5s"] {
            assert_snapshot!(folder.refused(line), @r#"
            error: invalid value '-5s' for '--settle <D>': "-5s" is negative: write it as 250ms, 5s or 2m
            `critape --help` and `critape COMMAND --help` tell what there is
            "#);
        }
    }
    insta::allow_duplicates! {
        for command in ["replay node.tape", "calibrate node.tape --output noise.toml"] {
            assert_snapshot!(folder.refused(&format!("{command} --give-up 0s")), @r"
            error: invalid value '0s' for '--give-up <D>': no time gives up every call that takes a moment longer than it did: write 30s or 5m
            `critape --help` and `critape COMMAND --help` tell what there is
            ");
        }
    }
    assert_snapshot!(folder.refused("replay node.tape --settle 9223372036854775807s"), @r#"
    error: invalid value '9223372036854775807s' for '--settle <D>': "9223372036854775807s" is too long: write a hundred years (876000h) or less
    `critape --help` and `critape COMMAND --help` tell what there is
    "#);
    assert_snapshot!(folder.refused("replay node.tape --speed 0"), @r#"
    error: invalid value '0' for '--speed <N>': "0" is not a speed: write a number above 0, as 2 for twice as fast
    `critape --help` and `critape COMMAND --help` tell what there is
    "#);
    assert_snapshot!(folder.refused("replay node.tape --max-inconclusive 101%"), @r#"
    error: invalid value '101%' for '--max-inconclusive <N%>': "101%" is not a share: write it as 1%
    `critape --help` and `critape COMMAND --help` tell what there is
    "#);
    assert_snapshot!(folder.refused("record node.tape --listen unix://DIR/l.sock --memory 5x"), @r#"
    error: invalid value '5x' for '--memory <SIZE>': "5x" is not a size: write it as 64MiB, 1GiB or a number of bytes
    `critape --help` and `critape COMMAND --help` tell what there is
    "#);
    assert_snapshot!(folder.refused("tape show node.tape --since yesterday"), @r#"
    error: invalid value 'yesterday' for '--since <TIME>': "yesterday" is not a time: write it as 2026-01-31T12:00:00Z, or as 10m for ten minutes ago
    `critape --help` and `critape COMMAND --help` tell what there is
    "#);
}

#[test]
fn arguments_that_do_not_go_together() {
    let folder = Folder::new();
    assert_snapshot!(folder.refused("tape show node.tape 17 --pod web"), @r"
    error: the argument '[CALL]' cannot be used with '--pod <NAME>'
    `critape --help` and `critape COMMAND --help` tell what there is
    ");
    insta::allow_duplicates! {
        for again in ["busybox=b", "docker.io/library/busybox:latest=b"] {
            let line = format!("replay node.tape -r unix://DIR/r.sock --map-image busybox=a --map-image {again}");
            assert_snapshot!(
                folder.refused(&line).replace("docker.io/library/busybox:latest", "busybox"),
                @"error: --map-image busybox=a and --map-image busybox=b are about the same image: leave one of them out"
            );
        }
    }
    assert_snapshot!(folder.refused("tape prune node.tape"), @r"
    error: the following required arguments were not provided: --max-size <SIZE>
    `critape --help` and `critape COMMAND --help` tell what there is
    ");
    assert_snapshot!(folder.refused("tape prune node.tape --max-size much"), @r#"
    error: invalid value 'much' for '--max-size <SIZE>': "much" is not a size: write it as 64MiB, 1GiB or a number of bytes
    `critape --help` and `critape COMMAND --help` tell what there is
    "#);
}

#[test]
fn a_demos_tape_where_there_is_something() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("there")).unwrap();
    assert_snapshot!(
        folder.refused("demo --keep there"),
        @"error: there exists: give --keep a path where there is nothing yet"
    );
}

#[test]
fn a_value_that_is_not_offered() {
    let folder = Folder::new();
    assert_snapshot!(folder.refused("tape show node.tape -o yaml"), @r"
    error: invalid value 'yaml' for '--output <OUTPUT>': give one of table, json
    `critape --help` and `critape COMMAND --help` tell what there is
    ");
    assert_snapshot!(folder.refused("replay node.tape --pace slow"), @r"
    error: invalid value 'slow' for '--pace <PACE>': give one of recorded, max, serial
    `critape --help` and `critape COMMAND --help` tell what there is
    ");
}

#[test]
fn a_call_that_is_no_number() {
    assert_snapshot!(Folder::new().refused("tape show node.tape first"), @r#"
    error: invalid value 'first' for '[CALL]': "first" is not the number of a call: `critape tape show TAPE` lists them
    `critape --help` and `critape COMMAND --help` tell what there is
    "#);
}

/// A report says with which image a check was made, and is shown around.
#[test]
fn an_image_with_credentials_in_it() {
    let folder = Folder::new();
    let refused =
        folder.refused("check -r unix://DIR/absent.sock --active --image me:hunter2@reg.example/app:1");
    assert!(refused.starts_with("error: --image: ") && !refused.contains("hunter2"), "{refused}");
}
