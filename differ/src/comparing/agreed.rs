//! Elements of lists that were found to agree, so that the next list that holds the same two need not be read.
//!
//! A node lists the same hundred pods every second. Most elements are byte for byte what they were a second ago, on either side;
//! what was said of the two then holds now, as long as nothing but the rules and the ids was asked.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;

use bytes::{Bytes, BytesMut};
use cri::Method;
use cri::wire::{WireField, content_at, fields};
use foldhash::quality::RandomState;
use prost_reflect::{Kind as FieldKind, MessageDescriptor};

use crate::comparing::comparer::{Compared, Comparer};
use crate::comparing::lockstep::{self, Lockstep};
use crate::rules::rule_numbers::{Counts, Tally};
use crate::{ListOrder, Path};

/// Whole short answers that are remembered at most; then it begins anew.
const MOST_ANSWERS: usize = 1 << 12;

/// Longer ones are not known by their hash: it is their elements that repeat, in an order that changes.
const LONGEST_HASHED: usize = 1 << 12;
/// Bytes that an element of a list takes at least, mostly.
const USUAL_ELEMENT: usize = 200;

/// What the elements of one list that are remembered take at most; then it begins anew.
const MOST_BYTES: usize = 32 << 20;

/// Passed for reasons that hold for this read alone.
const MOMENTARY: [&str; 2] = ["later-state", "state-was-changing"];

/// What was found to agree, by request path of the method.
#[derive(Debug, Default)]
pub(crate) struct Agreed {
    methods: HashMap<String, Lists, RandomState>,
    /// Short whole answers of which nothing was left to compare.
    answers: HashMap<(u64, u64), BTreeMap<String, u64>, RandomState>,
    hasher: RandomState,
}

/// The lists of one method's answer, by field number.
type Lists = HashMap<u32, Option<List>, RandomState>;

/// A list whose elements are aligned by an id, and whose order means nothing.
#[derive(Debug)]
struct List {
    /// Where the id is: field numbers.
    key: Vec<u32>,
    lockstep: Lockstep,
    /// By recorded id.
    pairs: HashMap<Vec<u8>, Agreement, RandomState>,
    /// What their elements take.
    bytes: usize,
}

/// What was said of two elements that agree.
#[derive(Debug)]
struct Agreement {
    recorded: Box<[u8]>,
    live_id: Vec<u8>,
    live: Box<[u8]>,
    passed: Counts,
}

/// Two answers without the elements that are known to agree.
pub(crate) struct Reduced {
    pub(crate) recorded: Bytes,
    pub(crate) live: Bytes,
    /// What was said of those that were left out.
    pub(crate) compared: Compared,
}

/// Two elements of a list in an answer that agree now.
#[derive(Debug)]
pub(crate) struct AgreeingPair {
    pub(crate) list: Path,
    pub(crate) recorded: String,
    pub(crate) live: String,
    pub(crate) passed: BTreeMap<String, u64>,
}

/// Whether what was said of a pair of elements will be said again when the same two are compared.
pub(crate) fn lasts(compared: &Compared) -> bool {
    compared.divergences.is_empty()
        && compared.left_out == 0
        && !MOMENTARY.iter().any(|name| compared.passed.contains_key(*name))
}

/// A field of an answer.
struct Element<'a> {
    number: u32,
    whole: &'a [u8],
    content: &'a [u8],
    /// Of an element of a list whose elements have one.
    id: Option<&'a [u8]>,
}

/// Leaves out of two answers what is known to agree. `None` where one is no message.
pub(crate) fn reduce(
    comparer: &Comparer<'_>,
    agreed: &RefCell<Agreed>,
    method: &Method,
    recorded: &Bytes,
    live: &Bytes,
) -> Option<Reduced> {
    let mut agreed = agreed.borrow_mut();
    let hash = |message: &Bytes| agreed.hasher.hash_one((&method.path, message));
    let is_short = recorded.len().max(live.len()) <= LONGEST_HASHED;
    let pair = is_short.then(|| (hash(recorded), hash(live)));
    if let Some(passed) = pair.and_then(|pair| agreed.answers.get(&pair)) {
        let compared = Compared { passed: passed.clone(), ..Compared::default() };
        return Some(Reduced { recorded: Bytes::new(), live: Bytes::new(), compared });
    }
    let before = agreed.elements(comparer, method, recorded)?;
    let now = agreed.elements(comparer, method, live)?;
    let lists = agreed.methods.get(&method.path)?;
    let mut by_id: HashMap<(u32, &[u8]), usize, RandomState> =
        HashMap::with_capacity_and_hasher(now.len(), RandomState::default());
    for (index, element) in now.iter().enumerate() {
        if let Some(id) = element.id {
            by_id.insert((element.number, id), index);
        }
    }
    let (mut tally, mut passed) = (Tally::default(), lockstep::Passed::new());
    let mut settled = vec![false; now.len()];
    let rest = before.iter().filter(|element| {
        let Some(list) = lists.get(&element.number).and_then(Option::as_ref) else { return true };
        let Some(agreement) = element.id.and_then(|id| list.pairs.get(id)) else { return true };
        let partner = by_id.get(&(element.number, agreement.live_id.as_slice()));
        let Some(partner) = partner.filter(|partner| !settled[**partner]) else { return true };
        if *agreement.recorded == *element.content && *agreement.live == *now[*partner].content {
            agreement.passed.iter().for_each(|(rule, times)| tally.add(*rule, *times));
        } else if list.lockstep.compare(comparer, method, element.content, now[*partner].content, &mut passed)
        {
            passed.drain(..).for_each(|rule| tally.add(rule, 1));
        } else {
            return true;
        }
        settled[*partner] = true;
        false
    });
    let recorded = joined(rest, recorded);
    let unsettled = now.iter().zip(&settled).filter(|(_, settled)| !**settled).map(|(element, _)| element);
    let live = joined(unsettled, live);
    let mut compared = Compared::default();
    tally.tell(&comparer.memory.numbers.borrow(), &mut compared);
    if let Some(pair) = pair.filter(|_| recorded.is_empty() && live.is_empty()) {
        if agreed.answers.len() >= MOST_ANSWERS {
            agreed.answers.clear();
        }
        agreed.answers.insert(pair, compared.passed.clone());
    }
    Some(Reduced { recorded, live, compared })
}

/// The message with these of its elements.
fn joined<'a, 'b: 'a>(elements: impl Iterator<Item = &'a Element<'b>>, message: &Bytes) -> Bytes {
    let mut out = BytesMut::new();
    elements.for_each(|element| out.extend_from_slice(element.whole));
    if out.len() == message.len() { message.clone() } else { out.freeze() }
}

/// Remembers pairs of two answers that were reduced.
pub(crate) fn remember(
    comparer: &Comparer<'_>,
    agreed: &RefCell<Agreed>,
    method: &Method,
    reduced: &Reduced,
    pairs: Vec<AgreeingPair>,
) {
    if pairs.is_empty() {
        return;
    }
    let mut agreed = agreed.borrow_mut();
    let [before, now] = [&reduced.recorded, &reduced.live].map(|message| {
        let elements = agreed.elements(comparer, method, message).unwrap_or_default();
        let named = elements.into_iter().filter_map(|it| Some(((it.number, it.id?), it.content)));
        named.collect::<HashMap<_, _, RandomState>>()
    });
    let Some(lists) = agreed.methods.get_mut(&method.path) else { return };
    for AgreeingPair { list, recorded, live, passed } in pairs {
        let name = list.to_string();
        let Some(field) = method.output().get_field_by_name(name.trim_end_matches("[]")) else { continue };
        let number = field.number();
        let Some(list) = lists.get_mut(&number).and_then(Option::as_mut) else { continue };
        let both = before.get(&(number, recorded.as_bytes())).zip(now.get(&(number, live.as_bytes())));
        if let Some((before, now)) = both {
            let passed = comparer.memory.numbers.borrow_mut().counts(&passed);
            list.remember(&recorded, &live, before, now, passed);
        }
    }
}

impl Agreed {
    /// The fields of an answer; `None` where it is no message.
    fn elements<'a>(
        &mut self,
        comparer: &Comparer<'_>,
        method: &Method,
        message: &'a [u8],
    ) -> Option<Vec<Element<'a>>> {
        if !self.methods.contains_key(&method.path) {
            self.methods.insert(method.path.clone(), Lists::default());
        }
        let lists = self.methods.get_mut(&method.path)?;
        let mut elements = Vec::with_capacity(message.len() / USUAL_ELEMENT);
        for field in fields(message) {
            let field = field.ok()?;
            let list = lists.entry(field.number).or_insert_with(|| list_of(comparer, method, field.number));
            let id = list
                .as_ref()
                .filter(|_| field.is_delimited)
                .and_then(|it| content_at(field.content, &it.key));
            let id = id.filter(|id| !id.is_empty());
            let WireField { number, whole, content, .. } = field;
            elements.push(Element { number, whole, content, id });
        }
        Some(elements)
    }
}

impl List {
    fn remember(&mut self, id: &str, live_id: &str, recorded: &[u8], live: &[u8], passed: Counts) {
        if self.bytes > MOST_BYTES {
            self.pairs.clear();
            self.bytes = 0;
        }
        self.bytes += recorded.len() + live.len();
        let agreement =
            Agreement { recorded: recorded.into(), live_id: live_id.into(), live: live.into(), passed };
        if let Some(before) = self.pairs.insert(id.into(), agreement) {
            self.bytes -= before.recorded.len() + before.live.len();
        }
    }
}

fn list_of(comparer: &Comparer<'_>, method: &Method, number: u32) -> Option<List> {
    let field = method.output().get_field(number)?;
    let FieldKind::Message(element) = field.kind() else { return None };
    let path = Path::default().elements(field.name());
    let key = key_of_list(comparer, &method.name, &path, &element).filter(|_| field.is_list())?;
    let lockstep = Lockstep::new(comparer, method, path, element);
    Some(List { key, lockstep, pairs: HashMap::default(), bytes: 0 })
}

/// Where the text is by which elements of this list find each other; `None` where there is no such one, or their order means something.
pub(crate) fn key_of_list(
    comparer: &Comparer<'_>,
    method: &str,
    path: &Path,
    element: &MessageDescriptor,
) -> Option<Vec<u32>> {
    let rule = comparer.rules.list(method, path).filter(|rule| rule.order == ListOrder::Any)?;
    let [key] = rule.keys.first()?.as_slice() else { return None };
    numbers(element, key)
}

/// The numbers of the fields on the way to a string.
fn numbers(message: &MessageDescriptor, key: &str) -> Option<Vec<u32>> {
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
