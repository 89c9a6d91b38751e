//! Differences that rules let pass, for those who want to see them.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::comparing::comparer::Passed;
use crate::{Suppressed, Witness};

/// Examples kept of one rule.
const PER_RULE: usize = 10;
/// Longest piece of a value that is listed.
const MAX_VALUE_CHARS: usize = 100;

/// One difference that a rule let pass.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SuppressedExample {
    /// The rule.
    pub rule: String,
    /// Request path of the call.
    pub method: String,
    /// Where in the answer.
    pub path: String,
    /// The recorded value.
    pub recorded: Value,
    /// The live value.
    pub live: Value,
    /// The recorded call.
    pub call: Option<u64>,
}

/// Keeps an example, unless there are enough of its rule, or one of its field.
pub(crate) fn keep(
    examples: &mut Vec<SuppressedExample>,
    method: &str,
    witness: &dyn Witness,
    passed: Passed,
) {
    let Passed { rule, path: place, mut recorded, mut live } = passed;
    let path = place.to_string();
    let mut of_rule = examples.iter().filter(|example| example.rule == rule);
    let known = of_rule.clone().any(|example| example.method == method && example.path == path);
    if !known && of_rule.nth(PER_RULE - 1).is_none() {
        witness.seal(&place, &mut recorded, &mut live);
        let (method, call) = (method.to_owned(), witness.recorded().map(|call| call.0));
        examples.push(SuppressedExample { rule, method, path, recorded, live, call });
    }
}

/// What rules let pass as people read it: each rule with how much it was, and examples.
pub fn render_suppressed(suppressed: &Suppressed) -> String {
    let mut out = String::new();
    // Writing to a string never fails.
    let _ = writeln!(out, "\nexplained by rule: {} differences", suppressed.count);
    for rule in &suppressed.rules {
        let _ = writeln!(out, "  {}  {} times", rule.rule, rule.count);
        for example in suppressed.examples.iter().filter(|example| example.rule == rule.rule) {
            let rpc = example.method.rsplit('/').next().unwrap_or_default();
            let call = example.call.map(|call| format!("call {call}: ")).unwrap_or_default();
            let _ = writeln!(
                out,
                "      {call}{rpc} {}: {} → {}",
                example.path,
                shown(&example.recorded),
                shown(&example.live)
            );
        }
    }
    out
}

fn shown(value: &Value) -> String {
    let text = if value.is_null() { "(absent)".to_owned() } else { value.to_string() };
    match text.char_indices().nth(MAX_VALUE_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
