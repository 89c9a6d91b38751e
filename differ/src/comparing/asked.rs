//! What a list was asked for, and what that says of an element that it has on one side alone.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{Divergence, Evidence, Kind};

/// Characters shown of what an element has in place of what was asked for.
const MAX_SHOWN: usize = 100;

/// What a call for a list asked for. Empty where it asked for everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// An id, or how it begins.
    pub(crate) id: Option<String>,
    /// The sandbox whose containers are asked for.
    pub(crate) pod: Option<String>,
    /// As `CONTAINER_RUNNING`.
    pub(crate) state: Option<String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) image: Option<String>,
}

/// What an element that a list has on one side alone has to do with what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    /// It is not what was asked for: which part of the filter it does not fit, and what it has instead.
    Unasked { asked: String, given: String },
    /// It is there already.
    Twice,
    /// One more, or one less, of what was asked for as far as can be seen.
    Filtered { asked: String, is_more: bool },
}

impl Asked {
    /// Reads the filter of the call that was made here; what was asked for may be another id than when it was recorded.
    pub(crate) fn of(evidence: &Evidence) -> Self {
        let call = evidence.live.as_ref().or(evidence.recorded.as_ref());
        let Some(filter) = call.map(|call| &call["requests"][0]["filter"]) else { return Self::default() };
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let labels = filter["labelSelector"].as_object().into_iter().flatten();
        Self {
            id: text(&filter["id"]),
            pod: text(&filter["podSandboxId"]),
            state: text(&filter["state"]["state"]),
            labels: labels
                .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
                .collect(),
            image: text(&filter["image"]["image"]),
        }
    }

    /// The part of the filter that an element does not fit, and what it has there. Nothing where that can't be seen.
    fn unfit(&self, element: &Value) -> Option<(String, String)> {
        // Statistics name what they are of apart.
        let own = if element["attributes"].is_object() { &element["attributes"] } else { element };
        let differs = |name: &str, asked: &Option<String>, given: &Value| {
            let (asked, given) = asked.as_deref().zip(given.as_str())?;
            (!given.starts_with(asked)).then(|| (format!("{name} {asked}"), given.to_owned()))
        };
        differs("state", &self.state, &own["state"])
            .or_else(|| differs("id", &self.id, &own["id"]))
            .or_else(|| differs("pod", &self.pod, &own["podSandboxId"]))
            .or_else(|| self.unfit_label(own))
            .or_else(|| self.unfit_image(own))
    }

    fn unfit_label(&self, element: &Value) -> Option<(String, String)> {
        let given = element["labels"].as_object()?;
        let of = |key: &str| given.get(key).and_then(Value::as_str);
        let (key, value) = self.labels.iter().find(|(key, value)| of(key) != Some(value.as_str()))?;
        let given = of(key).map_or_else(|| "no such label".to_owned(), |given| format!("{key}={given}"));
        Some((format!("label {key}={value}"), given))
    }

    fn unfit_image(&self, element: &Value) -> Option<(String, String)> {
        let asked = self.image.as_ref()?;
        let names = ["repoTags", "repoDigests"].into_iter().filter_map(|name| element[name].as_array());
        let names: Vec<&str> = names.flatten().chain([&element["id"]]).filter_map(Value::as_str).collect();
        let fits = names.iter().any(|name| name.contains(asked.as_str()));
        (!fits).then(|| (format!("image {asked}"), names.first().copied().unwrap_or_default().to_owned()))
    }

    /// In words; `None` where everything was asked for.
    fn words(&self) -> Option<String> {
        let parts = [("state", &self.state), ("id", &self.id), ("pod", &self.pod), ("image", &self.image)];
        let parts = parts.iter().filter_map(|(name, value)| Some(format!("{name} {}", value.as_ref()?)));
        let labels = self.labels.iter().map(|(key, value)| format!("label {key}={value}"));
        let words: Vec<String> = parts.chain(labels).collect();
        (!words.is_empty()).then(|| words.join(", "))
    }
}

impl Listed {
    /// Of a finding that is met for the first time. `None` where the list was asked for whole, and has nothing twice.
    pub(crate) fn of(divergence: &Divergence, evidence: &Evidence) -> Option<Self> {
        if divergence.kind != Kind::Presence || !divergence.path.is_list_of_root() {
            return None;
        }
        let filter = Asked::of(evidence);
        let is_more = divergence.transition.as_deref() == Some("absent→present");
        let by_filter = || filter.words().map(|asked| Self::Filtered { asked, is_more });
        if !is_more {
            return by_filter();
        }
        let list = divergence.path.to_string();
        let answers = evidence.live.as_ref()?["responses"].as_array()?;
        let all =
            answers.iter().filter_map(|answer| answer[list.trim_end_matches("[]")].as_array()).flatten();
        let id = id(&divergence.live)?;
        // As the evidence has it: in full, and sealed as the request is.
        let mut same = all.filter(|other| self::id(other) == Some(id));
        if let Some((asked, given)) = same.next().and_then(|element| filter.unfit(element)) {
            return Some(Self::Unasked { asked, given: given.chars().take(MAX_SHOWN).collect() });
        }
        same.next().map(|_| Self::Twice).or_else(by_filter)
    }

    /// As the rules for severities know it, where it says more than that there is one more or one less.
    pub(crate) fn transition(&self) -> Option<&'static str> {
        match self {
            Self::Unasked { .. } => Some("asked→unasked"),
            Self::Twice => Some("once→twice"),
            Self::Filtered { .. } => None,
        }
    }

    /// One sentence about it.
    pub(crate) fn summary(&self, rpc: &str, path: &str) -> String {
        match self {
            Self::Unasked { asked, given } => {
                format!("{rpc} gives in {path} what was not asked for: {asked} was, and this has {given}")
            }
            Self::Twice => format!("{rpc} lists the same in {path} twice"),
            Self::Filtered { asked, is_more } => {
                let how = if *is_more { "now" } else { "no longer" };
                format!("{rpc} {how} gives {path}, asked for {asked}")
            }
        }
    }
}

fn id(element: &Value) -> Option<&str> {
    [&element["id"], &element["attributes"]["id"]]
        .into_iter()
        .find_map(|id| id.as_str().filter(|id| !id.is_empty()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Path, Severity};

    fn listed(filter: &Value, element: &Value, answer: &Value) -> Option<Listed> {
        let divergence = Divergence {
            path: Path::root("containers[]"),
            kind: Kind::Presence,
            transition: Some("absent→present".into()),
            recorded: Value::Null,
            live: element.clone(),
            rule: "exact".into(),
            severity: Severity::Behaviour,
            settles: false,
            about: None,
        };
        let live = json!({"requests": [{"filter": filter}], "responses": [{"containers": answer}, {}]});
        Listed::of(&divergence, &Evidence { live: Some(live), ..Evidence::default() })
    }

    #[test]
    fn what_does_not_fit_the_filter_was_not_asked_for() {
        let element =
            json!({"id": "abc", "state": "CONTAINER_EXITED", "podSandboxId": "p", "labels": {"a": "1"}});
        let of = |filter: Value| listed(&filter, &element, &json!([element]));
        for (filter, expected) in [
            (json!({"state": {"state": "CONTAINER_RUNNING"}}), "state CONTAINER_RUNNING"),
            (json!({"id": "b"}), "id b"),
            (json!({"podSandboxId": "q"}), "pod q"),
            (json!({"labelSelector": {"a": "1", "b": "2"}}), "label b=2"),
            (json!({"image": {"image": "app:1"}}), "image app:1"),
        ] {
            let Some(Listed::Unasked { asked, .. }) = of(filter) else { panic!("{expected}") };
            assert_eq!(asked, expected);
        }
        let all = json!({"id": "ab", "state": {"state": "CONTAINER_EXITED"}, "labelSelector": {"a": "1"}});
        let asked = "state CONTAINER_EXITED, id ab, label a=1".to_owned();
        assert_eq!(of(all), Some(Listed::Filtered { asked, is_more: true }));
        assert_eq!(of(Value::Null), None);
    }

    #[test]
    fn statistics_name_what_they_are_of_apart() {
        let element = json!({"attributes": {"id": "abc", "labels": {}}});
        let found = listed(&json!({"labelSelector": {"a": "1"}}), &element, &json!([element])).unwrap();
        let expected = "M gives in stats[] what was not asked for: label a=1 was, and this has no such label";
        assert_eq!(found.summary("M", "stats[]"), expected);
        let of_pod = listed(&json!({"podSandboxId": "p"}), &element, &json!([element])).unwrap();
        assert_eq!(of_pod.summary("M", "stats[]"), "M now gives stats[], asked for pod p");
    }

    #[test]
    fn what_is_listed_twice_is_told() {
        let element = json!({"id": "abc"});
        assert_eq!(listed(&Value::Null, &element, &json!([element, element])), Some(Listed::Twice));
        assert_eq!(listed(&Value::Null, &element, &json!([element, {"id": "d"}])), None);
    }
}
