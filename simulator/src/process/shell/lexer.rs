//! Text into tokens.

use std::iter::Peekable;
use std::str::Chars;

use super::syntax::{Part, Redirect, SyntaxError, Target, Word};
use crate::process::Stream;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Word(Word),
    /// `;` or a line's end.
    Separator,
    /// `&&`
    And,
    /// `||`
    Or,
    Redirect(Redirect),
}

pub(super) fn tokens(script: &str) -> Result<Vec<Token>, SyntaxError> {
    let mut lexer = Lexer { rest: script.chars().peekable() };
    let mut tokens = Vec::new();
    while let Some(token) = lexer.next()? {
        tokens.push(token);
    }
    Ok(tokens)
}

struct Lexer<'a> {
    rest: Peekable<Chars<'a>>,
}

impl Lexer<'_> {
    fn next(&mut self) -> Result<Option<Token>, SyntaxError> {
        self.skip_blanks();
        let Some(&next) = self.rest.peek() else { return Ok(None) };
        let token = match next {
            ';' | '\n' => {
                self.rest.next();
                Token::Separator
            }
            '&' => self.doubled('&', Token::And)?,
            '|' => self.doubled('|', Token::Or)?,
            '>' => self.redirect(Stream::Stdout)?,
            '<' | '(' | ')' | '`' => return Err(SyntaxError::Unexpected(next.to_string())),
            _ => self.word_or_redirect()?,
        };
        Ok(Some(token))
    }

    fn skip_blanks(&mut self) {
        while self.rest.next_if(|c| matches!(c, ' ' | '\t' | '\r')).is_some() {}
        if self.rest.peek() == Some(&'#') {
            while self.rest.next_if(|c| *c != '\n').is_some() {}
        }
    }

    fn doubled(&mut self, character: char, token: Token) -> Result<Token, SyntaxError> {
        self.rest.next();
        match self.rest.next_if_eq(&character) {
            Some(_) => Ok(token),
            None => Err(SyntaxError::Unexpected(character.to_string())),
        }
    }

    /// `1>…` and `2>…` begin like words.
    fn word_or_redirect(&mut self) -> Result<Token, SyntaxError> {
        let word = self.word()?;
        let from = match word.plain() {
            Some("1") => Stream::Stdout,
            Some("2") => Stream::Stderr,
            _ => return Ok(Token::Word(word)),
        };
        if self.rest.peek() == Some(&'>') { self.redirect(from) } else { Ok(Token::Word(word)) }
    }

    fn redirect(&mut self, from: Stream) -> Result<Token, SyntaxError> {
        self.rest.next();
        let duplicates = self.rest.next_if_eq(&'&').is_some();
        if !duplicates {
            self.rest.next_if_eq(&'>');
            self.skip_blanks();
        }
        let target = self.word()?;
        let to = match (duplicates, target.plain()) {
            (true, Some("1")) | (false, Some("/dev/stdout")) => Target::Stream(Stream::Stdout),
            (true, Some("2")) | (false, Some("/dev/stderr")) => Target::Stream(Stream::Stderr),
            (false, Some("/dev/null")) => Target::Nowhere,
            // There is no file system to write to.
            _ => return Err(SyntaxError::Unexpected(">".to_owned())),
        };
        Ok(Token::Redirect(Redirect { from, to }))
    }

    fn word(&mut self) -> Result<Word, SyntaxError> {
        let mut word = WordBuilder::default();
        while let Some(&next) = self.rest.peek() {
            match next {
                ' ' | '\t' | '\r' | '\n' | ';' | '&' | '|' | '<' | '>' | '(' | ')' | '`' => break,
                '\'' => self.single_quoted(&mut word)?,
                '"' => self.double_quoted(&mut word)?,
                '$' => self.variable(&mut word, false)?,
                '\\' => {
                    self.rest.next();
                    word.push_quoted(self.rest.next().unwrap_or('\\'));
                }
                _ => {
                    self.rest.next();
                    word.push_plain(next);
                }
            }
        }
        Ok(word.finish())
    }

    fn single_quoted(&mut self, word: &mut WordBuilder) -> Result<(), SyntaxError> {
        self.rest.next();
        word.begin_quoted();
        loop {
            match self.rest.next() {
                Some('\'') => return Ok(()),
                Some(character) => word.push_quoted(character),
                None => return Err(SyntaxError::UnterminatedQuote),
            }
        }
    }

    fn double_quoted(&mut self, word: &mut WordBuilder) -> Result<(), SyntaxError> {
        self.rest.next();
        word.begin_quoted();
        loop {
            match self.rest.peek().copied() {
                Some('"') => {
                    self.rest.next();
                    return Ok(());
                }
                Some('$') => self.variable(word, true)?,
                Some('`') => return Err(SyntaxError::Unexpected("`".to_owned())),
                Some('\\') => {
                    self.rest.next();
                    match self.rest.next() {
                        Some(character @ ('"' | '\\' | '$' | '`')) => word.push_quoted(character),
                        Some('\n') => {}
                        Some(character) => {
                            word.push_quoted('\\');
                            word.push_quoted(character);
                        }
                        None => return Err(SyntaxError::UnterminatedQuote),
                    }
                }
                Some(character) => {
                    self.rest.next();
                    word.push_quoted(character);
                }
                None => return Err(SyntaxError::UnterminatedQuote),
            }
        }
    }

    fn variable(&mut self, word: &mut WordBuilder, quoted: bool) -> Result<(), SyntaxError> {
        self.rest.next();
        match self.rest.peek().copied() {
            Some('{') => {
                self.rest.next();
                let name = self.name();
                if name.is_empty() || self.rest.next() != Some('}') {
                    return Err(SyntaxError::BadSubstitution);
                }
                word.push_variable(name, quoted);
            }
            Some('(') => return Err(SyntaxError::Unexpected("(".to_owned())),
            Some(special @ ('?' | '$')) => {
                self.rest.next();
                word.push_variable(special.to_string(), quoted);
            }
            Some(first) if first == '_' || first.is_ascii_alphabetic() => {
                let name = self.name();
                word.push_variable(name, quoted);
            }
            // `$1`, `$@`, `$#` …: there are no positional parameters.
            Some('0'..='9' | '@' | '*' | '#' | '!' | '-') => return Err(SyntaxError::BadSubstitution),
            _ if quoted => word.push_quoted('$'),
            _ => word.push_plain('$'),
        }
        Ok(())
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self.rest.next_if(|c| *c == '_' || c.is_ascii_alphanumeric()) {
            name.push(c);
        }
        name
    }
}

#[derive(Default)]
struct WordBuilder {
    parts: Vec<Part>,
}

impl WordBuilder {
    fn push_plain(&mut self, character: char) {
        self.push(character, false);
    }

    fn push_quoted(&mut self, character: char) {
        self.push(character, true);
    }

    /// `''` is a word, though an empty one.
    fn begin_quoted(&mut self) {
        self.parts.push(Part::Literal { text: String::new(), quoted: true });
    }

    fn push(&mut self, character: char, is_quoted: bool) {
        match self.parts.last_mut() {
            Some(Part::Literal { text, quoted }) if *quoted == is_quoted => text.push(character),
            _ => self.parts.push(Part::Literal { text: character.to_string(), quoted: is_quoted }),
        }
    }

    fn push_variable(&mut self, name: String, quoted: bool) {
        self.parts.push(Part::Variable { name, quoted });
    }

    fn finish(self) -> Word {
        Word { parts: self.parts }
    }
}
