//! The program as a whole: help, output, the demo.

use serde_json::Value;

use crate::folder::Folder;
use crate::process::{Process, until};
use crate::workload;

/// Every command that is offered, as its help lists them.
fn commands(folder: &Folder, of: &str) -> Vec<String> {
    let help = folder.run(&format!("{of} --help")).done();
    let listed =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = listed.filter_map(|line| {
        line.strip_prefix("  ")?.split_whitespace().next().filter(|_| !line.starts_with("   "))
    });
    let mut all = Vec::new();
    for name in names.filter(|name| *name != "help") {
        let name = format!("{of} {name}").trim().to_owned();
        let below = commands(folder, &name);
        all.push(name);
        all.extend(below);
    }
    all
}

#[test]
fn every_command_has_help_with_an_example() {
    let folder = Folder::new();
    let commands = commands(&folder, "");
    for named in ["demo", "record", "tape", "tape list", "tape info", "tape show", "tape verify", "replay"] {
        assert!(commands.iter().any(|command| command == named), "{named} is not among {commands:?}");
    }
    for named in ["diff", "gateway", "simulator", "completions", "man"] {
        assert!(commands.iter().any(|command| command == named), "{named} is not among {commands:?}");
    }
    for command in commands.iter().map(String::as_str).chain([""]) {
        for flag in ["--help", "-h"] {
            let help = folder.run(&format!("{command} {flag}")).done();
            let example = help.split_once("Example:\n").map(|(_, example)| example.trim());
            let example = example.unwrap_or_else(|| panic!("`critape {command} {flag}` has no example"));
            assert!(example.starts_with(format!("critape {command}").trim()), "{command}: {example}");
        }
    }
}

/// An example that is shown is one that is understood.
#[test]
fn examples_are_right() {
    let folder = Folder::new();
    for command in commands(&folder, "") {
        let help = folder.command(&format!("{command} --help")).env("COLUMNS", "400").output().unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        let examples = help
            .split_once("Example:\n")
            .unwrap()
            .1
            .lines()
            .filter_map(|line| line.trim().strip_prefix("critape "));
        for example in examples {
            let words = example.split(['>', '|']).next().unwrap().replace('\'', "");
            // An argument too many is told only after all others were understood.
            let refused = folder.run(&format!("{words} --no-such-flag")).stderr;
            assert!(refused.contains("unexpected argument '--no-such-flag'"), "{example}: {refused}");
        }
    }
}

#[test]
fn completions_and_manual_are_printed() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(folder.run(&format!("completions {shell}")).done().contains("record"), "{shell}");
    }
    assert!(folder.run("man").done().starts_with(".ie"));
    assert!(folder.run("--version").done().starts_with("critape "));
}

/// Runs with a stdout that nobody reads: it must neither panic nor complain.
#[track_caller]
fn with_closed_stdout(folder: &Folder, line: &str) {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ended = Process::start_with_stdout(&mut folder.command(line), writer).ended();
    assert!(matches!(ended.code, Some(0 | 1)), "{line}: {:?} {}", ended.code, ended.stderr);
    assert_eq!(ended.stderr, "", "{line}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let folder = Folder::new();
    workload::record(&folder, "node.tape", "");
    for line in [
        "tape show node.tape",
        "tape show node.tape -o json",
        "tape show node.tape 1",
        "tape info node.tape",
        "tape info node.tape -o json",
        "tape verify node.tape",
        "tape list",
        "diff node.tape node.tape",
        "diff node.tape node.tape -o json",
        "simulator --list-regressions",
        "man",
        "--help",
        "record --help",
    ] {
        with_closed_stdout(&folder, line);
    }
}

#[test]
fn completions_take_a_reader_that_goes_away() {
    for shell in ["bash", "zsh", "fish"] {
        with_closed_stdout(&Folder::new(), &format!("completions {shell}"));
    }
}

#[test]
fn the_demo_takes_a_reader_that_goes_away() {
    with_closed_stdout(&Folder::new(), "demo");
}

/// As a shell does it: `critape tape show TAPE | head -1`.
#[test]
fn the_first_line_of_a_listing_is_enough() {
    let folder = Folder::new();
    workload::record(&folder, "node.tape", "");
    let script = r#""$0" tape show node.tape -o json | head -1; echo "${PIPESTATUS[0]}" >&2"#;
    let mut shell = std::process::Command::new("bash");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_critape")]).current_dir(folder.path(""));
    let ended = Process::start(&mut shell).ended();
    assert_eq!(ended.stdout.lines().count(), 1);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), "0\n"));
}

/// A usage error whose text nobody reads is still one.
#[test]
fn bad_usage_has_its_code_where_nobody_reads_stderr() {
    let folder = Folder::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    for line in ["frobnicate", "tape show absent.tape"] {
        let ended =
            Process::start_with_stderr(&mut folder.command(line), writer.try_clone().unwrap()).ended();
        assert_eq!(ended.code, Some(3), "{line}");
    }
}

#[test]
fn the_log_can_be_json() {
    let folder = Folder::new();
    let recorder =
        folder.listening("record node.tape -r unix://DIR/r.sock --listen unix://DIR/l.sock --log-json -vv");
    // The runtime is not there, which is logged.
    drop(std::os::unix::net::UnixStream::connect(folder.path("l.sock")).unwrap());
    let stderr = recorder.until_stderr("the runtime is not there");
    let logged = stderr.lines().find(|line| line.contains("the runtime is not there")).unwrap();
    let logged: Value = serde_json::from_str(logged).unwrap();
    assert_eq!(logged["level"], "WARN");
    recorder.interrupted().done();
}

#[test]
fn the_demo_shows_the_whole_way() {
    let folder = Folder::new();
    let ended = folder.run("demo");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{}", ended.stdout);
    assert!(ended.stdout.contains("\nsame: 0 divergences\n"), "{}", ended.stdout);
    assert!(ended.stdout.contains("\ndifferent: "), "{}", ended.stdout);
    assert!(!ended.stdout.contains("MISSED") && !ended.stdout.contains('\u{1b}'), "{}", ended.stdout);
    let next = ended.stdout.rsplit("Next, ").next().unwrap();
    for command in ["record", "tape show", "replay"] {
        assert!(next.contains(&format!("critape {command} node.tape")), "{next}");
    }
    assert_eq!(folder.listing().len(), 0, "files of the demo are left behind");
}

#[test]
fn the_demo_keeps_its_tape_where_it_is_told_to() {
    let folder = Folder::new();
    let report = folder.json("demo -o json --keep demo.tape");
    assert_eq!(report["verdict"], "different");
    let info = folder.json("tape info demo.tape -o json");
    assert_eq!(report["calls"]["recorded"], info["calls"]);
    folder.run("tape verify demo.tape").done();
}

#[test]
fn a_demo_that_is_interrupted_leaves_nothing() {
    let folder = Folder::new();
    let demo = folder.start("demo");
    until("the demo records", || {
        folder.listing().keys().any(|path| path.ends_with("critape.sock")).then_some(())
    });
    assert_eq!(demo.interrupted().code, Some(130));
    assert_eq!(folder.listing().len(), 0, "files of the demo are left behind");
}
