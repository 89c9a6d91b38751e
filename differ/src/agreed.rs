//! Elements of lists that were found to agree, so that the next list that holds the same two need not be read.
//!
//! A node lists the same hundred pods every second. Most elements are byte for byte what they were a second ago, on either side;
//! what was said of the two then holds now, as long as nothing but the rules and the ids was asked.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;

use bytes::{Bytes, BytesMut};
use cri::Method;
use cri::wire::{WireField, fields, text_at};
use foldhash::quality::RandomState;
use prost_reflect::{Kind as FieldKind, MessageDescriptor};

use crate::comparer::{Compared, Comparer};
use crate::{ListOrder, Path};

/// What was said of two elements that agree.
#[derive(Debug)]
struct Agreement {
    recorded: u64,
    live: u64,
    passed: BTreeMap<String, u64>,
}

/// Where the id is in the elements of a list: field numbers. `None` where the field is no list of that kind.
type KeyPath = Option<Vec<u32>>;

/// Pairs of elements that agree, by list and recorded id.
#[derive(Debug, Default)]
pub(crate) struct Agreed {
    pairs: HashMap<(ListName, String), Agreement, RandomState>,
    lists: HashMap<ListName, KeyPath>,
}

/// The request path of a method, and the number of a field of its response.
type ListName = (String, u32);

/// Two answers without the elements that are known to agree.
pub(crate) struct Reduced {
    pub(crate) recorded: Bytes,
    pub(crate) live: Bytes,
    /// What was said of those that were left out.
    pub(crate) compared: Compared,
    /// Hashes of the elements that are left, by list and id.
    left: Left,
}

#[derive(Default)]
struct Left {
    recorded: HashMap<(u32, String), u64>,
    live: HashMap<(u32, String), u64>,
}

/// Two elements of a list that agree: field, both ids as they are, and what rules let pass.
#[derive(Debug)]
pub(crate) struct AgreeingPair {
    pub(crate) list: Path,
    pub(crate) recorded: String,
    pub(crate) live: String,
    pub(crate) passed: BTreeMap<String, u64>,
}

/// Passed for reasons that hold for this read alone.
pub(crate) const MOMENTARY: [&str; 2] = ["later-state", "state-was-changing"];

/// Leaves out of two answers what is known to agree. `None` where one is no message.
pub(crate) fn reduce(
    comparer: &Comparer<'_>,
    agreed: &RefCell<Agreed>,
    method: &Method,
    recorded: &Bytes,
    live: &Bytes,
) -> Option<Reduced> {
    let mut agreed = agreed.borrow_mut();
    let mut keyed = |message: &Bytes| -> Option<Vec<Element>> {
        fields(message).map(|field| Some(agreed.element(comparer, method, field.ok()?, message))).collect()
    };
    let (before, mut now) = (keyed(recorded)?, keyed(live)?);
    let by_id: HashMap<(u32, String), usize> = now
        .iter()
        .enumerate()
        .filter_map(|(index, element)| {
            Some(((element.number, comparer.ids.to_recorded(element.id.as_deref()?)), index))
        })
        .collect();
    let mut reduced = Reduced {
        recorded: Bytes::new(),
        live: Bytes::new(),
        compared: Compared::default(),
        left: Left::default(),
    };
    let mut kept = BytesMut::new();
    for element in before {
        let partner = element.id.as_ref().and_then(|id| by_id.get(&(element.number, id.clone())));
        if let (Some(id), Some(partner)) = (&element.id, partner)
            && let Some(passed) = agreed.passed(method, &element, id, &now[*partner])
        {
            reduced.compared.merge(Compared { passed: passed.clone(), ..Compared::default() });
            now[*partner].is_settled = true;
            continue;
        }
        kept.extend_from_slice(&element.whole);
        if let Some(id) = element.id {
            reduced.left.recorded.insert((element.number, id), element.hash);
        }
    }
    reduced.recorded = kept.split().freeze();
    for element in now.into_iter().filter(|element| !element.is_settled) {
        kept.extend_from_slice(&element.whole);
        if let Some(id) = element.id {
            reduced.left.live.insert((element.number, id), element.hash);
        }
    }
    reduced.live = kept.freeze();
    Some(reduced)
}

/// Remembers pairs that agree.
pub(crate) fn remember(
    agreed: &RefCell<Agreed>,
    method: &Method,
    reduced: Reduced,
    pairs: Vec<AgreeingPair>,
) {
    let mut agreed = agreed.borrow_mut();
    for pair in pairs {
        let name = pair.list.to_string();
        let Some(field) = method.output().get_field_by_name(name.trim_end_matches("[]")) else { continue };
        let number = field.number();
        let hashes = reduced
            .left
            .recorded
            .get(&(number, pair.recorded.clone()))
            .zip(reduced.left.live.get(&(number, pair.live)));
        if let Some((recorded, live)) = hashes {
            let agreement = Agreement { recorded: *recorded, live: *live, passed: pair.passed };
            agreed.pairs.insert(((method.path.clone(), number), pair.recorded), agreement);
        }
    }
}

/// A field of an answer.
struct Element {
    number: u32,
    whole: Bytes,
    /// Of an element of a list whose elements have one.
    id: Option<String>,
    hash: u64,
    is_settled: bool,
}

impl Agreed {
    fn element(
        &mut self,
        comparer: &Comparer<'_>,
        method: &Method,
        field: WireField<'_>,
        message: &Bytes,
    ) -> Element {
        let name = (method.path.clone(), field.number);
        let key = self.lists.entry(name).or_insert_with(|| key_path(comparer, method, field.number));
        let id = key.as_ref().filter(|_| field.is_delimited).and_then(|key| text_at(field.content, key));
        let id = id.filter(|id| !id.is_empty()).map(str::to_owned);
        let hash = if id.is_some() { self.pairs.hasher().hash_one(field.content) } else { 0 };
        Element { number: field.number, whole: message.slice_ref(field.whole), id, hash, is_settled: false }
    }

    fn passed(
        &self,
        method: &Method,
        recorded: &Element,
        id: &str,
        live: &Element,
    ) -> Option<&BTreeMap<String, u64>> {
        let agreement = self.pairs.get(&((method.path.clone(), recorded.number), id.to_owned()))?;
        (agreement.recorded == recorded.hash && agreement.live == live.hash).then_some(&agreement.passed)
    }
}

/// Where the elements of this list have their id, where that is how they are aligned and their order means nothing.
fn key_path(comparer: &Comparer<'_>, method: &Method, number: u32) -> KeyPath {
    let field = method.output().get_field(number)?;
    let FieldKind::Message(element) = field.kind() else { return None };
    let path = Path::default().elements(field.name());
    let rule = comparer.rules.list(&method.name, &path)?;
    let [key] = rule.keys.first()?.as_slice() else { return None };
    (field.is_list() && rule.order == ListOrder::Any).then(|| numbers(&element, key)).flatten()
}

fn numbers(message: &MessageDescriptor, key: &str) -> KeyPath {
    let mut message = message.clone();
    let mut numbers = Vec::new();
    let mut names = key.split('.').peekable();
    while let Some(name) = names.next() {
        let field = message.get_field_by_name(name)?;
        numbers.push(field.number());
        match field.kind() {
            FieldKind::Message(inner) if names.peek().is_some() && !field.is_list() => message = inner,
            FieldKind::String if names.peek().is_none() && !field.is_list() => {}
            _ => return None,
        }
    }
    Some(numbers)
}
