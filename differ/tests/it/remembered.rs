//! What a comparer remembers of lists without an order saves work and changes nothing.

use std::sync::LazyLock;

use bytes::Bytes;
use cri::{Method, v1};
use critape_calls::{IdentityMap, Live, Recorded};
use critape_differ::{Compared, Comparer, Memory, NoTrajectories, Rules};
use prost::Message as _;
use prost_reflect::{DynamicMessage, Value};

use crate::{compare, filled, met, mutants};

/// Enough for examples of each rule to be no longer looked for.
const ROUNDS: u64 = 110;
/// One of so many mutants is looked at: there are thousands.
const EVERY: usize = 23;

static RULES: LazyLock<Rules> = LazyLock::new(Rules::standard);

fn remembering(
    memory: &Memory,
    method: &Method,
    ids: &IdentityMap,
    recorded: &DynamicMessage,
    live: &DynamicMessage,
) -> Compared {
    let bytes = |message: &DynamicMessage| Bytes::from(message.encode_to_vec());
    Comparer::new(&RULES, ids, memory).answers(
        method,
        Recorded(&bytes(recorded)),
        Live(&bytes(live)),
        &NoTrajectories,
    )
}

/// The message with all numbers that count something as much larger.
fn later(message: &DynamicMessage, by: u64) -> DynamicMessage {
    let mut later = message.clone();
    for (field, value) in message.fields() {
        later.set_field(&field, grown(value, by));
    }
    later
}

fn grown(value: &Value, by: u64) -> Value {
    match value {
        Value::Message(message) => Value::Message(later(message, by)),
        Value::List(items) => Value::List(items.iter().map(|item| grown(item, by)).collect()),
        Value::U64(value) => Value::U64(value + by),
        Value::I64(value) => Value::I64(value + by as i64),
        Value::F64(value) => Value::F64(value + by as f64),
        other => other.clone(),
    }
}

#[test]
fn remembering_changes_nothing_that_is_said() {
    for rpc in ["ListContainerStats", "ListPodSandboxStats"] {
        let method = cri::methods().by_name(cri::Generation::V1, rpc).unwrap();
        let message = filled(&method.output(), &mut 0, 7);
        let ids = met(method, &message);
        let memory = Memory::default();
        for round in 0..ROUNDS {
            let (recorded, live) = (later(&message, round), later(&message, 2 * round));
            let said = remembering(&memory, method, &ids, &recorded, &live);
            let meant = compare(method, &ids, &recorded, &live);
            assert_eq!(said.divergences, meant.divergences, "{rpc}, round {round}");
            assert_eq!(said.passed, meant.passed, "{rpc}, round {round}");
        }
        let grown = later(&message, 7);
        let mut number = 0;
        mutants(&message, &mut |mutant| {
            number += 1;
            if number % EVERY != 0 {
                return;
            }
            for (recorded, live) in [(&grown, &mutant.value), (&mutant.value, &grown)] {
                let said = remembering(&memory, method, &ids, recorded, live);
                let meant = compare(method, &ids, recorded, live);
                let what = format!("{rpc}: {} {}", mutant.path, mutant.change);
                assert_eq!(said.divergences, meant.divergences, "{what}");
                assert_eq!(said.passed, meant.passed, "{what}");
            }
        });
        assert!(number > EVERY, "{number}");
    }
}

#[test]
fn another_element_is_found_however_often_its_like_agreed() {
    let method = cri::methods().by_name(cri::Generation::V1, "ListContainers").unwrap();
    let container = |number: u32| v1::Container {
        id: format!("{number:064x}"),
        image_ref: format!("registry.example/team/app:{number}"),
        created_at: 1_700_000_000_000_000_000,
        ..Default::default()
    };
    let list = v1::ListContainersResponse { containers: (0..100).map(container).collect() };
    let mut other = list.clone();
    other.containers[70].image_ref.push('x');
    let (list, other) = (Bytes::from(list.encode_to_vec()), Bytes::from(other.encode_to_vec()));
    let (ids, memory) = (IdentityMap::default(), Memory::default());
    let say = |live: &Bytes| {
        let comparer = Comparer::new(&RULES, &ids, &memory);
        comparer.answers(method, Recorded(&list), Live(live), &NoTrajectories).divergences.len()
    };
    assert_eq!([say(&list), say(&list), say(&other), say(&list), say(&other)], [0, 0, 1, 0, 1]);
}
