//! Walks the wire bytes of a message and replaces the content of some of its fields.
//!
//! Only what changes is written again: the content, and the lengths of what it lies in. So fields that the schema doesn't know,
//! their order, and unusual spellings stay as they were.

use cri::wire::take_varint;

use super::leaves::{Field, Leaf, Shapes};
use super::token::Refused;

/// What a field's content is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// A leaf of the data file.
    Leaf(Leaf),
    /// Another string, or bytes.
    Plain,
    /// A field that the schema doesn't know: text, bytes or a message.
    Unknown,
}

/// What is done where bytes that should be a message are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// The walk ends.
    Ends,
    /// They are taken as a field that the schema doesn't know.
    IsUnknown,
}

/// Why a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The bytes are no such message, or could not be put back exactly as they were.
    Unreadable,
    /// A token was refused.
    Refused,
}

impl From<Refused> for Stop {
    fn from(_: Refused) -> Self {
        Self::Refused
    }
}

/// Gives the new content of a field; `None` leaves it as it is.
pub(crate) type Change<'a> = dyn FnMut(Place, &[u8]) -> Result<Option<Vec<u8>>, Refused> + 'a;

/// The message with what `change` made of its fields; `None` where nothing changed. Linear in the message's size.
pub(crate) fn walk(
    shapes: &Shapes,
    shape: usize,
    message: &[u8],
    unreadable: Unreadable,
    change: &mut Change<'_>,
) -> Result<Option<Vec<u8>>, Stop> {
    let mut out = Vec::new();
    let mut copied = 0;
    let mut rest = message;
    while !rest.is_empty() {
        let key = take_varint(&mut rest).ok_or(Stop::Unreadable)?;
        let number = u32::try_from(key >> 3).ok().filter(|number| *number > 0).ok_or(Stop::Unreadable)?;
        let length = match key & 7 {
            0 => {
                take_varint(&mut rest).ok_or(Stop::Unreadable)?;
                continue;
            }
            1 => 8,
            2 => {
                let before = message.len() - rest.len();
                let length = take_varint(&mut rest).ok_or(Stop::Unreadable)?;
                let start = message.len() - rest.len();
                let content = usize::try_from(length).ok().and_then(|length| rest.get(..length));
                let content = content.ok_or(Stop::Unreadable)?;
                if let Some(new) = field(shapes, shape, number, content, unreadable, change)? {
                    // A length that is spelt longer than it must be would not come back.
                    if start - before != varint_length(length) {
                        return Err(Stop::Unreadable);
                    }
                    out.extend_from_slice(&message[copied..before]);
                    put_varint(&mut out, new.len() as u64);
                    out.extend_from_slice(&new);
                    copied = start + content.len();
                }
                content.len()
            }
            5 => 4,
            // Groups are older than CRI.
            _ => return Err(Stop::Unreadable),
        };
        rest = rest.get(length..).ok_or(Stop::Unreadable)?;
    }
    if copied == 0 {
        return Ok(None);
    }
    out.extend_from_slice(&message[copied..]);
    Ok(Some(out))
}

fn field(
    shapes: &Shapes,
    shape: usize,
    number: u32,
    content: &[u8],
    unreadable: Unreadable,
    change: &mut Change<'_>,
) -> Result<Option<Vec<u8>>, Stop> {
    let place = match shapes.field(shape, number) {
        Some(Field::Message(inner)) => match walk(shapes, inner, content, unreadable, change) {
            Err(Stop::Unreadable) if unreadable == Unreadable::IsUnknown => Place::Unknown,
            walked => return walked,
        },
        Some(Field::Leaf(leaf)) => Place::Leaf(leaf),
        Some(Field::Plain) => Place::Plain,
        // Numbers, packed.
        Some(Field::Scalar) => return Ok(None),
        None => Place::Unknown,
    };
    Ok(change(place, content)?)
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn varint_length(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::super::leaves::shapes;
    use super::*;

    fn shape(name: &str) -> usize {
        shapes().by_name(name).unwrap()
    }

    #[test]
    fn lengths_are_put_right_and_the_rest_stays() {
        // CreateContainerRequest { config { envs { key: "A", value: "x" } }, 99: "unknown" }
        let message = b"\x12\x08\x32\x06\x0a\x01A\x12\x01x\x9a\x06\x07unknown\x0a\x81\x00z".as_slice();
        let grown = vec![b'y'; 300];
        let changed = walk(
            shapes(),
            shape("runtime.v1.CreateContainerRequest"),
            message,
            Unreadable::Ends,
            &mut |place, content| {
                Ok((matches!(place, Place::Leaf(_)) && content == b"x").then(|| grown.clone()))
            },
        )
        .unwrap()
        .unwrap();
        let mut expected = b"\x12\xb5\x02\x32\xb2\x02\x0a\x01A\x12\xac\x02".to_vec();
        expected.extend_from_slice(&grown);
        expected.extend_from_slice(b"\x9a\x06\x07unknown\x0a\x81\x00z");
        assert_eq!(changed, expected);
    }

    #[test]
    fn what_would_not_come_back_is_unreadable() {
        let shape = shape("runtime.v1.CreateContainerRequest");
        let all = |message: &[u8]| {
            walk(shapes(), shape, message, Unreadable::Ends, &mut |_, content| Ok(Some(content.to_vec())))
        };
        // The length in two bytes, a group, field 0, a cut message, a varint without end.
        for message in [b"\x0a\x81\x00z".as_slice(), b"\x0b\x0c", b"\x02\x00", b"\x0a\x05z", &[0x08, 0xff]] {
            assert_eq!(all(message), Err(Stop::Unreadable), "{message:?}");
        }
        assert_eq!(all(b""), Ok(None));
    }

    #[test]
    fn varints_have_the_length_that_is_said() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            assert_eq!(bytes.len(), varint_length(value));
            assert_eq!(take_varint(&mut bytes.as_slice()), Some(value));
        }
    }
}
