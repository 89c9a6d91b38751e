//! What a replay was told to take for something else: references of images, and ports of the host.

use std::collections::{BTreeSet, HashMap};

/// References and ports of the recording, and what stands for them in the live run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mapped {
    to_live: HashMap<String, String>,
    /// By length, longest first: one may begin like another.
    to_recorded: Vec<(String, String)>,
    ports: BTreeSet<(u16, u16)>,
}

impl Mapped {
    /// From here on `live` stands for this reference. Several may have one live reference: the first is its counterpart.
    pub(crate) fn reference(&mut self, recorded: &str, live: &str) {
        let before = self.to_live.insert(recorded.to_owned(), live.to_owned());
        if let Some(before) = before.filter(|before| before != live) {
            self.to_recorded.retain(|(live, known)| *live != before || known != recorded);
        }
        if !self.to_recorded.iter().any(|(known, _)| known == live) {
            self.to_recorded.push((live.to_owned(), recorded.to_owned()));
            self.to_recorded.sort_by_key(|(live, _)| std::cmp::Reverse(live.len()));
        }
    }

    pub(crate) fn live_reference(&self, recorded: &str) -> Option<&str> {
        self.to_live.get(recorded).map(String::as_str)
    }

    pub(crate) fn port(&mut self, recorded: u16, live: u16) {
        self.ports.insert((recorded, live));
    }

    pub(crate) fn is_port(&self, recorded: u16, live: u16) -> bool {
        self.ports.contains(&(recorded, live))
    }

    /// The text with live references replaced by those of the recording, where they stand as a whole.
    pub(crate) fn recorded_text(&self, text: &str) -> Option<String> {
        if self.to_recorded.is_empty() || !text.contains(['/', ':']) {
            return None;
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        let mut before = None;
        while let Some(first) = rest.chars().next() {
            let found = self.to_recorded.iter().find(|(live, _)| {
                !before.is_some_and(is_of_reference)
                    && rest.strip_prefix(live.as_str()).is_some_and(ends_reference)
            });
            let taken = match found {
                Some((live, recorded)) => {
                    out.push_str(recorded);
                    live.len()
                }
                None => {
                    out.push(first);
                    first.len_utf8()
                }
            };
            before = rest[..taken].chars().next_back();
            rest = &rest[taken..];
        }
        Some(out)
    }
}

fn is_of_reference(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '.' | '_' | '-' | '/' | '@')
}

/// Whether a reference ends before `rest`: a colon or a dot may be the sentence's.
fn ends_reference(rest: &str) -> bool {
    let mut letters = rest.chars();
    match letters.next() {
        None => true,
        Some('.' | ':' | '-' | '_' | '@' | '/') => !letters.next().is_some_and(char::is_alphanumeric),
        Some(letter) => !letter.is_alphanumeric(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped() -> Mapped {
        let mut mapped = Mapped::default();
        mapped.reference("docker.io/library/app:1.3", "localhost:5000/library/app:1.3");
        mapped.reference("app:1.3", "localhost:5000/library/app:1.3");
        mapped.reference("docker.io/library/app", "localhost:5000/library/app");
        mapped
    }

    #[test]
    fn whole_references_are_taken_back_and_no_others() {
        let mapped = mapped();
        let back = |text: &str| mapped.recorded_text(text).unwrap_or_else(|| text.to_owned());
        assert_eq!(back("localhost:5000/library/app:1.3"), "docker.io/library/app:1.3");
        assert_eq!(
            back("pulling \"localhost:5000/library/app:1.3\": no"),
            "pulling \"docker.io/library/app:1.3\": no"
        );
        assert_eq!(back("localhost:5000/library/app:1.3: not found"), "docker.io/library/app:1.3: not found");
        for other in [
            "localhost:5000/library/app:1.36",
            "localhost:5000/library/app:1.3-musl",
            "localhost:5000/library/app-x:1.3",
            "a.localhost:5000/library/app:1.3",
            "nothing",
            "ä/ö",
        ] {
            assert_eq!(back(other), other);
        }
    }

    #[test]
    fn what_a_reference_is_mapped_to_may_be_learnt_better() {
        let mut mapped = mapped();
        mapped.reference("docker.io/library/app", "localhost:5000/library/app@sha256:1");
        assert_eq!(
            mapped.live_reference("docker.io/library/app"),
            Some("localhost:5000/library/app@sha256:1")
        );
        assert_eq!(
            mapped.recorded_text("x/localhost:5000/library/app").unwrap(),
            "x/localhost:5000/library/app"
        );
        assert_eq!(
            mapped.recorded_text("localhost:5000/library/app@sha256:1").unwrap(),
            "docker.io/library/app"
        );
    }
}
