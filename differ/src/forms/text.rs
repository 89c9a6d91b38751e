//! Pieces of text that several forms have in common.

use serde_json::Value;

use crate::{Finding, Judgement, Known, SideInfo};

/// Text that a terminal takes for nothing but text: no escapes, no other line.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() || is_invisible(letter) {
            out.extend(letter.escape_unicode());
        } else {
            out.push(letter);
        }
    }
    out
}

/// Letters that turn the direction of text, or separate lines.
fn is_invisible(letter: char) -> bool {
    matches!(letter, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// A value on one line, cut where it is longer than `most` letters.
pub(super) fn shown(value: &Value, most: usize) -> String {
    match value {
        Value::Null => "(absent)".to_owned(),
        other => cut(&plain(&other.to_string()), most),
    }
}

/// Both sides of a difference, each as [`shown`]; where they are longer than `most` letters, from a little before they differ.
pub(super) fn both(recorded: &Value, live: &Value, most: usize) -> [String; 2] {
    /// Letters before the first that differs.
    const LEAD: usize = 24;
    let whole = [recorded, live].map(|value| shown(value, usize::MAX));
    let [before, now] = &whole;
    let same = before.chars().zip(now.chars()).take_while(|(before, now)| before == now).count();
    let is_cut = whole.iter().any(|text| text.chars().count() > most);
    let from = if is_cut && same + LEAD > most { same.saturating_sub(LEAD) } else { 0 };
    whole.map(|text| {
        let part: String = text.chars().skip(from).collect();
        let lead = if from > 0 { "…" } else { "" };
        format!("{lead}{}", cut(&part, most))
    })
}

/// A value on as many lines as it has.
pub(super) fn pretty(value: &Value) -> String {
    match value {
        Value::Null => "(absent)".to_owned(),
        other => {
            let text = serde_json::to_string_pretty(other).unwrap_or_default();
            text.lines().map(plain).collect::<Vec<_>>().join("\n")
        }
    }
}

pub(super) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

pub(super) fn side(side: &SideInfo) -> String {
    let name = if side.runtime.is_empty() { "unknown runtime" } else { &side.runtime };
    let generation =
        if side.generation.is_empty() { String::new() } else { format!(" ({})", side.generation) };
    plain(&format!("{name} {}{generation}", side.version))
}

/// Where a side was read or called.
pub(super) fn place(side: &SideInfo) -> Option<String> {
    side.tape.as_ref().or(side.endpoint.as_ref()).map(|place| plain(place))
}

/// The known change that a finding is, in a few words.
pub(super) fn known(known: &Known) -> String {
    let since = plain(&known.since);
    let when = match (&known.until, known.undone) {
        (None, false) => format!("since {since}"),
        (None, true) => format!("since {since}, and not here"),
        (Some(until), false) => format!("from {since} until {}", plain(until)),
        (Some(until), true) => format!("from {since} until {}, and not here", plain(until)),
    };
    let what = match known.what {
        Judgement::Wanted => "wanted",
        Judgement::Fix => "a fix",
        Judgement::Bug => "a bug",
    };
    format!("{} ({when}, {what}): {}", plain(&known.reference), plain(&known.note))
}

pub(super) fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

/// The RPC of a finding.
pub(super) fn rpc(method: &str) -> &str {
    method.rsplit('/').next().unwrap_or(method)
}

/// Method, path, kind and transition, on one line.
pub(super) fn signature(finding: &Finding) -> String {
    let transition = finding.transition.as_ref().map(|it| format!("  {it}")).unwrap_or_default();
    plain(&format!("{}  {}  {}{transition}", finding.method, finding.path, finding.kind))
}

/// Until when what a baseline says holds.
pub(super) fn until(expires: Option<&str>) -> String {
    expires.map(|day| format!(", until {}", plain(day))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn no_text_reaches_the_terminal_as_anything_else() {
        let hostile = "a\u{1b}[31mred\u{9b}2J\nline\u{202e}";
        for text in [plain(hostile), shown(&json!(hostile), 99), pretty(&json!({"k": hostile}))] {
            assert!(!text.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{text:?}");
        }
        assert_eq!(plain(hostile).lines().count(), 1);
        let far = |end: &str| json!(format!("{}{end}", "ä".repeat(90)));
        let [before, now] = both(&far("zzz"), &far("zz"), 60);
        assert!(before.starts_with("…ää") && before.ends_with("äzzz\""), "{before}");
        assert!(now.ends_with("äzz\""), "{now}");
        assert_eq!(both(&json!("a"), &json!(null), 60), ["\"a\"", "(absent)"]);
        assert_eq!(
            both(&json!("ab"), &json!("bb"), 3),
            ["\"ab…", "\"bb…"],
            "they differ where they are seen"
        );
        assert_eq!(cut("äöü", 2), "äö…");
        assert_eq!(cut("äö", 2), "äö");
    }
}
