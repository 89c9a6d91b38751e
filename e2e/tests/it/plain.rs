//! Output of clients without what differs from run to run: ids, times, sizes and pids.

/// Shows these ids as what they name, also where they are cut short as in tables.
pub fn named(text: &str, names: &[(String, &str)]) -> String {
    names.iter().fold(text.to_owned(), |text, (id, name)| {
        let name = format!("<{name}>");
        // 13 digits are what crictl's tables show.
        let text = text.replace(id.as_str(), &name);
        if id.len() == 64 { text.replace(&id[..13], &name) } else { text }
    })
}

/// The same with times, pids, and what networks and namespaces are called put aside.
pub fn steady(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| cells(without_log_head(line))).collect();
    lines.join("\n")
}

/// The same with all figures put aside too, as for use of memory and time. A time may be 0: that of nothing measured yet.
pub fn without_figures(text: &str) -> String {
    let text = steady(text).replace("<time>", "<figure>");
    words(&text, |word| word.starts_with(|c: char| c.is_ascii_digit()).then_some("<figure>"))
}

/// The lines that only one of the two has at its place.
pub fn difference(one: &str, other: &str) -> Vec<String> {
    let (mut ones, mut others) = (one.lines(), other.lines());
    let pairs = std::iter::from_fn(|| match (ones.next(), others.next()) {
        (None, None) => None,
        pair => Some(pair),
    });
    let missing = "(nothing)";
    pairs
        .filter(|(one, other)| one != other)
        .map(|(one, other)| format!("{} | {}", one.unwrap_or(missing), other.unwrap_or(missing)))
        .collect()
}

/// A line of klog begins with its time, as in `E1124 22:44:35.588265  4378 remote_runtime.go:636] what was wrong`.
fn without_log_head(line: &str) -> &str {
    let is_head = |head: &str| {
        head.starts_with(['E', 'W', 'I']) && head.split(' ').next().is_some_and(|word| is_number(&word[1..]))
    };
    line.split_once("] ").filter(|(head, _)| is_head(head)).map_or(line, |(_, said)| said)
}

/// A line of a table: how far its cells are apart depends on what is in the others. Ages stand in cells of their own.
fn cells(line: &str) -> String {
    let indent: String = line.chars().take_while(|c| c.is_whitespace()).collect();
    let cells: Vec<String> = line
        .split("  ")
        .map(str::trim)
        .filter(|cell| !cell.is_empty())
        .map(|cell| if cell.ends_with(" ago") { "<age>".to_owned() } else { words(cell, varying) })
        .collect();
    let line = indent + &cells.join("  ");
    match line.trim_start().strip_prefix("\"pid\": ") {
        Some(_) => "\"pid\": <pid>".to_owned(),
        None => line,
    }
}

/// Replaces words, which are runs of letters, digits and what holds times and addresses together.
fn words(text: &str, replaced: impl Fn(&str) -> Option<&'static str>) -> String {
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '.' | '%');
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(part) {
        let (before, word) = rest.split_at(start);
        let end = word.find(|c| !part(c)).unwrap_or(word.len());
        let (word, after) = word.split_at(end);
        out.push_str(before);
        let of_process = out.ends_with("/proc/") && is_number(word);
        out.push_str(if of_process { "<pid>" } else { replaced(word).unwrap_or(word) });
        rest = after;
    }
    out + rest
}

/// What stands for a word that is another in each run.
fn varying(word: &str) -> Option<&'static str> {
    let hex = |text: &str| text.chars().all(|c| c.is_ascii_hexdigit());
    let is_time = |word: &str| {
        let bytes = word.as_bytes();
        bytes.len() >= 20 && bytes[4] == b'-' && bytes[10] == b'T' && bytes[13] == b':'
    };
    if is_time(word) || word.len() == 19 && is_number(word) {
        Some("<time>")
    } else if word.len() == 64 && hex(word) {
        // Of an exec, say. Those of images are not alone: `sha256:…`.
        Some("<id>")
    } else if word.len() == 17 && word.split(':').all(|part| part.len() == 2 && hex(part)) {
        Some("<mac>")
    } else if word.strip_prefix("veth").is_some_and(hex) {
        Some("<veth>")
    } else if word.len() == 40 && word.strip_prefix("cni-").is_some_and(|uuid| uuid.split('-').all(hex)) {
        Some("<netns>")
    } else {
        None
    }
}

fn is_number(word: &str) -> bool {
    word.chars().all(|c| c.is_ascii_digit())
}
