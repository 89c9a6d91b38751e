//! Secrets planted, looked for in everything that is stored, and read back with the key.

mod arbitrary;
mod planted;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use bytes::Bytes;
use cri::Generation;
use critape_calls::{Body, Call, Event, EventKind, Metadata, OpeningAnswer, Stamp, call_to_json};
use critape_tape::{ExportKey, Seal, SealPolicy, Slice, Tape, TapeError, Writer, export, import};
use planted::Planted;

const GENERATIONS: [Generation; 3] = [Generation::V1Alpha1, Generation::V1Alpha2, Generation::V1];

fn seal(policy: SealPolicy) -> Seal {
    Seal { policy, key_file: None }
}

fn write(path: &Path, events: &[Event], seal: &Seal) {
    let mut writer = Writer::open_sealing(path, Stamp(1000), "test", seal).unwrap();
    events.iter().for_each(|event| writer.append(event).unwrap());
    writer.close(Stamp(9_000_000)).unwrap();
}

fn read(tape: &Tape) -> Vec<Event> {
    tape.events().map(Result::unwrap).collect()
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    fs::read_dir(folder)
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .collect()
}

/// Without the room that a store keeps free.
fn packed(file: &[u8]) -> Bytes {
    let used: Vec<_> = file.split(|byte| *byte == 0).filter(|part| !part.is_empty()).collect();
    used.join(&0).into()
}

fn holds(text: &[u8], needle: &str) -> bool {
    // What is no UTF-8 around it does not hide it.
    String::from_utf8_lossy(text).contains(needle)
}

/// Everything of an event that is text or bytes, as it is and as it would be read.
fn contents(event: &Event) -> Vec<Bytes> {
    let headers = |metadata: &Metadata| -> Vec<Bytes> {
        let values = metadata.0.iter().flat_map(|header| {
            let decoded = STANDARD.decode(&header.value).unwrap_or_default();
            let text = percent_decoded(&header.value);
            [header.value.clone(), decoded.into(), text.into()]
        });
        values.collect()
    };
    let answer = |answer: &OpeningAnswer| {
        [answer.request.clone(), answer.response.clone(), answer.message.clone().into()]
    };
    match &event.kind {
        EventKind::CallStarted { metadata, .. }
        | EventKind::ResponseStarted { metadata, .. }
        | EventKind::Trailers { metadata, .. } => headers(metadata),
        EventKind::CallContinues { metadata, request, .. } => {
            headers(metadata).into_iter().chain(request.clone()).collect()
        }
        EventKind::Message { body: Body::Kept(body), .. } => vec![body.clone()],
        EventKind::Opening(opening) => opening.answers.iter().flat_map(answer).collect(),
        EventKind::ConnectionLost { reason, .. } => vec![reason.clone().into()],
        _ => Vec::new(),
    }
}

fn percent_decoded(value: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = value;
    while let Some((byte, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.filter(|_| *byte == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(value) => {
                decoded.push(value);
                rest = &after[2..];
            }
            None => {
                decoded.push(*byte);
                rest = after;
            }
        }
    }
    decoded
}

/// A secret as a program may print it.
fn spellings(secret: &str) -> Vec<String> {
    let json = secret.replace('\\', "\\\\").replace('"', "\\\"");
    let go = json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    let base64 = [STANDARD.encode(secret), URL_SAFE.encode(secret)];
    let base64 = base64.iter().map(|text| text.trim_end_matches('=').to_owned());
    [secret.to_owned(), json, go].into_iter().chain(base64).collect()
}

/// Nothing in the folder, its events as stored, and its listing holds one of these.
fn assert_absent(path: &Path, secrets: &[String]) {
    let tape = Tape::open(path).unwrap();
    let events = read(&tape);
    let calls: Vec<Call> = tape.calls().map(Result::unwrap).collect();
    let listings =
        calls.iter().map(|call| (format!("call {}", call.path), call_to_json(call).to_string().into()));
    let mut texts: Vec<(String, Bytes)> = listings.collect();
    texts.extend(
        files(path).into_iter().map(|file| (file.display().to_string(), packed(&fs::read(file).unwrap()))),
    );
    for event in &events {
        texts.extend(contents(event).into_iter().map(|content| (format!("{:?}", event.at), content)));
    }
    let spelt: BTreeSet<String> = secrets.iter().flat_map(|secret| spellings(secret)).collect();
    for (place, text) in &texts {
        let text = String::from_utf8_lossy(text);
        for spelling in &spelt {
            assert!(!text.contains(spelling), "{spelling} is in {place}: {text}");
        }
    }
}

#[test]
fn no_planted_secret_is_anywhere_and_the_key_gives_all_back() {
    for generation in GENERATIONS {
        for policy in [SealPolicy::Default, SealPolicy::Strict] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("tape");
            let Planted { events, secrets, strict } = planted::conversation(generation);
            write(&path, &events, &seal(policy));
            assert_absent(&path, &secrets);
            if policy == SealPolicy::Strict {
                assert_absent(&path, &strict);
            }
            let tape = Tape::open(&path).unwrap();
            assert!(tape.has_key());
            assert_ne!(read(&tape), events);
            assert_eq!(read(&tape.unsealed().unwrap()), events, "{generation} {policy:?}");
            assert!(tape.verify().unwrap().damage.is_empty());

            for (name, key) in [("closed", ExportKey::Left), ("open", ExportKey::Included)] {
                let (file, sent) = (folder.path().join("export"), folder.path().join(name));
                export(&tape, &Slice::All, key, fs::File::create(&file).unwrap()).unwrap();
                import(fs::File::open(&file).unwrap(), &file, &sent).unwrap();
                assert_absent(&sent, &secrets);
                let sent = Tape::open(&sent).unwrap();
                let opened = read(&sent.unsealed().unwrap());
                assert_eq!(opened == events, key == ExportKey::Included, "{generation} {policy:?}");
                assert_eq!(sent.has_key(), key == ExportKey::Included);
            }

            // Without the key there is no way back, and no error.
            fs::remove_file(path.join("key")).unwrap();
            assert!(!tape.has_key());
            assert_eq!(read(&tape.unsealed().unwrap()), read(&tape));
        }
    }
}

#[test]
fn a_planted_secret_would_be_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tape");
    let Planted { events, secrets, strict } = planted::conversation(Generation::V1);
    write(&path, &events, &Seal::none());
    assert_eq!(read(&Tape::open(&path).unwrap()), events);
    for secret in secrets.iter().chain(&strict) {
        let found = events.iter().flat_map(contents).any(|content| holds(&content, secret));
        assert!(found, "{secret} is planted nowhere");
    }
}

#[test]
fn equal_secrets_have_equal_tokens_under_one_key_and_others_under_another() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["one", "other", "shared"].map(|name| folder.path().join(name));
    let events = planted::conversation(Generation::V1).events;
    write(&paths[0], &events, &seal(SealPolicy::Strict));
    write(&paths[1], &events, &seal(SealPolicy::Strict));
    let shared = Seal { policy: SealPolicy::Strict, key_file: Some(paths[0].join("key")) };
    write(&paths[2], &events, &shared);
    let [one, other, third] = paths.clone().map(|path| read(&Tape::open(&path).unwrap()));
    assert_eq!(one, third);
    assert_ne!(one, other);
    assert_eq!(fs::metadata(paths[2].join("key")).unwrap().permissions().mode() & 0o777, 0o600);
    // A tape keeps its key.
    let error = Writer::open_sealing(&paths[1], Stamp(10), "test", &shared).unwrap_err();
    assert!(matches!(error, TapeError::OtherKey { .. }), "{error}");
    // A token of another key is no damage: that segment stays sealed.
    fs::copy(paths[0].join("key"), paths[1].join("key")).unwrap();
    assert_eq!(read(&Tape::open(&paths[1]).unwrap().unsealed().unwrap()), other);
}

#[test]
fn what_was_sealed_is_known_to_the_next_recorder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tape");
    let (create, failure) = planted::secret_then_failure();
    write(&path, &create, &seal(SealPolicy::Default));
    write(&path, &failure, &seal(SealPolicy::Default));
    assert_absent(&path, &[planted::EARLIER.to_owned()]);
    let read = read(&Tape::open(&path).unwrap().unsealed().unwrap());
    assert_eq!(read, [create, failure].concat());
}

#[test]
fn a_token_that_was_changed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tape");
    let (create, _) = planted::secret_then_failure();
    write(&path, &create, &seal(SealPolicy::Default));
    // The same events with one letter of a token changed, in a segment that says that it is sealed with this key.
    let mut forged = read(&Tape::open(&path).unwrap());
    for event in &mut forged {
        if let EventKind::Message { body: Body::Kept(body), .. } = &mut event.kind
            && let Some(at) = body.windows(10).position(|part| part == b"sealed:v1:")
        {
            let mut bytes = body.to_vec();
            bytes[at + 12] ^= 1;
            *body = bytes.into();
        }
    }
    let other = folder.path().join("forged");
    write(&other, &forged, &Seal::none());
    fs::copy(path.join("key"), other.join("key")).unwrap();
    // Nothing says that it is sealed: it is plain text.
    assert_eq!(read(&Tape::open(&other).unwrap().unsealed().unwrap()), forged);
    planted::pretend_sealed(&path, &other);
    let tape = Tape::open(&other).unwrap();
    let errors: Vec<_> = tape.unsealed().unwrap().events().filter_map(Result::err).collect();
    assert!(matches!(errors.as_slice(), [TapeError::Tampered { .. }]), "{errors:?}");
    // As it is stored it can still be read.
    assert_eq!(read(&tape), forged);
}

#[test]
fn what_looks_like_a_token_comes_back_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tape");
    let events = planted::looks_sealed();
    write(&path, &events, &seal(SealPolicy::Default));
    assert_eq!(read(&Tape::open(&path).unwrap().unsealed().unwrap()), events);
    // Recorded again under the same key, as by a replay without it that is recorded.
    let again = folder.path().join("again");
    let stored = read(&Tape::open(&path).unwrap());
    write(&again, &stored, &Seal { policy: SealPolicy::Default, key_file: Some(path.join("key")) });
    assert_eq!(read(&Tape::open(&again).unwrap().unsealed().unwrap()), stored);
}

#[test]
fn sealed_and_plain_segments_live_on_one_tape() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tape");
    let (create, failure) = planted::secret_then_failure();
    write(&path, &create, &Seal::none());
    assert!(!path.join("key").exists());
    write(&path, &create, &seal(SealPolicy::Default));
    write(&path, &failure, &seal(SealPolicy::Strict));
    let tape = Tape::open(&path).unwrap();
    assert_eq!(read(&tape.unsealed().unwrap()), [create.clone(), create, failure].concat());
    let sealed: Vec<_> = tape.info().unwrap().segments.into_iter().map(|segment| segment.seal).collect();
    assert_eq!(sealed, ["", "default", "strict"]);
}

#[test]
fn a_segment_that_was_rolled_has_no_secret_either() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tape");
    let (create, failure) = planted::secret_then_failure();
    let mut writer = Writer::open_sealing(&path, Stamp(1000), "test", &seal(SealPolicy::Default)).unwrap();
    // Still going on when the segment ends: its request is repeated.
    create[..2].iter().for_each(|event| writer.append(event).unwrap());
    writer.roll(Stamp(2000)).unwrap();
    create[2..].iter().chain(&failure).for_each(|event| writer.append(event).unwrap());
    writer.close(Stamp(3000)).unwrap();
    assert_absent(&path, &[planted::EARLIER.to_owned()]);
    fs::remove_dir_all(path.join("segments/00000001")).unwrap();
    let rest = Tape::open(&path).unwrap().unsealed().unwrap();
    let calls: Vec<Call> = rest.calls().map(Result::unwrap).collect();
    assert!(holds(calls[0].request().unwrap(), planted::EARLIER));
}
