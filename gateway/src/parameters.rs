//! Path and query as the JSON of a request message.

use axum::extract::Query;
use axum::http::Uri;
use critape_openapi::{Form, Parameter, Place};
use serde_json::{Map, Value};

use crate::problem::{self, Kind, Problem, Violation};

/// The request message, from the parameters in the path and after the question mark.
pub(crate) fn read(
    parameters: &[Parameter],
    in_path: &[(String, String)],
    uri: &Uri,
) -> Result<Value, Problem> {
    let in_query = query(uri)?;
    let mut message = Value::Object(Map::new());
    let mut violations = Vec::new();
    for (place, pairs) in [(Place::Path, in_path), (Place::Query, &in_query)] {
        for (at, (name, text)) in pairs.iter().enumerate() {
            let mut violate = |detail| violations.push(violation(name, detail));
            let known =
                parameters.iter().find(|parameter| parameter.place == place && parameter.name == *name);
            let Some(parameter) = known else {
                violate(unknown(name, parameters));
                continue;
            };
            if pairs[..at].iter().any(|(other, _)| other == name) {
                violate(format!("{name} is given twice"));
                continue;
            }
            match value(&parameter.form, text) {
                Ok(value) => set(&mut message, &parameter.field, value),
                Err(detail) => violate(format!("{name} {detail}")),
            }
        }
    }
    if violations.is_empty() {
        Ok(message)
    } else {
        Err(Problem::violations(Kind::InvalidParameters, violations))
    }
}

/// Nothing may stand after the question mark of an operation whose request is its body.
pub(crate) fn refuse(uri: &Uri) -> Result<(), Problem> {
    read(&[], &[], uri).map(drop)
}

fn violation(name: &str, detail: String) -> Violation {
    Violation { at: problem::Place::Parameter(name.to_owned()), detail }
}

fn query(uri: &Uri) -> Result<Vec<(String, String)>, Problem> {
    Query::try_from_uri(uri)
        .map(|Query(pairs)| pairs)
        .map_err(|error| Problem::new(Kind::InvalidParameters, error.body_text()))
}

fn unknown(name: &str, parameters: &[Parameter]) -> String {
    let known: Vec<_> = parameters
        .iter()
        .filter(|parameter| parameter.place == Place::Query)
        .map(|parameter| parameter.name)
        .collect();
    match known.as_slice() {
        [] => format!("{name} is not a parameter of this operation, which takes none"),
        known => format!("{name} is not a parameter of this operation, which takes {}", known.join(", ")),
    }
}

fn value(form: &Form, text: &str) -> Result<Value, String> {
    match form {
        Form::Text if text.is_empty() => Err("is empty: leave it out, or give it a value".to_owned()),
        Form::Text => Ok(text.into()),
        Form::Flag => match text {
            "" | "true" => Ok(true.into()),
            "false" => Ok(false.into()),
            other => Err(format!("takes true or false, not {other}")),
        },
        Form::Choice(choices) => {
            let chosen = choices.iter().find(|choice| choice.word == text);
            chosen.map(|choice| choice.value.as_str().into()).ok_or_else(|| {
                let words: Vec<_> = choices.iter().map(|choice| choice.word.as_str()).collect();
                format!("takes one of {}, not {text}", words.join(", "))
            })
        }
        Form::Labels => labels(text),
    }
}

fn labels(text: &str) -> Result<Value, String> {
    let mut labels = Map::new();
    for pair in text.split(',') {
        let (key, value) = label(pair).ok_or_else(|| {
            format!("takes key=value pairs separated by commas; {pair:?} is none, and CRI selects by equality only")
        })?;
        if labels.insert(key.to_owned(), value.into()).is_some() {
            return Err(format!("has the key {key} twice"));
        }
    }
    Ok(Value::Object(labels))
}

fn label(pair: &str) -> Option<(&str, &str)> {
    let (key, value) = pair.split_once('=')?;
    let value = value.strip_prefix('=').unwrap_or(value);
    (!key.is_empty() && !key.contains('!') && !value.contains(['=', '!'])).then_some((key, value))
}

/// Sets the field at the end of this path, making the messages on the way.
fn set(message: &mut Value, path: &[&str], value: Value) {
    let field = path.iter().fold(message, |message, name| &mut message[*name]);
    *field = value;
}

#[cfg(test)]
mod tests {
    use super::*;
    use critape_openapi::{Input, operations};
    use serde_json::json;

    fn list_containers(query: &'static str) -> Result<Value, String> {
        let operation = operations().iter().find(|operation| operation.id == "listContainers").unwrap();
        let Input::Parameters(parameters) = &operation.input else { panic!("has a body") };
        let uri = format!("/containers?{query}").parse().unwrap();
        read(parameters, &[], &uri)
            .map_err(|problem| problem.render("/", "1").status().to_string() + &format!("{problem:?}"))
    }

    #[test]
    fn parameters_fill_fields() {
        assert_eq!(list_containers(""), Ok(json!({})));
        assert_eq!(
            list_containers("state=running&pod=a%2Fb&labelSelector=a%3Db%2Cc%3D%3Dd"),
            Ok(json!({"filter": {
                "state": {"state": "CONTAINER_RUNNING"},
                "pod_sandbox_id": "a/b",
                "label_selector": {"a": "b", "c": "d"},
            }}))
        );
    }

    #[test]
    fn everything_that_is_wrong_is_told() {
        let problem = list_containers("status=x&id=&state=up&pod=a&pod=b&labelSelector=a!%3Db").unwrap_err();
        for part in [
            "status is not a parameter of this operation, which takes id, state, pod, labelSelector",
            "id is empty",
            "state takes one of",
            "pod is given twice",
            "CRI selects by equality only",
        ] {
            assert!(problem.contains(part), "{part}: {problem}");
        }
    }

    #[test]
    fn flags_without_a_value_are_true() {
        assert_eq!(value(&Form::Flag, ""), Ok(true.into()));
        assert_eq!(value(&Form::Flag, "false"), Ok(false.into()));
        assert!(value(&Form::Flag, "1").is_err());
    }

    #[test]
    fn selectors_are_pairs() {
        assert_eq!(labels("a="), Ok(json!({"a": ""})));
        for wrong in ["", "a", "=b", "a=b,", "a!=b", "a=b=c", "a in (b)", "a=b,a=c"] {
            assert!(labels(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_operation_with_a_body_takes_no_parameters() {
        assert!(refuse(&Uri::from_static("/x")).is_ok());
        assert!(refuse(&Uri::from_static("/x?a=b")).is_err());
    }
}
