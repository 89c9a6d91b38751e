//! Pieces made of real exports, for fuzzing to begin with.

use std::path::Path;

use prost::Message;

use super::conversation::{CALL, EVENT, MESSAGE};
use super::import::{Maker, WHOLE_EVENT};
use super::put_piece;
use crate::ImportError;
use crate::export::format::Kind;
use crate::import::blocks;
use crate::schema::{self, event, message};

/// Stands for the descriptors, which are large and kept as they are.
const DESCRIPTORS: &[u8] = b"a set";

/// The pieces of which [`import`](super::import) makes this export, but for its descriptors. What has no room in a piece is left
/// out.
pub fn import_seed(export: &[u8]) -> Result<Vec<u8>, ImportError> {
    let mut seed = Vec::new();
    for (kind, raw) in blocks(export, Path::new("export"))? {
        match kind {
            Kind::Events => {
                for event in events(&raw) {
                    put_piece(&mut seed, kind.number() | (WHOLE_EVENT << 3), &event.encode_to_vec());
                }
            }
            Kind::Descriptors => put_piece(&mut seed, kind.number(), DESCRIPTORS),
            Kind::End => {}
            _ => put_piece(&mut seed, kind.number(), &raw),
        }
    }
    Ok(seed)
}

/// The pieces of which [`conversation`](super::conversation) makes the events of this export. What has no room in a piece is left
/// out.
pub fn conversation_seed(export: &[u8]) -> Result<Vec<u8>, ImportError> {
    let mut seed = vec![0];
    for (kind, raw) in blocks(export, Path::new("export"))? {
        if kind == Kind::Events {
            events(&raw).iter().for_each(|event| put_event(&mut seed, event));
        }
    }
    Ok(seed)
}

/// The export that [`import`](super::import) makes of its pieces: a small one.
pub fn export_seed(export: &[u8]) -> Result<Vec<u8>, ImportError> {
    import_seed(export).map(|seed| Maker::make(&seed))
}

fn put_event(seed: &mut Vec<u8>, event: &schema::Event) {
    let control = |kind: u8, call: u64, side: i32| kind | (((call % 16) as u8) << 3) | ((side as u8) << 7);
    match &event.kind {
        Some(event::Kind::Message(it)) => {
            if let Some(message::Body::Kept(body)) = &it.body {
                put_piece(seed, control(MESSAGE, it.call, it.from), body);
            }
        }
        Some(event::Kind::CallStarted(it)) => {
            let method = cri::methods().iter().position(|method| method.path == it.path);
            let mut content = vec![method.unwrap_or(usize::from(u8::MAX)) as u8];
            for header in &it.metadata {
                content.extend_from_slice(&[&header.name[..], b":", &header.value, b"\n"].concat());
            }
            put_piece(seed, control(CALL, it.call, 0), &content);
        }
        _ => put_piece(seed, EVENT, &event.encode_to_vec()),
    }
}

/// All but what tells of the machine.
fn events(mut raw: &[u8]) -> Vec<schema::Event> {
    let mut events = Vec::new();
    while !raw.is_empty()
        && let Ok(event) = schema::Event::decode_length_delimited(&mut raw)
    {
        if !matches!(event.kind, Some(event::Kind::Surroundings(_))) {
            events.push(event);
        }
    }
    events
}
