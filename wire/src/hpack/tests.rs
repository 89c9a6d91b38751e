//! The decoder against the examples of RFC 7541, an encoder that uses every form, and another decoder.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::huffman::tests::encode as huffman;
use super::table::Table;
use super::*;
use crate::event::Header;

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<char> = hex.chars().filter(|char| !char.is_whitespace()).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn pairs(headers: Vec<Header>) -> Pairs {
    headers.into_iter().map(|header| (header.name.to_vec(), header.value.to_vec())).collect()
}

fn text(fields: &[(&str, &str)]) -> Pairs {
    fields.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}

fn decoder() -> Decoder {
    Decoder::new(1 << 20)
}

fn decode(hex: &str) -> Result<Pairs, HpackError> {
    decoder().decode(&bytes(hex), 1 << 20).map(pairs)
}

/// One block of an example: its bytes, its fields, and the dynamic table after it.
type Example<'a> = (&'a str, &'a [(&'a str, &'a str)], usize, &'a [(&'a str, &'a str)]);

fn check(mut decoder: Decoder, examples: &[Example<'_>]) {
    for (hex, fields, size, table) in examples {
        assert_eq!(pairs(decoder.decode(&bytes(hex), 1 << 20).unwrap()), text(fields));
        let table = table.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        assert_eq!(decoder.dynamic(), (*size, table));
    }
}

#[test]
fn literals_of_c_2() {
    let custom = [("custom-key", "custom-header")];
    check(
        decoder(),
        &[("400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572", &custom, 55, &custom)],
    );
    check(decoder(), &[("040c 2f73 616d 706c 652f 7061 7468", &[(":path", "/sample/path")], 0, &[])]);
    check(decoder(), &[("1008 7061 7373 776f 7264 0673 6563 7265 74", &[("password", "secret")], 0, &[])]);
    check(decoder(), &[("82", &[(":method", "GET")], 0, &[])]);
}

#[test]
fn requests_of_c_3_and_c_4() {
    let plain = [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ];
    let coded = [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ];
    let authority = (":authority", "www.example.com");
    let (no_cache, custom) = (("cache-control", "no-cache"), ("custom-key", "custom-value"));
    for [first, second, third] in [plain, coded] {
        let get = [(":method", "GET"), (":scheme", "http"), (":path", "/"), authority];
        let index = [(":method", "GET"), (":scheme", "https"), (":path", "/index.html"), authority, custom];
        check(
            decoder(),
            &[
                (first, &get, 57, &[authority]),
                (second, &[&get[..], &[no_cache]].concat(), 110, &[no_cache, authority]),
                (third, &index, 164, &[custom, no_cache, authority]),
            ],
        );
    }
}

#[test]
fn responses_of_c_5_and_c_6() {
    let plain = [
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120
         474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "4803 3330 37c1 c0bf",
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738
         666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33
         3630 303b 2076 6572 7369 6f6e 3d31",
    ];
    let coded = [
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718
         63c7 8f0b 97c8 e9ae 82ae 43d3",
        "4883 640e ffc1 c0bf",
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7
         b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
    ];
    let (private, location) = (("cache-control", "private"), ("location", "https://www.example.com"));
    let date = ("date", "Mon, 21 Oct 2013 20:13:21 GMT");
    let later = ("date", "Mon, 21 Oct 2013 20:13:22 GMT");
    let cookie = ("set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1");
    let (gzip, found, moved) = (("content-encoding", "gzip"), (":status", "302"), (":status", "307"));
    for [first, second, third] in [plain, coded] {
        let mut decoder = decoder();
        assert_eq!(decoder.decode(&bytes("3fe101"), 0), Ok(vec![]), "a table of 256 bytes");
        check(
            decoder,
            &[
                (first, &[found, private, date, location], 222, &[location, date, private, found]),
                (second, &[moved, private, date, location], 222, &[moved, location, date, private]),
                (
                    third,
                    &[(":status", "200"), private, later, location, gzip, cookie],
                    215,
                    &[cookie, gzip, later],
                ),
            ],
        );
    }
}

#[test]
fn integers_have_bounds() {
    assert_eq!(
        decode("00 7f 80 80 80 80 00"),
        Err(HpackError::Truncated),
        "127 in needless bytes, no string"
    );
    assert_eq!(decode("00 7f 80 80 80 80 80 00"), Err(HpackError::IntegerOverflow), "too many bytes");
    assert_eq!(decode("00 7f ff ff ff ff 7f"), Err(HpackError::IntegerOverflow), "more than 32 bits");
    assert_eq!(decode("00 7f ff"), Err(HpackError::Truncated));
    assert_eq!(decode("ff 80 ff ff ff 0f"), Err(HpackError::NoSuchEntry { index: u32::MAX }));
    assert_eq!(decode("3f 9a 0a be"), Err(HpackError::NoSuchEntry { index: 62 }), "1337 of C.1.2 is a size");
    assert_eq!(decode("80"), Err(HpackError::NoSuchEntry { index: 0 }));
    assert_eq!(decode("be"), Err(HpackError::NoSuchEntry { index: 62 }));
}

#[test]
fn blocks_cut_short_are_refused_but_at_a_field() {
    let block = bytes("82 400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572");
    for length in 2..block.len() {
        assert_eq!(decoder().decode(&block[..length], 1 << 20), Err(HpackError::Truncated));
    }
    assert_eq!(decoder().decode(&block[..1], 1 << 20).unwrap().len(), 1);
}

#[test]
fn table_sizes_are_set_before_the_first_field_up_to_what_is_allowed() {
    assert_eq!(decode("20 3f e1 1f 82").unwrap().len(), 1, "0, then 4096");
    assert_eq!(decode("3f e2 1f"), Err(HpackError::TableSize { size: 4097, allowed: 4096 }));
    assert_eq!(decode("82 20"), Err(HpackError::LateTableSize));
    let mut decoder = decoder();
    decoder.allow_table(4097);
    decoder.allow_table(100);
    assert_eq!(decoder.decode(&bytes("3f e2 1f"), 0), Ok(vec![]));
}

#[test]
fn a_list_is_cut_off_at_its_limit() {
    let mut decoder = decoder();
    let line = bytes("4001 6101 62");
    assert_eq!(decoder.decode(&line, 34).unwrap().len(), 1);
    assert_eq!(decoder.decode(&[0xbe; 3], 101), Err(HpackError::ListTooLarge { limit: 101 }));
}

#[test]
fn never_indexed_is_told_and_written_again() {
    let block = bytes("1008 7061 7373 776f 7264 0673 6563 7265 74 0001 6101 62");
    let (mut marks, mut again) = (vec![], vec![]);
    decoder()
        .decode_fields(&block, 1 << 20, |field| {
            marks.push(field.never_indexed);
            literal(&field, &mut again);
        })
        .unwrap();
    assert_eq!(marks, [true, false]);
    assert_eq!(again, block);
}

/// How a field is written.
#[derive(Debug, Clone, Copy)]
enum Form {
    /// By its index if it has one, else added to the table.
    Indexed,
    Added,
    Plain,
    Never,
}

#[derive(Debug, Clone)]
struct Line {
    name: Vec<u8>,
    value: Vec<u8>,
    form: Form,
    /// The name by its index, where it has one.
    by_name: bool,
    coded: (bool, bool),
}

#[derive(Debug, Clone)]
struct Block {
    sizes: Vec<u16>,
    lines: Vec<Line>,
}

/// An encoder that does as it is told.
struct Script {
    dynamic: VecDeque<(Vec<u8>, Vec<u8>)>,
    max: usize,
}

impl Script {
    fn find(&self, hit: impl Fn(&[u8], &[u8]) -> bool) -> Option<usize> {
        let fixed = Table::new(0);
        let in_static = (1..=61).find(|&index| {
            let entry = fixed.get(index).unwrap();
            hit(&entry.name, &entry.value)
        });
        let in_dynamic = || self.dynamic.iter().position(|(name, value)| hit(name, value)).map(|at| at + 62);
        in_static.map(|index| index as usize).or_else(in_dynamic)
    }

    fn add(&mut self, name: &[u8], value: &[u8]) {
        self.dynamic.push_front((name.to_vec(), value.to_vec()));
        self.evict();
    }

    fn evict(&mut self) {
        let cost = |(name, value): &(Vec<u8>, Vec<u8>)| name.len() + value.len() + 32;
        while self.dynamic.iter().map(cost).sum::<usize>() > self.max {
            self.dynamic.pop_back();
        }
    }

    fn block(&mut self, block: &Block) -> Vec<u8> {
        let mut out = Vec::new();
        for &size in &block.sizes {
            integer(usize::from(size), 5, 0x20, &mut out);
            self.max = usize::from(size);
            self.evict();
        }
        block.lines.iter().for_each(|line| self.line(line, &mut out));
        out
    }

    fn line(&mut self, line: &Line, out: &mut Vec<u8>) {
        let entry = self.find(|name, value| name == line.name && value == line.value);
        let (prefix, pattern) = match (line.form, entry) {
            (Form::Indexed, Some(index)) => return integer(index, 7, 0x80, out),
            (Form::Indexed | Form::Added, _) => (6, 0x40),
            (Form::Plain, _) => (4, 0x00),
            (Form::Never, _) => (4, 0x10),
        };
        let name = self.find(|name, _| name == line.name).filter(|_| line.by_name);
        integer(name.unwrap_or(0), prefix, pattern, out);
        if name.is_none() {
            string(&line.name, line.coded.0, out);
        }
        string(&line.value, line.coded.1, out);
        if prefix == 6 {
            self.add(&line.name, &line.value);
        }
    }
}

fn integer(value: usize, prefix: u32, pattern: u8, out: &mut Vec<u8>) {
    let full = 2usize.pow(prefix) - 1;
    if value < full {
        return out.push(pattern | value as u8);
    }
    out.push(pattern | full as u8);
    let mut rest = value - full;
    while rest >= 128 {
        out.push((rest % 128 + 128) as u8);
        rest /= 128;
    }
    out.push(rest as u8);
}

fn string(bytes: &[u8], coded: bool, out: &mut Vec<u8>) {
    let (bytes, pattern) = if coded { (huffman(bytes), 0x80) } else { (bytes.to_vec(), 0) };
    integer(bytes.len(), 7, pattern, out);
    out.extend_from_slice(&bytes);
}

fn line() -> impl Strategy<Value = Line> {
    let name = prop_oneof![
        prop::sample::select(vec![
            ":path",
            ":status",
            "content-type",
            "grpc-status",
            "grpc-timeout",
            "te",
            "x"
        ])
        .prop_map(|name| name.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..20),
    ];
    let value = prop_oneof![
        prop::sample::select(vec!["200", "/", "application/grpc", "0", "trailers"])
            .prop_map(|value| value.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..300),
        "[a-zA-Z0-9/. ]{0,40}".prop_map(String::into_bytes),
    ];
    let form =
        prop::sample::select(vec![Form::Indexed, Form::Indexed, Form::Added, Form::Plain, Form::Never]);
    (name, value, form, any::<bool>(), any::<(bool, bool)>())
        .prop_map(|(name, value, form, by_name, coded)| Line { name, value, form, by_name, coded })
}

fn block() -> impl Strategy<Value = Block> {
    let sizes = prop_oneof![4 => Just(vec![]), 1 => prop::collection::vec(0u16..=4096, 1..3)];
    // The other decoder refuses a block of sizes alone, which is legal.
    let sizes_of = |sizes, lines: &[Line]| if lines.is_empty() { vec![] } else { sizes };
    (sizes, prop::collection::vec(line(), 0..12))
        .prop_map(move |(sizes, lines)| Block { sizes: sizes_of(sizes, &lines), lines })
}

/// Decodes one block with both decoders; `None` where one of them refuses it.
fn both(ours: &mut Decoder, theirs: &mut loona_hpack::Decoder<'_>, block: &[u8]) -> Option<(Pairs, Pairs)> {
    let ours = ours.decode(block, usize::MAX).ok().map(pairs);
    ours.zip(theirs.decode(block).ok())
}

fn oracle() -> loona_hpack::Decoder<'static> {
    let mut oracle = loona_hpack::Decoder::new();
    oracle.set_max_allowed_table_size(4096);
    oracle
}

proptest! {
    #[test]
    fn what_an_encoder_wrote_comes_back(blocks in prop::collection::vec(block(), 1..8)) {
        let mut script = Script { dynamic: VecDeque::new(), max: 4096 };
        let (mut ours, mut theirs) = (decoder(), oracle());
        for block in blocks {
            let written = script.block(&block);
            let expected: Pairs = block.lines.iter().map(|line| (line.name.clone(), line.value.clone())).collect();
            let never: Vec<bool> = block.lines.iter().map(|line| matches!(line.form, Form::Never)).collect();
            let mut fields = vec![];
            ours.decode_fields(&written, usize::MAX, |field| fields.push(field)).unwrap();
            prop_assert_eq!(fields.iter().map(|field| field.never_indexed).collect::<Vec<_>>(), never);
            prop_assert_eq!(&pairs(fields.into_iter().map(|field| field.header).collect()), &expected);
            prop_assert_eq!(theirs.decode(&written).unwrap(), expected);
        }
    }

    #[test]
    fn what_another_encoder_wrote_comes_back(blocks in prop::collection::vec(block(), 1..8)) {
        let (mut encoder, mut ours) = (loona_hpack::Encoder::new(), decoder());
        for Block { lines, .. } in blocks {
            let fields = || lines.iter().map(|line| (&line.name[..], &line.value[..]));
            let decoded = pairs(ours.decode(&encoder.encode(fields()), usize::MAX).unwrap());
            prop_assert_eq!(decoded, fields().map(|(n, v)| (n.to_vec(), v.to_vec())).collect::<Pairs>());
        }
    }

    #[test]
    fn blocks_of_any_bytes_mean_the_same_to_another_decoder(
        blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..6),
    ) {
        let (mut ours, mut theirs) = (decoder(), oracle());
        for block in blocks {
            let Some((ours, theirs)) = both(&mut ours, &mut theirs, &block) else { break };
            prop_assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn damaged_blocks_mean_the_same_to_another_decoder(
        blocks in prop::collection::vec((block(), any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut script = Script { dynamic: VecDeque::new(), max: 4096 };
        let (mut ours, mut theirs) = (decoder(), oracle());
        for (block, at, byte) in blocks {
            let mut written = script.block(&block);
            if !written.is_empty() {
                let at = at.index(written.len());
                written[at] = byte;
            }
            let Some((ours, theirs)) = both(&mut ours, &mut theirs, &written) else { break };
            prop_assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn literals_come_back(lines in prop::collection::vec(line(), 0..8)) {
        let mut written = Vec::new();
        let fields: Vec<Field> = lines
            .into_iter()
            .map(|line| Field {
                header: Header { name: line.name.into(), value: line.value.into() },
                never_indexed: matches!(line.form, Form::Never),
            })
            .collect();
        for field in &fields {
            literal(field, &mut written);
        }
        let mut decoded = Vec::new();
        decoder().decode_fields(&written, usize::MAX, |field| decoded.push(field)).unwrap();
        prop_assert_eq!(decoded, fields);
    }
}
