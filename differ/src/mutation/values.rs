//! Other values of one kind.

use prost_reflect::{Kind, Value};

use super::Change;

/// Every other value that a leaf is given.
pub(super) fn of(leaf: &Value, kind: &Kind) -> Vec<(Change, Value)> {
    match leaf {
        Value::String(text) => {
            texts(text).into_iter().map(|(change, it)| (change, Value::String(it))).collect()
        }
        Value::Bytes(bytes) => texts_of_bytes(bytes),
        Value::Bool(value) => vec![(Change::Flipped, Value::Bool(!value))],
        Value::EnumNumber(number) => {
            vec![(Change::Renamed, Value::EnumNumber(another(*number, kind)))]
        }
        Value::F64(value) => {
            fractions(*value).into_iter().map(|(change, it)| (change, Value::F64(it))).collect()
        }
        Value::I32(value) => whole(i128::from(*value), i128::from(i32::MIN), |it| Value::I32(it as i32)),
        Value::I64(value) => whole(i128::from(*value), i128::from(i64::MIN), |it| Value::I64(it as i64)),
        Value::U32(value) => whole(i128::from(*value), i128::from(u32::MAX), |it| Value::U32(it as u32)),
        Value::U64(value) => whole(i128::from(*value), i128::from(u64::MAX), |it| Value::U64(it as u64)),
        _ => Vec::new(),
    }
}

/// Other texts.
pub(super) fn texts(text: &str) -> Vec<(Change, String)> {
    let mut others = vec![(Change::Longer, format!("{text}x"))];
    let Some(last) = text.chars().next_back() else { return others };
    // Of the same kind, so that an id stays one.
    let other = match last {
        '0' => '1',
        last if last.is_ascii_digit() => '0',
        'a' => 'b',
        _ => 'a',
    };
    others.push((Change::Respelt, format!("{}{other}", &text[..text.len() - last.len_utf8()])));
    others.push((Change::Emptied, String::new()));
    others
}

fn texts_of_bytes(bytes: &[u8]) -> Vec<(Change, Value)> {
    let mut others = vec![(Change::Longer, [bytes, b"x"].concat())];
    if let Some((last, rest)) = bytes.split_last() {
        others.push((Change::Respelt, [rest, &[last ^ 1]].concat()));
        others.push((Change::Emptied, Vec::new()));
    }
    others.into_iter().map(|(change, it)| (change, Value::Bytes(it.into()))).collect()
}

/// `limit` is the largest of an unsigned type, or the smallest of a signed one.
fn whole(value: i128, limit: i128, make: impl Fn(i128) -> Value) -> Vec<(Change, Value)> {
    let signed = limit < 0;
    let largest = if signed { -(limit + 1) } else { limit };
    let mut others = Vec::new();
    if value < largest {
        others.push((Change::Raised, make(value + 1)));
    }
    if signed && value > limit || value > 0 {
        others.push((Change::Lowered, make(value - 1)));
    }
    let absurd = if signed { -1 - value } else { largest };
    if absurd != value {
        others.push((Change::Absurd, make(absurd)));
    }
    if value != 0 {
        others.push((Change::Emptied, make(0)));
    }
    others
}

/// Other fractions.
pub(super) fn fractions(value: f64) -> Vec<(Change, f64)> {
    let all = [
        (Change::Raised, value + 1.0),
        (Change::Lowered, value - 1.0),
        (Change::Absurd, -1.0 - value),
        (Change::Emptied, 0.0),
    ];
    all.into_iter().filter(|(_, other)| other.to_bits() != value.to_bits()).collect()
}

/// The next value that the enum has.
fn another(number: i32, kind: &Kind) -> i32 {
    let Some(names) = kind.as_enum() else { return number + 1 };
    let mut numbers: Vec<i32> =
        names.values().map(|value| value.number()).filter(|it| *it != number).collect();
    numbers.sort_unstable();
    let next = numbers.iter().find(|it| **it > number).or(numbers.first());
    next.copied().unwrap_or(number + 1)
}

/// The list with an element gone, there twice, new, or in its neighbour's place.
pub(super) fn rearranged<T: Clone + PartialEq>(items: &[T], new: T) -> Vec<(Change, Vec<T>)> {
    let mut others = Vec::new();
    for index in 0..items.len() {
        let mut less = items.to_vec();
        let element = less.remove(index);
        others.push((Change::Removed, less));
        let mut more = items.to_vec();
        more.insert(index, element);
        others.push((Change::Duplicated, more));
        if index > 0 && items[index] != items[index - 1] {
            let mut swapped = items.to_vec();
            swapped.swap(index, index - 1);
            others.push((Change::Swapped, swapped));
        }
    }
    others.push((Change::Added, items.iter().cloned().chain([new]).collect()));
    others
}
