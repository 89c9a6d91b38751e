//! Tokens: what stands on a tape in place of a secret.
//!
//! A token is `sealed:v1:`, then in base64 (URL alphabet, no padding) three bytes that tell keys apart and the ciphertext, then a
//! full stop. The ciphertext is AES-SIV (RFC 5297) with the tape's key of 64 bytes: it depends on nothing but key and secret, so
//! equal secrets have equal tokens, and a token that was changed is refused. It is printable text, so it may stand where UTF-8
//! must, in JSON and in headers.

use std::fmt;
use std::ops::Range;
use std::sync::LazyLock;

use aes_siv::KeyInit as _;
use aes_siv::siv::Aes256Siv;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use memchr::memmem;
use thiserror::Error;

use super::Key;

/// How a token begins. No suffix of it is a prefix of it, so occurrences don't overlap.
pub(crate) const PREFIX: &[u8] = critape_calls::SEALED_PREFIX.as_bytes();
const END: u8 = b'.';
/// Bound into every token, so that the key serves no other purpose.
const PURPOSE: [&[u8]; 1] = [b"critape tape, sealed value, v1"];
const CHECK: [&[u8]; 1] = [b"critape tape, check of the key, v1"];

/// A token was changed, or has another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a sealed value was changed")]
pub(crate) struct Refused;

/// Bytes that tell keys apart: enough for tapes that are compared, and a multiple of three, so that they are four letters.
const KEY_ID: usize = 3;

/// Makes and opens tokens.
pub(crate) struct Cipher {
    siv: Aes256Siv,
    key_id: [u8; KEY_ID],
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher")
    }
}

impl Cipher {
    pub(crate) fn new(key: &Key) -> Self {
        let mut cipher = Self { siv: Aes256Siv::new(key.bytes().into()), key_id: [0; KEY_ID] };
        let check = cipher.check();
        cipher.key_id.iter_mut().zip(check).for_each(|(id, byte)| *id = byte);
        cipher
    }

    /// What tells this key from another, and nothing else about it.
    pub(crate) fn check(&mut self) -> Vec<u8> {
        // Fails only for more than 126 headers.
        self.siv.encrypt(CHECK, b"").unwrap_or_default()
    }

    /// The token for a secret.
    pub(crate) fn seal(&mut self, secret: &[u8]) -> Vec<u8> {
        // Fails only for more than 126 headers.
        let sealed = self.siv.encrypt(PURPOSE, secret).unwrap_or_default();
        let mut token = PREFIX.to_vec();
        token.extend_from_slice(URL_SAFE_NO_PAD.encode(self.key_id).as_bytes());
        token.extend_from_slice(URL_SAFE_NO_PAD.encode(sealed).as_bytes());
        token.push(END);
        token
    }

    /// `text` with the parts at `ranges`, which are in order and don't overlap, each replaced by a token.
    pub(crate) fn seal_parts(&mut self, text: &[u8], ranges: &[Range<usize>]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len() + ranges.len() * 64);
        let mut at = 0;
        for range in ranges {
            out.extend_from_slice(&text[at..range.start]);
            out.extend_from_slice(&self.seal(&text[range.clone()]));
            at = range.end;
        }
        out.extend_from_slice(&text[at..]);
        out
    }

    /// `text` with every token replaced by what it stands for; `None` where there is none.
    pub(crate) fn open_all(&mut self, text: &[u8]) -> Result<Option<Vec<u8>>, Refused> {
        let mut out = Vec::new();
        let mut at = 0;
        while let Some(start) = find(&text[at..]) {
            let end = token_length(&text[at + start..]).ok_or(Refused)?;
            out.extend_from_slice(&text[at..at + start]);
            let body = &text[at + start + PREFIX.len()..at + start + end - 1];
            let sealed = URL_SAFE_NO_PAD.decode(body).map_err(|_| Refused)?;
            let sealed = sealed.strip_prefix(&self.key_id).ok_or(Refused)?;
            out.extend_from_slice(&self.siv.decrypt(PURPOSE, sealed).map_err(|_| Refused)?);
            at += start + end;
        }
        if at == 0 {
            return Ok(None);
        }
        out.extend_from_slice(&text[at..]);
        Ok(Some(out))
    }
}

/// Where the first token begins, or what looks like one.
pub(crate) fn find(text: &[u8]) -> Option<usize> {
    static FINDER: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(PREFIX));
    FINDER.find(text)
}

/// The bytes of the token at the beginning of this text, which begins with its prefix.
fn token_length(text: &[u8]) -> Option<usize> {
    let body = &text[PREFIX.len()..];
    let end =
        body.iter().position(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'-' || *byte == b'_'))?;
    (body[end] == END).then_some(PREFIX.len() + end + 1)
}

/// Whether this is one token and nothing else.
pub(crate) fn is_token(text: &[u8]) -> bool {
    text.starts_with(PREFIX) && token_length(text) == Some(text.len())
}

/// Every place that looks like the beginning of a token.
pub(crate) fn prefixes(text: &[u8], found: &mut Vec<Range<usize>>) {
    let mut at = 0;
    while let Some(start) = find(&text[at..]) {
        found.push(at + start..at + start + PREFIX.len());
        at += start + PREFIX.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cipher(byte: u8) -> Cipher {
        Cipher::new(&Key::of([byte; 64]))
    }

    #[test]
    fn tokens_are_the_same_for_the_same_secret_and_differ_by_key() {
        assert_eq!(cipher(1).seal(b"hunter2"), cipher(1).seal(b"hunter2"));
        assert_ne!(cipher(1).seal(b"hunter2"), cipher(2).seal(b"hunter2"));
        assert_ne!(cipher(1).seal(b"hunter2"), cipher(1).seal(b"hunter3"));
        assert_ne!(cipher(1).check(), cipher(2).check());
        assert!(is_token(&cipher(1).seal(b"")));
    }

    #[test]
    fn tokens_are_opened_wherever_they_stand() {
        let mut cipher = cipher(1);
        let text = [b"a ", cipher.seal(b"x\xff").as_slice(), &cipher.seal(b""), b"abc"].concat();
        assert_eq!(cipher.open_all(&text), Ok(Some(b"a x\xffabc".to_vec())));
        assert_eq!(cipher.open_all(b"sealed:v2:x"), Ok(None));
    }

    #[test]
    fn a_changed_token_is_refused() {
        let token = cipher(1).seal(b"hunter2");
        for at in PREFIX.len()..token.len() {
            for flip in [1_u8, 2, 4, 32] {
                let mut changed = token.clone();
                changed[at] ^= flip;
                assert_eq!(cipher(1).open_all(&changed), Err(Refused), "byte {at}");
            }
        }
        assert_eq!(cipher(2).open_all(&token), Err(Refused));
        assert_eq!(cipher(1).open_all(&token[..token.len() - 1]), Err(Refused));
    }
}
