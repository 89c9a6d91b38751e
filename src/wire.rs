//! Messages as they lie on the wire, field by field, without decoding what is inside.

use std::fmt;

/// One field of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireField<'a> {
    /// Its number.
    pub number: u32,
    /// Whether it is a string, bytes or a message (or packed numbers), rather than a number.
    pub is_delimited: bool,
    /// Key, length and content.
    pub whole: &'a [u8],
    /// What it holds; for a number its bytes.
    pub content: &'a [u8],
}

/// The bytes are no protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes are no protobuf message")
    }
}

impl std::error::Error for Malformed {}

/// The fields of a message in the order in which they were written. An error is the last item.
pub fn fields(message: &[u8]) -> Fields<'_> {
    Fields { rest: message }
}

/// The content of the first field with this number in a message that is the field before it, and so on; `None` where there is none.
pub fn content_at<'a>(message: &'a [u8], numbers: &[u32]) -> Option<&'a [u8]> {
    let mut content = message;
    for number in numbers {
        content = fields(content).map_while(Result::ok).find(|field| field.number == *number)?.content;
    }
    Some(content)
}

/// As [`content_at`], for a text.
pub fn text_at<'a>(message: &'a [u8], numbers: &[u32]) -> Option<&'a str> {
    std::str::from_utf8(content_at(message, numbers)?).ok()
}

/// See [`fields`].
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<WireField<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = take_field(&mut self.rest);
        if field.is_none() {
            self.rest = &[];
        }
        Some(field.ok_or(Malformed))
    }
}

fn take_field<'a>(rest: &mut &'a [u8]) -> Option<WireField<'a>> {
    let start = *rest;
    let key = take_varint(rest)?;
    let number = u32::try_from(key >> 3).ok().filter(|number| *number > 0)?;
    let before = *rest;
    let (content, is_delimited) = match key & 7 {
        0 => {
            take_varint(rest)?;
            (&before[..before.len() - rest.len()], false)
        }
        1 => (take(rest, 8)?, false),
        2 => {
            let length = usize::try_from(take_varint(rest)?).ok()?;
            (take(rest, length)?, true)
        }
        5 => (take(rest, 4)?, false),
        // Groups are older than CRI.
        _ => return None,
    };
    Some(WireField { number, is_delimited, whole: &start[..start.len() - rest.len()], content })
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

/// Takes a number of variable length; `None` where there is none, with the bytes as they were.
pub fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    // Nearly all have one byte.
    if let Some((&byte, rest)) = bytes.split_first()
        && byte < 0x80
    {
        *bytes = rest;
        return Some(byte.into());
    }
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        let part = u64::from(byte & 0x7f);
        if index == 9 && part > 1 {
            return None;
        }
        value |= part << (7 * index);
        if byte & 0x80 == 0 {
            *bytes = &bytes[index + 1..];
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1;
    use prost::Message;

    #[test]
    fn fields_come_in_order_and_whole() {
        let container = |id: &str| v1::Container { id: id.into(), created_at: 300, ..Default::default() };
        let list = v1::ListContainersResponse { containers: vec![container("a"), container("b")] };
        let bytes = list.encode_to_vec();
        let fields: Vec<WireField<'_>> = fields(&bytes).map(Result::unwrap).collect();
        assert_eq!(fields.len(), 2);
        assert!(fields.iter().all(|field| field.number == 1 && field.is_delimited));
        assert_eq!(fields.iter().map(|field| field.whole.len()).sum::<usize>(), bytes.len());
        assert_eq!(v1::Container::decode(fields[1].content).unwrap(), container("b"));
        assert_eq!(text_at(fields[1].content, &[1]), Some("b"));
        assert_eq!(text_at(&bytes, &[1, 1]), Some("a"));
        assert_eq!(text_at(&bytes, &[2]), None);
    }

    #[test]
    fn what_is_no_message_ends_with_an_error() {
        for bytes in [&b"\x0a\x05z"[..], b"\x0b", b"\x02\x00", b"\x08\xff", b"\x09\x00"] {
            assert_eq!(fields(bytes).collect::<Vec<_>>(), [Err(Malformed)], "{bytes:?}");
        }
        assert_eq!(fields(b"").count(), 0);
    }
}
