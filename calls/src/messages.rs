//! The messages of a call, decoded.

use bytes::{BufMut, Bytes, BytesMut};
use prost_reflect::{DynamicMessage, MessageDescriptor};

use crate::Call;

/// The message in these bytes; `None` where they are no such message. Fields that the schema doesn't know are kept.
pub fn decode(descriptor: MessageDescriptor, bytes: &Bytes) -> Option<DynamicMessage> {
    DynamicMessage::decode(descriptor, bytes.as_ref()).ok()
}

/// All response messages of a call as the bytes of one: for a list that came in chunks, the whole list, since protobuf
/// messages written one after the other are read as one with the lists joined. `None` where one was not kept.
pub fn merged(call: &Call) -> Option<Bytes> {
    match call.responses.as_slice() {
        [one] => one.body.kept().cloned(),
        many => {
            let mut all = BytesMut::new();
            for message in many {
                all.put_slice(message.body.kept()?);
            }
            Some(all.freeze())
        }
    }
}
