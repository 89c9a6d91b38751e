//! Two elements of a list, compared as they lie on the wire.
//!
//! Statistics change at every call, and in nothing but numbers that a rule lets vary. Such a pair is told without decoding
//! either: both are walked field by field as long as they have the same form. What is not a number is compared once by the
//! ordinary way and remembered by its bytes. Where anything is unusual, or differs, nothing is said, and the ordinary way looks.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::iter::{Peekable, repeat_n};

use bytes::Bytes;
use cri::Method;
use cri::wire::{Fields, Malformed, WireField, fields, take_varint, text_at};
use critape_calls::decode;
use foldhash::quality::RandomState;
use prost_reflect::{FieldDescriptor, Kind as FieldKind, MessageDescriptor};

use crate::comparing::agreed::{key_of_list, lasts};
use crate::comparing::comparer::{Comparer, NoTrajectories};
use crate::comparing::walk::Walk;
use crate::rules::relation;
use crate::rules::rule_numbers::{Counts, RuleNumber};
use crate::{Path, Relation};

/// Pairs of parts that are remembered at most; then it begins anew.
const MOST_PAIRS: usize = 1 << 16;

/// Rules that let a difference pass, each as often as it did.
pub(crate) type Passed = Vec<RuleNumber>;

/// Messages within messages are looked into no deeper than this.
const DEEPEST: usize = 12;

const VARINT: u8 = 0;
const EIGHT_BYTES: u8 = 1;

/// Why lockstep does not say that two parts agree.
enum Untold {
    /// They have a form that bytes alone don't tell about.
    Unusual,
    /// They differ, or may differ another time.
    Differs,
}

/// What is known of the elements of one list.
#[derive(Debug)]
pub(crate) struct Lockstep {
    element: Part,
    /// What rules let pass in two parts that agree.
    pairs: RefCell<HashMap<(u64, u64), Counts, RandomState>>,
    hasher: RandomState,
}

/// A message within an element: where it is, and what its fields are.
#[derive(Debug)]
struct Part {
    path: Path,
    descriptor: MessageDescriptor,
    children: HashMap<u32, Child, RandomState>,
    /// Whether nothing is to be noted where both sides are the same.
    is_quiet: bool,
}

#[derive(Debug)]
enum Child {
    /// A number, and the rule that lets it vary.
    Number(FieldKind, Option<(RuleNumber, Relation)>),
    /// A message, or the messages of a list whose order means nothing; these are known by the text at `key`.
    Message {
        part: Part,
        key: Option<Vec<u32>>,
    },
    Other,
}

impl Lockstep {
    /// For the elements at `path` of the answers of `method`.
    pub(crate) fn new(
        comparer: &Comparer<'_>,
        method: &Method,
        path: Path,
        element: MessageDescriptor,
    ) -> Self {
        let element = Part::new(comparer, &method.name, path, element);
        Self { element, pairs: RefCell::default(), hasher: RandomState::default() }
    }

    /// Adds what the rules let pass, where nothing else differs; `false` where that can't be told here.
    pub(crate) fn compare(
        &self,
        comparer: &Comparer<'_>,
        method: &Method,
        recorded: &[u8],
        live: &[u8],
        passed: &mut Passed,
    ) -> bool {
        let before = passed.len();
        let step = Step { lockstep: self, comparer, method };
        let agrees = step.fields(&self.element, recorded, live, passed).is_ok();
        if !agrees {
            passed.truncate(before);
        }
        agrees
    }
}

/// One comparison under way.
struct Step<'a> {
    lockstep: &'a Lockstep,
    comparer: &'a Comparer<'a>,
    method: &'a Method,
}

impl Step<'_> {
    /// A message within the element.
    fn part(&self, part: &Part, recorded: &[u8], live: &[u8], passed: &mut Passed) -> Result<(), Untold> {
        if part.is_quiet && recorded == live {
            return Ok(());
        }
        let before = passed.len();
        match self.fields(part, recorded, live, passed) {
            Err(Untold::Unusual) => {
                passed.truncate(before);
                self.once(part, recorded, live, passed)
            }
            told => told,
        }
    }

    fn fields(&self, part: &Part, recorded: &[u8], live: &[u8], passed: &mut Passed) -> Result<(), Untold> {
        let (mut before, mut now) = (Numbers::of(recorded), Numbers::of(live));
        let mut last = 0;
        while let Some(number) = before.next_number().into_iter().chain(now.next_number()).min() {
            // What comes out of order, or again, may mean something else than it seems to.
            if number < last {
                return Err(Untold::Unusual);
            }
            let is_again = number == last;
            last = number;
            let (recorded, live) = (before.take(number)?, now.take(number)?);
            match part.children.get(&number) {
                Some(Child::Number(kind, rule)) if !is_again => {
                    self.number(kind, rule.as_ref(), recorded, live, passed)?;
                }
                Some(Child::Message { part, key }) if key.is_some() || !is_again => {
                    let (Some(recorded), Some(live)) = (recorded, live) else { return Err(Untold::Unusual) };
                    if let Some(key) = key {
                        self.same_key(key, recorded.content, live.content)?;
                    }
                    self.part(part, recorded.content, live.content, passed)?;
                }
                _ => return Err(Untold::Unusual),
            }
        }
        if before.is_done() && now.is_done() { Ok(()) } else { Err(Untold::Unusual) }
    }

    fn number(
        &self,
        kind: &FieldKind,
        rule: Option<&(RuleNumber, Relation)>,
        recorded: Option<WireField<'_>>,
        live: Option<WireField<'_>>,
        passed: &mut Passed,
    ) -> Result<(), Untold> {
        if recorded == live {
            return Ok(());
        }
        let (rule, relation) = rule.ok_or(Untold::Differs)?;
        let agrees = if *kind == FieldKind::Double {
            relation::fractions(relation, fraction(recorded)?, fraction(live)?)
        } else {
            let (recorded, live) = (whole_number(kind, recorded)?, whole_number(kind, live)?);
            recorded == live || relation::numbers(relation, recorded, live)
        };
        // As long as examples are looked for, it is the ordinary way that gives them.
        if !agrees || !self.comparer.memory.has_enough(*rule) {
            return Err(Untold::Differs);
        }
        passed.push(*rule);
        Ok(())
    }

    /// Elements of two lists stand for each other only where their keys say so.
    fn same_key(&self, key: &[u32], recorded: &[u8], live: &[u8]) -> Result<(), Untold> {
        let (recorded, live) = text_at(recorded, key).zip(text_at(live, key)).ok_or(Untold::Unusual)?;
        let same = !recorded.is_empty() && self.comparer.ids.to_recorded(live) == recorded;
        if same { Ok(()) } else { Err(Untold::Unusual) }
    }

    /// Compares two parts in the ordinary way, once. They differ where they may do so another time.
    fn once(&self, part: &Part, recorded: &[u8], live: &[u8], passed: &mut Passed) -> Result<(), Untold> {
        let hash = |bytes: &[u8]| self.lockstep.hasher.hash_one((&part.path, bytes));
        let pair = (hash(recorded), hash(live));
        let add = |known: &[(RuleNumber, u64)], passed: &mut Passed| {
            known.iter().for_each(|(rule, times)| passed.extend(repeat_n(*rule, *times as usize)));
        };
        if let Some(known) = self.lockstep.pairs.borrow().get(&pair) {
            add(known, passed);
            return Ok(());
        }
        let read = |bytes: &[u8]| decode(part.descriptor.clone(), &Bytes::copy_from_slice(bytes));
        let (before, now) = read(recorded).zip(read(live)).ok_or(Untold::Differs)?;
        let mut walk = Walk::new(self.comparer, self.method, &NoTrajectories);
        walk.message(&part.path, &before, &now);
        let compared = walk.compared;
        if !lasts(&compared) || !compared.examples.is_empty() {
            return Err(Untold::Differs);
        }
        let mut pairs = self.lockstep.pairs.borrow_mut();
        if pairs.len() >= MOST_PAIRS {
            pairs.clear();
        }
        let known = self.comparer.memory.numbers.borrow_mut().counts(&compared.passed);
        add(&known, passed);
        pairs.insert(pair, known);
        Ok(())
    }
}

impl Part {
    fn new(comparer: &Comparer<'_>, method: &str, path: Path, descriptor: MessageDescriptor) -> Self {
        let children: HashMap<_, _, _> = descriptor
            .fields()
            .map(|field| (field.number(), Child::new(comparer, method, &path, &field)))
            .collect();
        let is_quiet = children.values().all(Child::is_quiet);
        Self { path, descriptor, children, is_quiet }
    }
}

impl Child {
    fn new(comparer: &Comparer<'_>, method: &str, parent: &Path, field: &FieldDescriptor) -> Self {
        match field.kind() {
            FieldKind::Int32
            | FieldKind::Int64
            | FieldKind::Uint32
            | FieldKind::Uint64
            | FieldKind::Double
                if !field.is_list() =>
            {
                let rule = comparer.rules.rule(method, &parent.field(field.name()));
                let mut numbers = comparer.memory.numbers.borrow_mut();
                let rule = rule.map(|rule| (numbers.number(&rule.name), rule.relation.clone()));
                Self::Number(field.kind(), rule)
            }
            FieldKind::Message(message) if !field.is_map() && parent.len() < DEEPEST => {
                if !field.is_list() {
                    let part = Part::new(comparer, method, parent.field(field.name()), message);
                    return Self::Message { part, key: None };
                }
                let path = parent.elements(field.name());
                let is_ignored =
                    comparer.rules.rule(method, &path).is_some_and(|rule| rule.relation == Relation::Ignore);
                match key_of_list(comparer, method, &path, &message).filter(|_| !is_ignored) {
                    Some(key) => {
                        Self::Message { part: Part::new(comparer, method, path, message), key: Some(key) }
                    }
                    None => Self::Other,
                }
            }
            _ => Self::Other,
        }
    }

    fn is_quiet(&self) -> bool {
        match self {
            Self::Number(..) => true,
            Self::Message { part, .. } => part.is_quiet,
            Self::Other => false,
        }
    }
}

/// The fields of a message, one after the other.
struct Numbers<'a> {
    fields: Peekable<Fields<'a>>,
}

impl<'a> Numbers<'a> {
    fn of(message: &'a [u8]) -> Self {
        Self { fields: fields(message).peekable() }
    }

    /// The number of the next field; `None` at the end, and at what is no field.
    fn next_number(&mut self) -> Option<u32> {
        self.fields.peek()?.ok().map(|field| field.number)
    }

    /// The next field where it has this number.
    fn take(&mut self, number: u32) -> Result<Option<WireField<'a>>, Untold> {
        let next = self.fields.next_if(|field| field.is_ok_and(|field| field.number == number));
        next.transpose().map_err(|Malformed| Untold::Unusual)
    }

    fn is_done(&mut self) -> bool {
        self.fields.peek().is_none()
    }
}

/// A whole number as protobuf reads it.
fn whole_number(kind: &FieldKind, field: Option<WireField<'_>>) -> Result<i128, Untold> {
    let Some(field) = field else { return Ok(0) };
    let mut content = field.content;
    let value = take_varint(&mut content).filter(|_| content.is_empty() && wire_type(&field) == VARINT);
    let value = value.ok_or(Untold::Unusual)?;
    Ok(match kind {
        FieldKind::Int32 => (value as i32).into(),
        FieldKind::Int64 => (value as i64).into(),
        FieldKind::Uint32 => (value as u32).into(),
        _ => value.into(),
    })
}

fn fraction(field: Option<WireField<'_>>) -> Result<f64, Untold> {
    let Some(field) = field else { return Ok(0.0) };
    let bytes = field.content.try_into().ok().filter(|_| wire_type(&field) == EIGHT_BYTES);
    bytes.map(f64::from_le_bytes).ok_or(Untold::Unusual)
}

fn wire_type(field: &WireField<'_>) -> u8 {
    field.whole.first().map_or(0, |key| key & 7)
}
