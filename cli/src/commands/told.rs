//! What a command was told beside its tape and its runtime that decides what is found, for who wants to see it again: each word of a
//! command line on its own.

use std::path::PathBuf;

use clap::ValueEnum;
use cri::endpoint::Endpoints;
use critape_calls::time_text;
use critape_replayer::Config;

use crate::args::{CheckArgs, PaceArg, ReplayArgs, WayArgs};
use crate::filter::FilterArgs;
use crate::values;

/// The words so far.
#[derive(Debug, Default)]
struct Words(Vec<String>);

impl Words {
    fn flag(&mut self, flag: &str, is_given: bool) {
        self.0.extend(is_given.then(|| flag.to_owned()));
    }

    fn value(&mut self, flag: &str, value: Option<impl Into<String>>) {
        self.0.extend(value.into_iter().flat_map(|value| [flag.to_owned(), value.into()]));
    }

    fn images(&mut self, endpoints: &Endpoints) {
        let apart = (endpoints.image != endpoints.runtime).then(|| endpoints.image.to_string());
        self.value("-i", apart);
    }

    fn rules(&mut self, files: &[PathBuf]) {
        files.iter().for_each(|path| self.value("--rules", Some(path.display().to_string())));
    }

    fn way(&mut self, way: &WayArgs, usual: &Config) {
        let pace = way.pace.to_possible_value().filter(|_| way.pace != PaceArg::default());
        self.value("--pace", pace.as_ref().map(clap::builder::PossibleValue::get_name));
        self.value("--speed", way.speed.map(|speed| speed.to_string()));
        self.value("--max-idle", way.max_idle.map(values::duration_text));
        self.flag("--every-poll", way.every_poll);
        let unusual = |given, usual| (given != usual).then(|| values::duration_text(given));
        self.value("--settle", unusual(way.settle, usual.settle));
        self.value("--give-up", unusual(way.give_up, usual.give_up));
        way.map_images.iter().for_each(|it| self.value("--map-image", Some(it.without_users())));
        self.value("--registry-auth", way.registry_auth.as_ref().map(|path| path.display().to_string()));
        self.flag("--share", way.share);
        self.flag("--allow-node-changes", way.allow_node_changes);
    }

    fn filter(&mut self, filter: &FilterArgs) {
        self.value("--method", filter.method.as_deref());
        self.value("--pod", filter.pod.as_deref());
        self.value("--container", filter.container.as_deref());
        self.value("--status", filter.status.as_deref());
        self.value("--since", filter.since.map(time_text));
        self.value("--until", filter.until.map(time_text));
        self.value("--connection", filter.connection.map(|number| number.to_string()));
    }
}

/// Of a replay that goes this way.
pub(super) fn of_replay(args: &ReplayArgs, config: &Config) -> Vec<String> {
    let mut words = Words::default();
    words.images(&config.endpoints);
    words.way(&args.way, &Config::new(config.endpoints.clone()));
    words.rules(&args.report.rules);
    words.filter(&args.filter);
    words.0
}

/// Of a check of this runtime.
pub(super) fn of_check(args: &CheckArgs, endpoints: &Endpoints) -> Vec<String> {
    let mut words = Words::default();
    words.images(endpoints);
    words.flag("--active", args.active);
    words.value("--image", args.image.as_deref());
    words.rules(&args.report.rules);
    words.0
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        replay: ReplayArgs,
    }

    /// What was told is told again, and what was not is not.
    #[test]
    fn a_replay_that_is_repeated_is_told_the_same() {
        let told = |words: &[&str]| {
            let line = ["replay", "node.tape", "-r", "/run/r.sock"].iter().chain(words);
            let args = Line::try_parse_from(line).unwrap().replay;
            let endpoints = args.way.endpoints.asked().resolve().unwrap();
            of_replay(&args, &Config::new(endpoints))
        };
        let all = [
            "-i",
            "unix:///run/i.sock",
            "--pace",
            "max",
            "--speed",
            "2.5",
            "--max-idle",
            "1500ms",
            "--every-poll",
            "--settle",
            "1us",
            "--give-up",
            "90s",
            "--map-image",
            "a=b",
            "--registry-auth",
            "auth.json",
            "--share",
            "--allow-node-changes",
            "--rules",
            "one.toml",
            "--rules",
            "other.toml",
            "--method",
            "*Image*",
            "--pod",
            "web",
            "--container",
            "app",
            "--status",
            "OK",
            "--since",
            "2026-01-02T03:04:05.000000006Z",
            "--until",
            "2026-01-02T03:04:06.000000000Z",
            "--connection",
            "4",
        ];
        let expected: Vec<String> = all.iter().map(|word| word.replace("1us", "1000ns")).collect();
        assert_eq!(told(&all), expected);
        assert_eq!(told(&[]), Vec::<String>::new());
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        assert_eq!(told(&expected), expected);
        let usual = ["--settle", "5s", "--give-up", "5m", "--pace", "recorded", "--baseline", "b.toml"];
        assert_eq!(told(&usual), Vec::<String>::new());
    }
}
