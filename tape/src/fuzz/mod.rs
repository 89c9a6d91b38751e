//! What fuzz targets run: exports that are made around any content, and conversations that are written and read.
//!
//! Checksums and lengths would turn nearly every change away at the door. So what is fuzzed are pieces, and what stands around
//! them is made here.

mod conversation;
mod import;
mod seeds;

pub use conversation::conversation;
pub use import::import;
pub use seeds::{conversation_seed, export_seed, import_seed};

/// Bytes before the content of a piece: a control byte, and the length, the lower byte first.
const HEAD: usize = 3;

/// Pieces: a control byte and content. The last may be shorter than it says.
fn pieces(mut data: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (head, rest) = data.split_first_chunk::<HEAD>()?;
        let length = usize::from(u16::from_le_bytes([head[1], head[2]]));
        let (content, rest) = rest.split_at(length.min(rest.len()));
        data = rest;
        Some((head[0], content))
    })
}

/// Appends a piece. Content for which there is no room is left out.
fn put_piece(out: &mut Vec<u8>, control: u8, content: &[u8]) {
    let Ok(length) = u16::try_from(content.len()) else { return };
    out.push(control);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(content);
}

/// A field of a message.
fn put_field(out: &mut Vec<u8>, number: u8, content: &[u8]) {
    let key = prost::encoding::WireType::LengthDelimited;
    prost::encoding::encode_key(u32::from(number), key, out);
    prost::encoding::encode_varint(content.len() as u64, out);
    out.extend_from_slice(content);
}
