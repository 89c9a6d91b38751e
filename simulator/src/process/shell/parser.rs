//! Tokens into a script.

use std::collections::VecDeque;

use super::lexer::{Token, tokens};
use super::syntax::{AndOr, Command, Connector, Loop, Script, Simple, SyntaxError, Word};

/// Loops within loops: more is no test's script.
const MAX_DEPTH: usize = 16;

/// Words that a shell understands and this one does not, where a command's name is expected.
const FOREIGN: [&str; 10] = ["if", "then", "else", "elif", "fi", "for", "case", "esac", "{", "!"];

/// The script that this text is.
pub(crate) fn parse(text: &str) -> Result<Script, SyntaxError> {
    let mut parser = Parser { tokens: tokens(text)?.into(), depth: 0 };
    let script = parser.script()?;
    match parser.tokens.front() {
        None => Ok(script),
        Some(token) => Err(unexpected(token)),
    }
}

struct Parser {
    tokens: VecDeque<Token>,
    depth: usize,
}

impl Parser {
    /// Commands up to the end, or up to a keyword that ends them.
    fn script(&mut self) -> Result<Script, SyntaxError> {
        let mut lists = Vec::new();
        loop {
            while self.tokens.front() == Some(&Token::Separator) {
                self.tokens.pop_front();
            }
            match self.keyword() {
                Some("do" | "done") => return Ok(Script { lists }),
                _ if self.tokens.is_empty() => return Ok(Script { lists }),
                _ => lists.push(self.and_or()?),
            }
            match self.tokens.front() {
                None | Some(Token::Separator) => {}
                Some(token) => return Err(unexpected(token)),
            }
        }
    }

    fn and_or(&mut self) -> Result<AndOr, SyntaxError> {
        let first = self.command()?;
        let mut rest = Vec::new();
        loop {
            let connector = match self.tokens.front() {
                Some(Token::And) => Connector::IfItSucceeded,
                Some(Token::Or) => Connector::IfItFailed,
                _ => return Ok(AndOr { first, rest }),
            };
            self.tokens.pop_front();
            rest.push((connector, self.command()?));
        }
    }

    fn command(&mut self) -> Result<Command, SyntaxError> {
        match self.keyword() {
            Some("while") => self.repeat(Connector::IfItSucceeded),
            Some("until") => self.repeat(Connector::IfItFailed),
            Some(word) if word == "do" || word == "done" || FOREIGN.contains(&word) => {
                Err(SyntaxError::Unexpected(word.to_owned()))
            }
            _ => self.simple().map(Command::Simple),
        }
    }

    fn repeat(&mut self, goes_on_if: Connector) -> Result<Command, SyntaxError> {
        if self.depth == MAX_DEPTH {
            return Err(SyntaxError::TooDeep);
        }
        self.depth += 1;
        self.tokens.pop_front();
        let condition = self.script()?;
        self.expect("do")?;
        let body = self.script()?;
        self.expect("done")?;
        self.depth -= 1;
        if condition.lists.is_empty() || body.lists.is_empty() {
            return Err(SyntaxError::Unexpected("done".to_owned()));
        }
        Ok(Command::Loop(Loop { goes_on_if, condition, body }))
    }

    fn simple(&mut self) -> Result<Simple, SyntaxError> {
        let mut simple = Simple::default();
        loop {
            match self.tokens.pop_front() {
                Some(Token::Word(word)) => match assignment(&word) {
                    Some(assignment) if simple.words.is_empty() => simple.assignments.push(assignment),
                    _ => simple.words.push(word),
                },
                Some(Token::Redirect(redirect)) => simple.redirects.push(redirect),
                other => {
                    let is_empty = simple == Simple::default();
                    if let Some(token) = other {
                        if is_empty {
                            return Err(unexpected(&token));
                        }
                        self.tokens.push_front(token);
                    } else if is_empty {
                        return Err(SyntaxError::UnexpectedEnd("command"));
                    }
                    return Ok(simple);
                }
            }
        }
    }

    fn keyword(&self) -> Option<&str> {
        match self.tokens.front() {
            Some(Token::Word(word)) => word.plain(),
            _ => None,
        }
    }

    fn expect(&mut self, word: &'static str) -> Result<(), SyntaxError> {
        if self.keyword() == Some(word) {
            self.tokens.pop_front();
            return Ok(());
        }
        Err(self.tokens.front().map_or(SyntaxError::UnexpectedEnd(word), unexpected))
    }
}

/// `NAME=value`, where the name and the `=` are not quoted.
fn assignment(word: &Word) -> Option<(String, Word)> {
    use super::syntax::Part;

    let (first, rest) = word.parts.split_first()?;
    let Part::Literal { text, quoted: false } = first else { return None };
    let (name, begin) = text.split_once('=')?;
    let is_name = name.bytes().next().is_some_and(|byte| byte == b'_' || byte.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
    if !is_name {
        return None;
    }
    let mut parts = vec![Part::Literal { text: begin.to_owned(), quoted: false }];
    parts.extend_from_slice(rest);
    Some((name.to_owned(), Word { parts }))
}

fn unexpected(token: &Token) -> SyntaxError {
    SyntaxError::Unexpected(match token {
        Token::Word(word) => word.plain().unwrap_or("word").to_owned(),
        Token::Separator => ";".to_owned(),
        Token::And => "&&".to_owned(),
        Token::Or => "||".to_owned(),
        Token::Redirect(_) => ">".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_shell_lacks_is_a_syntax_error() {
        for script in [
            "echo a | cat",
            "sleep 1 &",
            "echo $(date)",
            "echo `date`",
            "cat < file",
            "echo a > file",
            "if true; then echo; fi",
            "(echo a)",
            "echo ${A:-b}",
            "echo $1",
            "echo 'a",
            "echo \"a",
            "&& true",
            "true &&",
            "; ; && a",
            "while true; do sleep 1",
            "while; do true; done",
            "done",
            "echo a > ",
        ] {
            assert!(parse(script).is_err(), "{script}");
        }
    }

    #[test]
    fn what_tests_use_parses() {
        for script in [
            "",
            "exit 3",
            "echo hello; exit 1",
            "echo a >&2; echo b 1>&2 2>/dev/null",
            "while true; do echo tick; sleep 1; done",
            "trap 'exit 0' TERM; while :; do sleep 1; done",
            "true && echo yes || echo no",
            "A=1 B=\"$A 2\"; echo $A ${B}",
            "echo one\necho two # and no more\n",
            "echo \"a \\\"quoted\\\" word\" '$NOT'",
            "exec sleep 1000",
            "until false; do exit; done",
        ] {
            assert!(parse(script).is_ok(), "{script}: {:?}", parse(script));
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = "while true; do ".repeat(100);
        assert_eq!(parse(&deep), Err(SyntaxError::TooDeep));
    }
}
