//! `critape rules`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use anyhow::Result;
use critape_differ::{ORACLES, Rules, RulesCheck, fixed_rules};
use serde_json::{Value, json};

use super::report;
use crate::args::RulesCommand;
use crate::exit::Exit;
use crate::output::{Format, print_json};

pub(crate) fn run(command: RulesCommand) -> Result<Exit> {
    match command {
        RulesCommand::List { rules, output } => list(&report::rules(&rules)?, output),
        RulesCommand::Check { file, output } => check(file.as_deref(), output),
    }
}

fn list(rules: &Rules, output: Format) -> Result<Exit> {
    if output == Format::Json {
        print_json(&listed(rules))?;
    } else {
        print(&table(rules))?;
    }
    Ok(Exit::Done)
}

fn listed(rules: &Rules) -> Value {
    let translated = Rules::default().for_translation();
    let fields = rules.iter().chain(translated.iter()).map(|rule| {
        json!({
            "kind": "rule",
            "name": rule.name,
            "relation": rule.relation.to_string(),
            "methods": rule.methods(),
            "paths": rule.paths(),
            "reason": rule.reason,
            "source": rule.source,
        })
    });
    let lists = rules.lists().map(|rule| {
        json!({
            "kind": "list",
            "name": rule.name,
            "order": rule.order.to_string(),
            "keys": rule.keys,
            "methods": rule.methods(),
            "paths": rule.paths(),
            "reason": rule.reason,
            "source": rule.source,
        })
    });
    let fixed = fixed_rules().iter().map(
        |rule| json!({ "kind": "fixed", "name": rule.name, "reason": rule.reason, "source": rule.source }),
    );
    let oracles = ORACLES.iter().map(|oracle| {
        json!({ "kind": "oracle", "name": oracle.name, "reason": oracle.rule, "source": oracle.source })
    });
    fields.chain(lists).chain(fixed).chain(oracles).collect()
}

fn table(rules: &Rules) -> String {
    let mut out = String::new();
    let methods = |methods: &[String]| {
        if methods.is_empty() { String::new() } else { format!("{}: ", methods.join(", ")) }
    };
    let translated = Rules::default().for_translation();
    // Writing to a string never fails.
    for rule in rules.iter().chain(translated.iter()) {
        let _ = writeln!(out, "{}  {}", rule.name, rule.relation);
        let _ = writeln!(out, "    {}{}", methods(rule.methods()), rule.paths().join(", "));
        let _ = writeln!(out, "    why   {}", rule.reason);
        let _ = writeln!(out, "    from  {}", rule.source);
    }
    for rule in rules.lists() {
        let keys: Vec<String> = rule.keys.iter().map(|key| key.join(" and ")).collect();
        let by = if keys.is_empty() { "place".to_owned() } else { keys.join(", or ") };
        let _ = writeln!(out, "{}  by {by}; order {}", rule.name, rule.order);
        let _ = writeln!(out, "    {}{}", methods(rule.methods()), rule.paths().join(", "));
        let _ = writeln!(out, "    why   {}", rule.reason);
    }
    for rule in fixed_rules() {
        let _ = writeln!(out, "{}  can't be changed", rule.name);
        let _ = writeln!(out, "    why   {}", rule.reason);
        let _ = writeln!(out, "    from  {}", rule.source);
    }
    for oracle in ORACLES {
        let _ = writeln!(out, "{}  holds of any answer", oracle.name);
        let _ = writeln!(out, "    why   {}", oracle.rule);
        let _ = writeln!(out, "    from  {}", oracle.source);
    }
    out
}

fn check(file: Option<&Path>, output: Format) -> Result<Exit> {
    let standard = Rules::standard();
    let checked = match file {
        Some(path) => {
            let text = report::text_of(path, "a rules file")?;
            Rules::parse(&path.display().to_string(), &text)?.check(&standard)
        }
        None => standard.check(&Rules::default()),
    };
    if output == Format::Json {
        print_json(&serde_json::to_value(&checked)?)?;
    } else {
        print(&explained(&checked))?;
    }
    Ok(if checked.problems.is_empty() { Exit::Done } else { Exit::Different })
}

fn explained(checked: &RulesCheck) -> String {
    let mut out = String::new();
    // Writing to a string never fails.
    for rule in &checked.rules {
        let _ = writeln!(out, "line {}  {}  {}", rule.line, rule.name, rule.relation);
        let _ = writeln!(out, "    {}, in {} fields", rule.meaning, rule.fields);
        if !rule.before.is_empty() {
            let _ = writeln!(out, "    before  {}", rule.before.join(", "));
        }
        let _ = writeln!(out, "    why     {}", rule.reason);
        if !rule.source.is_empty() {
            let _ = writeln!(out, "    from    {}", rule.source);
        }
    }
    for problem in &checked.problems {
        let _ = writeln!(out, "line {}: {}: {}", problem.line, problem.rule, problem.message);
    }
    let (rules, problems) = (checked.rules.len(), checked.problems.len());
    let _ = writeln!(out, "{rules} rules, {problems} problems");
    out
}

fn print(text: &str) -> Result<()> {
    Ok(std::io::stdout().lock().write_all(text.as_bytes())?)
}
