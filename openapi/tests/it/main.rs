//! The document as a whole: its golden file, its routes, and its schemas against what is printed.

// Helpers outside test functions, where clippy.toml doesn't reach.
#![allow(clippy::unwrap_used, clippy::panic)]

mod samples;
mod schema;

use std::collections::BTreeSet;
use std::path::Path;
use std::{env, fs};

use cri::json::{Defaults, to_value};
use prost_reflect::{DynamicMessage, MessageDescriptor};
use serde_json::{Value, json};

use crate::schema::Schemas;
use critape_openapi::{document, operations};

/// The document as it is committed. With `UPDATE_GOLDEN=1` the test writes it.
#[test]
fn the_committed_document_is_the_one_that_is_served() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("cri-v1.json");
    let mut now = serde_json::to_string_pretty(&document()).unwrap();
    now.push('\n');
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &now).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    if let Some((number, (was, is))) =
        committed.lines().zip(now.lines()).enumerate().find(|(_, (was, is))| was != is)
    {
        panic!("cri-v1.json differs at line {}:\n- {was}\n+ {is}\nrun with UPDATE_GOLDEN=1", number + 1);
    }
    assert_eq!(committed.len(), now.len(), "run with UPDATE_GOLDEN=1");
}

#[test]
fn operation_ids_are_unique() {
    let document = document();
    let mut ids = BTreeSet::new();
    for item in document["paths"].as_object().unwrap().values() {
        for operation in item.as_object().unwrap().values() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} is there twice");
        }
    }
    assert_eq!(ids.len(), operations().len() + 2);
}

#[test]
fn every_operation_says_what_it_is_and_how_it_fails() {
    let document = document();
    for operation in operations() {
        let verb = format!("{:?}", operation.verb).to_lowercase();
        let described = &document["paths"][&operation.path][verb];
        assert!(described["description"].as_str().is_some(), "{} has no description", operation.id);
        for status in ["400", "401", "404", "501", "503", "504", "default"] {
            let response = described["responses"][status]["$ref"].as_str().unwrap();
            let name = response.strip_prefix("#/components/responses/").unwrap();
            let content = &document["components"]["responses"][name]["content"];
            assert!(content["application/problem+json"].is_object(), "{} {status}", operation.id);
        }
    }
}

#[test]
fn every_reference_leads_to_a_component() {
    let document = document();
    let mut references = BTreeSet::new();
    collect_references(&document, &mut references);
    assert!(references.len() > 100);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
}

fn collect_references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            if let Some(Value::String(reference)) = object.get("$ref") {
                found.insert(reference.clone());
            }
            object.values().for_each(|value| collect_references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, found)),
        _ => {}
    }
}

fn messages() -> Vec<MessageDescriptor> {
    let mut found: Vec<MessageDescriptor> = Vec::new();
    let mut open: Vec<_> = operations()
        .iter()
        .flat_map(|operation| [operation.method.input(), operation.method.output()])
        .collect();
    while let Some(message) = open.pop() {
        if found.iter().any(|other| other.full_name() == message.full_name()) {
            continue;
        }
        open.extend(message.fields().filter_map(|field| samples::message_of(&field)));
        found.push(message);
    }
    found
}

#[test]
fn schemas_accept_what_is_printed() {
    let document = document();
    let schemas = Schemas::of(&document);
    let messages = messages();
    assert!(messages.len() > 150, "only {} messages", messages.len());
    for message in messages {
        let name = message.name().to_owned();
        for sample in [samples::filled(&message), DynamicMessage::new(message)] {
            for defaults in [Defaults::Printed, Defaults::LeftOut] {
                let value = to_value(&sample, defaults);
                // Only with defaults are all required fields there; that is how the gateway prints.
                schemas.check(&name, &value, defaults == Defaults::Printed).unwrap_or_else(|reason| {
                    panic!("{name}: {reason}\n{value:#}");
                });
                let properties = &document["components"]["schemas"][&name]["properties"];
                for field in value.as_object().unwrap().keys() {
                    assert!(properties.get(field).is_some(), "{name} does not know {field}");
                }
            }
        }
    }
}

#[test]
fn schemas_refuse_what_is_something_else() {
    let document = document();
    let schemas = Schemas::of(&document);
    let refused = [
        ("StopContainerRequest", json!({"containerId": 7})),
        ("StopContainerRequest", json!({"timeout": 7})),
        ("StopContainerRequest", json!({"id": "x"})),
        ("PodSandboxStateValue", json!({"state": "READY"})),
        ("PortMapping", json!({"hostPort": 1.5})),
        ("DNSConfig", json!({"servers": "10.0.0.1"})),
        ("PodSandboxConfig", json!({"labels": {"a": 1}})),
        ("VersionResponse", json!({"version": "v1"})),
    ];
    for (name, value) in refused {
        assert!(schemas.check(name, &value, true).is_err(), "{name} accepts {value}");
    }
}
