//! Who may ask: tokens, and how they are compared.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use subtle::ConstantTimeEq as _;
use thiserror::Error;

/// The length of a token of ours, before it is written in hexadecimal.
const TOKEN_BYTES: usize = 32;

/// The shortest token that may be given: 128 bits in hexadecimal.
const SHORTEST_TOKEN: usize = 32;

/// How a request shows that it may ask.
#[derive(Clone, Debug)]
pub enum Auth {
    /// With this token, as `Authorization: Bearer TOKEN`.
    Token(Token),
    /// Not at all. Every local user can reach a loopback port.
    None,
    /// By having opened the socket: its mode decides. Only for unix sockets.
    UnixSocket,
}

/// A secret that opens the gateway. It is printed by [`Token::reveal`] alone.
#[derive(Clone)]
pub struct Token(String);

/// Why there is no token.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum TokenError {
    /// It could be guessed.
    #[error(
        "the token has {0} characters and needs at least {SHORTEST_TOKEN}: make one with `openssl rand -hex 32`"
    )]
    Short(usize),
    /// It does not fit into a header.
    #[error("the token has characters other than visible ASCII: make one with `openssl rand -hex 32`")]
    Characters,
    /// The system gave no random bytes.
    #[error("making a token: the system gives no random bytes: {0}")]
    Random(String),
}

impl Token {
    /// A new one: 256 random bits in hexadecimal.
    pub fn random() -> Result<Self, TokenError> {
        let mut bytes = [0; TOKEN_BYTES];
        getrandom::fill(&mut bytes).map_err(|error| TokenError::Random(error.to_string()))?;
        let mut text = String::with_capacity(2 * TOKEN_BYTES);
        for byte in bytes {
            // Writing to a string can't fail.
            let _ = write!(text, "{byte:02x}");
        }
        Ok(Self(text))
    }

    /// The token itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether `offered` is this token. How long the answer takes says nothing about where the two differ.
    pub(crate) fn is(&self, offered: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(offered).into()
    }
}

impl FromStr for Token {
    type Err = TokenError;

    /// Takes the token as a file holds it: blanks and line breaks around it don't count.
    fn from_str(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::Characters);
        }
        if text.len() < SHORTEST_TOKEN {
            return Err(TokenError::Short(text.len()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_ours_are_256_bits_and_never_the_same() {
        let (one, other) = (Token::random().unwrap(), Token::random().unwrap());
        assert_eq!(one.reveal().len(), 64);
        assert!(one.is(one.reveal().as_bytes()));
        assert!(!one.is(other.reveal().as_bytes()));
        assert!(!one.is(&one.reveal().as_bytes()[..63]));
        assert!(!one.is(b""));
    }

    #[test]
    fn tokens_that_were_given_must_be_long_and_fit_into_a_header() {
        assert_eq!("".parse::<Token>().unwrap_err(), TokenError::Short(0));
        assert_eq!("secret".parse::<Token>().unwrap_err(), TokenError::Short(6));
        assert_eq!("ü".repeat(32).parse::<Token>().unwrap_err(), TokenError::Characters);
        let given: Token = format!(" {}\n", "a1".repeat(16)).parse().unwrap();
        assert_eq!(given.reveal(), "a1".repeat(16));
    }

    #[test]
    fn a_token_is_not_printed_by_accident() {
        let auth = Auth::Token("0123456789abcdef0123456789abcdef".parse().unwrap());
        assert_eq!(format!("{auth:?}"), "Token(Token(…))");
    }
}
