//! Secrets inside texts: those that are known, and credentials in URLs.

use std::ops::Range;

use memchr::memmem;

use super::known::Known;
use super::token::prefixes;

/// What of a text must be sealed: in order, not overlapping, and never a part of a character.
pub(crate) fn secrets(known: &mut Known, text: &[u8]) -> Vec<Range<usize>> {
    let mut found = known_secrets(known, text);
    prefixes(text, &mut found);
    tidy(text, found)
}

/// The same, for what will not be opened again: tokens in it may stay.
pub(crate) fn known_secrets(known: &mut Known, text: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    known.find(text, &mut found);
    urls(text, &mut found);
    tidy(text, found)
}

/// The same for the value of `grpc-message`, which is percent-encoded: secrets are found in what it says, and the ranges are those of
/// the value as it was sent.
pub(crate) fn secrets_in_encoded(known: &mut Known, value: &[u8]) -> Vec<Range<usize>> {
    let mut found = secrets(known, value);
    let (decoded, places) = decode(value);
    if decoded.len() != value.len() {
        let place = |at: usize| places.get(at).copied().unwrap_or(value.len());
        found.extend(secrets(known, &decoded).into_iter().map(|range| place(range.start)..place(range.end)));
    }
    tidy(value, found)
}

/// Percent-decoded, and for each byte where it stood.
fn decode(value: &[u8]) -> (Vec<u8>, Vec<usize>) {
    let (mut decoded, mut places) = (Vec::with_capacity(value.len()), Vec::with_capacity(value.len()));
    let hex = |at: usize| value.get(at).and_then(|digit| char::from(*digit).to_digit(16));
    let mut at = 0;
    while at < value.len() {
        places.push(at);
        match (value[at], hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, ..) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    (decoded, places)
}

/// Puts ranges in order, joins what overlaps, and widens what would cut a character of UTF-8 in two.
pub(crate) fn tidy(text: &[u8], mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    if ranges.is_empty() {
        return ranges;
    }
    let continues = |at: usize| text.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    for range in &mut ranges {
        while range.start > 0 && continues(range.start) {
            range.start -= 1;
        }
        while continues(range.end) {
            range.end += 1;
        }
    }
    ranges.sort_by_key(|range| (range.start, range.end));
    let mut tidy: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match tidy.last_mut() {
            Some(last) if range.start < last.end => last.end = last.end.max(range.end),
            _ => tidy.push(range),
        }
    }
    tidy
}

/// The user and password of every URL, and the values of its query: signatures of registries stand there.
fn urls(text: &[u8], found: &mut Vec<Range<usize>>) {
    let mut at = 0;
    while let Some(scheme) = memmem::find(&text[at..], b"://") {
        let start = at + scheme + 3;
        let ends =
            |byte: &u8| byte.is_ascii_whitespace() || byte.is_ascii_control() || b"\"'<>`".contains(byte);
        let end = text[start..].iter().position(ends).map_or(text.len(), |length| start + length);
        let url = &text[start..end];
        let authority = url.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(url.len());
        if let Some(user) = url[..authority].iter().rposition(|byte| *byte == b'@') {
            found.push(start..start + user);
        }
        if let Some(query) = url.iter().position(|byte| *byte == b'?') {
            values(start + query + 1, &url[query + 1..], found);
        }
        at = end;
    }
}

/// The values of a query that stands at `start`.
fn values(start: usize, query: &[u8], found: &mut Vec<Range<usize>>) {
    let mut at = start;
    for pair in query.split(|byte| *byte == b'&') {
        if let Some(equals) = pair.iter().position(|byte| *byte == b'=')
            && equals + 1 < pair.len()
        {
            found.push(at + equals + 1..at + pair.len());
        }
        at += pair.len() + 1;
    }
}

/// The last part of a URL, which is its token; all of it where it has no parts.
pub(crate) fn url_token(url: &[u8]) -> Range<usize> {
    let host = url.windows(3).position(|part| part == b"://").map_or(0, |scheme| scheme + 3);
    let path = url[host..].iter().position(|byte| *byte == b'/').map(|slash| host + slash + 1);
    let Some(path) = path else { return 0..url.len() };
    let query = url.iter().position(|byte| *byte == b'?').unwrap_or(url.len());
    let Some(parts) = url.get(path..query) else { return 0..url.len() };
    let last = parts.iter().rposition(|byte| *byte == b'/').map_or(path, |slash| path + slash + 1);
    if last == url.len() { 0..url.len() } else { last..url.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(secrets: &[&str]) -> Known {
        let mut known = Known::default();
        secrets.iter().for_each(|secret| assert!(known.learn(secret.as_bytes())));
        known
    }

    fn parts<'a>(text: &'a str, ranges: &[Range<usize>]) -> Vec<&'a str> {
        ranges.iter().map(|range| &text[range.clone()]).collect()
    }

    #[test]
    fn credentials_in_urls_are_found() {
        let text = r#"Get "https://bob:pw@host/a?X-Sig=abc&empty=&k=v#f": 403, see http://x/?a=b, and ://"#;
        let found = secrets(&mut known(&[]), text.as_bytes());
        assert_eq!(parts(text, &found), ["bob:pw", "abc", "v#f", "b,"]);
    }

    #[test]
    fn secrets_are_found_behind_percent_signs() {
        let value = "exec %22sl%C3%A9ep 10%22%3A sealed:v1:x";
        let found = secrets_in_encoded(&mut known(&["sléep 10"]), value.as_bytes());
        assert_eq!(parts(value, &found), ["sl%C3%A9ep 10", "sealed:v1:"]);
        // What is no encoding stands for itself.
        let value = "so 100% sure%";
        let found = secrets_in_encoded(&mut known(&["100% sure"]), value.as_bytes());
        assert_eq!(parts(value, &found), ["100% sure"]);
    }

    #[test]
    fn ranges_are_joined_and_cut_no_character() {
        let tidied = |text: &'static str, ranges: &[(usize, usize)]| {
            let ranges = ranges.iter().map(|(start, end)| *start..*end).collect();
            parts(text, &tidy(text.as_bytes(), ranges))
        };
        assert_eq!(tidied("aéa", &[(2, 3), (0, 1)]), ["a", "é"]);
        assert_eq!(tidied("aéa", &[(0, 2)]), ["aé"]);
        assert_eq!(tidied("abcdef", &[(3, 5), (0, 4)]), ["abcde"]);
    }

    #[test]
    fn the_token_of_a_url_is_its_end() {
        let token = |url: &'static str| &url[url_token(url.as_bytes())];
        assert_eq!(token("http://127.0.0.1:40/exec/AbCd"), "AbCd");
        assert_eq!(token("http://127.0.0.1:40/exec/AbCd?x=/y"), "AbCd?x=/y");
        assert_eq!(token("http://127.0.0.1:40/exec/"), "http://127.0.0.1:40/exec/");
        assert_eq!(token("http://127.0.0.1"), "http://127.0.0.1");
        assert_eq!(token("/exec/AbCd"), "AbCd");
        assert_eq!(token("x?y/z"), "x?y/z");
    }
}
