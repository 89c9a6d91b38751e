//! The table of operations: the resources, and the raw form of every unary RPC.

use std::sync::LazyLock;

use cri::{Generation, Method, methods};

use crate::parameters::Parameter;
use crate::resources::{BASE, ROWS, Row};

/// The HTTP method of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Asks for something.
    Get,
    /// Sends a request message.
    Post,
}

/// The part of the API to which an operation belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tag {
    /// The runtime itself.
    Runtime,
    /// Pod sandboxes.
    Pods,
    /// Containers.
    Containers,
    /// Images.
    Images,
    /// RPCs under their own names.
    Rpc,
    /// The gateway itself.
    Gateway,
}

impl Tag {
    /// All of them, in the order in which the document lists them.
    pub(crate) const ALL: [Self; 6] =
        [Self::Runtime, Self::Pods, Self::Containers, Self::Images, Self::Rpc, Self::Gateway];

    /// Its name in the document.
    pub fn name(self) -> &'static str {
        match self {
            Self::Runtime => "runtime",
            Self::Pods => "pods",
            Self::Containers => "containers",
            Self::Images => "images",
            Self::Rpc => "rpc",
            Self::Gateway => "gateway",
        }
    }

    /// What it is about.
    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::Runtime => "The runtime itself.",
            Self::Pods => "Pod sandboxes: what a pod's containers share.",
            Self::Containers => "Containers of pods.",
            Self::Images => "Images that the runtime has.",
            Self::Rpc => {
                "Every unary RPC of CRI under its own path: the request message is the body, the response message the answer."
            }
            Self::Gateway => "The gateway itself. No token is needed.",
        }
    }
}

/// How the request message comes in.
#[derive(Clone, Debug)]
pub enum Input {
    /// As the body.
    Body,
    /// Field by field, from path and query.
    Parameters(Vec<Parameter>),
}

/// One verb on one path, and the RPC behind it.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Its name, unique in the document.
    pub id: String,
    /// The HTTP method.
    pub verb: Verb,
    /// The path, with `{name}` where a parameter stands.
    pub path: String,
    /// The RPC that answers it.
    pub method: &'static Method,
    /// How the request message comes in.
    pub input: Input,
    /// The field of the response, by its proto name, that is absent where the thing asked for isn't there: some runtimes
    /// answer so instead of with `NOT_FOUND`.
    pub found_if: Option<&'static str>,
    /// The part of the API to which it belongs.
    pub tag: Tag,
    /// One line on what it does.
    pub summary: String,
}

/// Everything the API offers from the runtime: the resources in the order of their table, then the RPCs in the order of the
/// schema.
pub fn operations() -> &'static [Operation] {
    static TABLE: LazyLock<Vec<Operation>> =
        LazyLock::new(|| ROWS.iter().filter_map(resource).chain(raw()).collect());
    &TABLE
}

fn resource(row: &'static Row) -> Option<Operation> {
    let method = methods().by_name(Generation::V1, row.rpc)?;
    let request = method.input();
    let parameters = row.parameters.iter().filter_map(|row| Parameter::of(row, &request)).collect();
    Some(Operation {
        id: row.id.to_owned(),
        verb: Verb::Get,
        path: format!("{BASE}{}", row.path),
        method,
        input: Input::Parameters(parameters),
        found_if: row.found_if,
        tag: row.tag,
        summary: row.summary.to_owned(),
    })
}

fn raw() -> impl Iterator<Item = Operation> {
    methods().of(Generation::V1).filter(|method| !method.server_streaming).map(|method| Operation {
        id: format!("call{}", method.name),
        verb: Verb::Post,
        path: method.path.clone(),
        method,
        input: Input::Body,
        found_if: None,
        tag: Tag::Rpc,
        summary: format!("The RPC {}", method.name),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::parameters::Place;

    #[test]
    fn every_row_and_every_unary_rpc_is_an_operation() {
        assert_eq!(operations().len(), ROWS.len() + 36);
    }

    #[test]
    fn ids_and_routes_are_unique() {
        let ids: BTreeSet<_> = operations().iter().map(|operation| &operation.id).collect();
        let routes: BTreeSet<_> =
            operations().iter().map(|operation| (operation.verb, &operation.path)).collect();
        assert_eq!(ids.len(), operations().len());
        assert_eq!(routes.len(), operations().len());
    }

    #[test]
    fn every_parameter_of_the_table_fills_a_field() {
        for row in ROWS {
            let operation = resource(row).unwrap();
            let Input::Parameters(parameters) = operation.input else { panic!("{} has a body", row.id) };
            assert_eq!(parameters.len(), row.parameters.len(), "{}", row.id);
            for parameter in parameters {
                let in_path = row.path.contains(&format!("{{{}}}", parameter.name));
                assert_eq!(in_path, parameter.place == Place::Path, "{} {}", row.id, parameter.name);
            }
        }
    }

    #[test]
    fn what_tells_that_a_thing_is_there_is_a_field_of_the_response() {
        for operation in operations() {
            let Some(name) = operation.found_if else { continue };
            let field = operation.method.output().get_field_by_name(name).unwrap();
            assert!(field.supports_presence(), "{} {name}", operation.id);
        }
    }

    #[test]
    fn resources_only_read() {
        for operation in operations().iter().filter(|operation| operation.verb == Verb::Get) {
            assert_eq!(operation.method.class, cri::Class::ReadOnly, "{}", operation.id);
        }
    }
}
