//! From fields to header blocks, in the one form that needs no table on the other side.

use super::Field;

/// Appends a field as a literal without indexing, or never indexed if it was sent so.
pub fn literal(field: &Field, out: &mut Vec<u8>) {
    out.push(if field.never_indexed { 0b0001_0000 } else { 0 });
    string(&field.header.name, out);
    string(&field.header.value, out);
}

/// A plain string with its length before it.
fn string(bytes: &[u8], out: &mut Vec<u8>) {
    integer(bytes.len(), 7, out);
    out.extend_from_slice(bytes);
}

/// An integer with `prefix` bits in its first byte, whose other bits are zero (RFC 7541 §5.1).
fn integer(value: usize, prefix: u8, out: &mut Vec<u8>) {
    let full = (1usize << prefix) - 1;
    if value < full {
        out.push(value as u8);
        return;
    }
    out.push(full as u8);
    let mut rest = value - full;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}
