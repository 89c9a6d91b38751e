//! The tables that header fields refer to: the static one of RFC 7541 appendix A, and the dynamic one that each
//! encoder fills as it goes.

use std::collections::VecDeque;

use bytes::Bytes;

use super::HpackError;
use crate::event::Header;

/// Size that both ends begin with, in bytes (RFC 9113 §6.5.2).
pub const DEFAULT_SIZE: u32 = 4096;

/// What an entry counts beyond its strings (RFC 7541 §4.1).
const ENTRY_OVERHEAD: usize = 32;

static STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// The bytes that a field counts in tables and lists.
pub(super) fn cost(header: &Header) -> usize {
    header.name.len() + header.value.len() + ENTRY_OVERHEAD
}

/// Static and dynamic entries under one index, the newest dynamic entry first.
#[derive(Debug)]
pub(super) struct Table {
    entries: VecDeque<Header>,
    /// What the entries count.
    size: usize,
    /// Size that the encoder has chosen.
    max: usize,
    /// Bytes beyond which the table is given up, whatever the encoder has chosen.
    limit: usize,
}

impl Table {
    pub(super) fn new(limit: usize) -> Self {
        Self { entries: VecDeque::new(), size: 0, max: DEFAULT_SIZE as usize, limit }
    }

    /// The entry at an index as fields write it, from 1.
    pub(super) fn get(&self, index: u32) -> Result<Header, HpackError> {
        let none = HpackError::NoSuchEntry { index };
        let at = (index as usize).checked_sub(1).ok_or(none)?;
        if let Some((name, value)) = STATIC.get(at) {
            let (name, value) = (name.as_bytes(), value.as_bytes());
            return Ok(Header { name: Bytes::from_static(name), value: Bytes::from_static(value) });
        }
        self.entries.get(at - STATIC.len()).cloned().ok_or(none)
    }

    /// Puts an entry in front and drops as many old ones as that needs. One that is larger than the table
    /// empties it (RFC 7541 §4.4).
    pub(super) fn insert(&mut self, header: Header) -> Result<(), HpackError> {
        let cost = cost(&header);
        self.evict(self.max.saturating_sub(cost));
        if cost > self.max {
            return Ok(());
        }
        if self.size + cost > self.limit {
            return Err(HpackError::TableTooLarge { limit: self.limit });
        }
        self.size += cost;
        self.entries.push_front(header);
        Ok(())
    }

    /// The encoder chose another size.
    pub(super) fn resize(&mut self, max: u32) {
        self.max = max as usize;
        self.evict(self.max);
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        }
    }

    fn evict(&mut self, down_to: usize) {
        while self.size > down_to {
            let Some(oldest) = self.entries.pop_back() else { break };
            self.size -= cost(&oldest);
        }
    }

    /// Entries of the dynamic table.
    #[cfg(test)]
    pub(super) fn dynamic(&self) -> (usize, Vec<(String, String)>) {
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        (self.size, self.entries.iter().map(|entry| (text(&entry.name), text(&entry.value))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &'static str, value: &'static str) -> Header {
        Header { name: name.into(), value: value.into() }
    }

    #[test]
    fn indexes_begin_at_one_and_go_on_in_the_dynamic_table() {
        let mut table = Table::new(1 << 20);
        assert_eq!(table.get(0), Err(HpackError::NoSuchEntry { index: 0 }));
        assert_eq!(table.get(1).unwrap(), header(":authority", ""));
        assert_eq!(table.get(61).unwrap(), header("www-authenticate", ""));
        assert_eq!(table.get(62), Err(HpackError::NoSuchEntry { index: 62 }));
        table.insert(header("a", "1")).unwrap();
        table.insert(header("b", "2")).unwrap();
        assert_eq!(table.get(62).unwrap(), header("b", "2"));
        assert_eq!(table.get(63).unwrap(), header("a", "1"));
        assert!(table.get(u32::MAX).is_err());
    }

    #[test]
    fn old_entries_make_room() {
        let mut table = Table::new(1 << 20);
        table.resize(70);
        table.insert(header("a", "1")).unwrap();
        table.insert(header("b", "2")).unwrap();
        assert_eq!(table.dynamic().0, 68);
        table.insert(header("c", "3")).unwrap();
        assert_eq!(table.dynamic(), (68, vec![("c".into(), "3".into()), ("b".into(), "2".into())]));
        table.resize(40);
        assert_eq!(table.dynamic(), (34, vec![("c".into(), "3".into())]));
    }

    #[test]
    fn an_entry_larger_than_the_table_empties_it() {
        let mut table = Table::new(1 << 20);
        table.resize(34);
        table.insert(header("a", "1")).unwrap();
        table.insert(header("long", "value")).unwrap();
        assert_eq!(table.dynamic(), (0, vec![]));
    }

    #[test]
    fn a_table_never_outgrows_its_limit() {
        let mut table = Table::new(100);
        table.resize(u32::MAX);
        table.insert(header("a", "1")).unwrap();
        table.insert(header("b", "2")).unwrap();
        assert_eq!(table.insert(header("c", "3")), Err(HpackError::TableTooLarge { limit: 100 }));
    }
}
