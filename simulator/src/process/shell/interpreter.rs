//! Runs a script.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::Instant;

use super::parser::parse;
use super::syntax::{AndOr, Command, Connector, Loop, Part, Redirect, Script, Simple, Target, Word};
use crate::process::{Environment, Inbox, Output, Program, Stream, program, signal};

/// The least time a turn of a loop takes, so that one without a `sleep` doesn't take a whole core.
const TURN: Duration = Duration::from_millis(1);

/// Runs a script to its end and gives its exit code.
///
/// Signals with a trap are looked at between commands: the trap runs once the command in the foreground has ended. What
/// other signals do is decided where they are sent.
pub(crate) async fn run(
    script: &Script,
    environment: Environment,
    output: &mut dyn Output,
    inbox: &mut Inbox,
) -> i32 {
    let mut shell =
        Shell { environment, locals: BTreeMap::new(), traps: BTreeMap::new(), status: 0, output, inbox };
    shell.script(script).await;
    shell.status
}

struct Shell<'a> {
    /// Handed on to children.
    environment: Environment,
    /// Set here and not exported.
    locals: BTreeMap<String, String>,
    /// What to run at a signal.
    traps: BTreeMap<i32, Script>,
    /// `$?`
    status: i32,
    output: &'a mut dyn Output,
    inbox: &'a mut Inbox,
}

/// What comes after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Next,
    /// `break`
    LeaveLoop,
    /// `continue`
    NextTurn,
    /// The shell ends with its status.
    Exit,
}

type Running<'a> = Pin<Box<dyn Future<Output = Flow> + Send + 'a>>;

impl Shell<'_> {
    fn script<'a>(&'a mut self, script: &'a Script) -> Running<'a> {
        Box::pin(async move {
            for list in &script.lists {
                let flow = self.and_or(list).await;
                if flow != Flow::Next {
                    return flow;
                }
            }
            Flow::Next
        })
    }

    async fn and_or(&mut self, list: &AndOr) -> Flow {
        let mut flow = self.command(&list.first).await;
        for (connector, command) in &list.rest {
            if flow != Flow::Next {
                break;
            }
            if self.agrees(*connector) {
                flow = self.command(command).await;
            }
        }
        flow
    }

    fn agrees(&self, connector: Connector) -> bool {
        match connector {
            Connector::IfItSucceeded => self.status == 0,
            Connector::IfItFailed => self.status != 0,
        }
    }

    async fn command(&mut self, command: &Command) -> Flow {
        let flow = match command {
            Command::Simple(simple) => self.simple(simple).await,
            Command::Loop(repeat) => self.repeat(repeat).await,
        };
        if flow == Flow::Exit { flow } else { self.handle_signals().await.unwrap_or(flow) }
    }

    async fn repeat(&mut self, repeat: &Loop) -> Flow {
        loop {
            let turn = Instant::now();
            let mut flow = self.script(&repeat.condition).await;
            if flow == Flow::Next && !self.agrees(repeat.goes_on_if) {
                self.status = 0;
                return Flow::Next;
            }
            if flow == Flow::Next {
                flow = self.script(&repeat.body).await;
            }
            match flow {
                Flow::Next | Flow::NextTurn => {}
                Flow::LeaveLoop => return Flow::Next,
                Flow::Exit => return Flow::Exit,
            }
            tokio::time::sleep_until(turn + TURN).await;
        }
    }

    async fn handle_signals(&mut self) -> Option<Flow> {
        while let Some(number) = self.inbox.pending() {
            let Some(script) = self.traps.get(&number).cloned() else { continue };
            let status = self.status;
            if self.script(&script).await == Flow::Exit {
                return Some(Flow::Exit);
            }
            self.status = status;
        }
        None
    }

    async fn simple(&mut self, simple: &Simple) -> Flow {
        let words: Vec<String> = simple.words.iter().flat_map(|word| self.fields(word)).collect();
        let assignments: Vec<(String, String)> = simple
            .assignments
            .iter()
            .map(|(name, word)| (name.clone(), self.fields(word).join(" ")))
            .collect();
        let Some((name, arguments)) = words.split_first() else {
            for (name, value) in assignments {
                self.assign(name, value);
            }
            self.status = 0;
            return Flow::Next;
        };
        let redirects = Redirects::of(&simple.redirects);
        match name.as_str() {
            ":" => self.status = 0,
            "exit" => return self.exit(arguments, redirects),
            "break" => return Flow::LeaveLoop,
            "continue" => return Flow::NextTurn,
            "trap" => self.status = self.trap(arguments, redirects),
            "echo" => {
                redirects.write(self.output, Stream::Stdout, &program::echo(arguments));
                self.status = 0;
            }
            "exec" if arguments.is_empty() => self.status = 0,
            "exec" => {
                self.inbox.forget_handlers();
                self.status = self.child(arguments, assignments, redirects, Replaces::TheShell).await;
                return Flow::Exit;
            }
            _ => self.status = self.child(&words, assignments, redirects, Replaces::Nothing).await,
        }
        Flow::Next
    }

    async fn child(
        &mut self,
        command: &[String],
        assignments: Vec<(String, String)>,
        redirects: Redirects,
        replaces: Replaces,
    ) -> i32 {
        let Ok(program) = Program::resolve(command) else {
            let complaint = format!("sh: {}: not found\n", command[0]);
            redirects.write(self.output, Stream::Stderr, complaint.as_bytes());
            return 127;
        };
        let mut environment = self.environment.clone();
        environment.variables.extend(assignments);
        let mut output = Redirected { redirects, output: &mut *self.output };
        let mut closed = Inbox::closed();
        let inbox = match replaces {
            Replaces::TheShell => &mut *self.inbox,
            Replaces::Nothing => &mut closed,
        };
        let running: Pin<Box<dyn Future<Output = i32> + Send + '_>> =
            Box::pin(program.run(environment, &mut output, inbox));
        running.await
    }

    fn exit(&mut self, arguments: &[String], redirects: Redirects) -> Flow {
        if let Some(code) = arguments.first() {
            self.status = if let Ok(code) = code.parse::<i64>() {
                (code & 0xff) as i32
            } else {
                let complaint = format!("sh: exit: line 0: Illegal number: {code}\n");
                redirects.write(self.output, Stream::Stderr, complaint.as_bytes());
                2
            };
        }
        Flow::Exit
    }

    /// `trap ACTION SIGNAL…`; an empty action ignores the signal, `-` resets it.
    fn trap(&mut self, arguments: &[String], redirects: Redirects) -> i32 {
        let Some((action, signals)) = arguments.split_first() else { return 0 };
        let script = match parse(action) {
            Ok(script) => script,
            Err(error) => {
                redirects.write(self.output, Stream::Stderr, format!("sh: {error}\n").as_bytes());
                return 2;
            }
        };
        for name in signals {
            let Some(number) = signal::number(name) else {
                let complaint = format!("sh: trap: line 0: {name}: invalid signal specification\n");
                redirects.write(self.output, Stream::Stderr, complaint.as_bytes());
                return 1;
            };
            self.traps.remove(&number);
            match action.as_str() {
                "" => self.inbox.ignore(number),
                "-" => self.inbox.reset(number),
                _ => {
                    self.traps.insert(number, script.clone());
                    self.inbox.handle(number);
                }
            }
        }
        0
    }

    fn assign(&mut self, name: String, value: String) {
        match self.environment.variables.get_mut(&name) {
            Some(exported) => *exported = value,
            None => {
                self.locals.insert(name, value);
            }
        }
    }

    fn value(&self, name: &str) -> String {
        match name {
            "?" => self.status.to_string(),
            "$" => "1".to_owned(),
            _ => self
                .locals
                .get(name)
                .or_else(|| self.environment.variables.get(name))
                .cloned()
                .unwrap_or_default(),
        }
    }

    /// The word with its variables replaced: none, one or several arguments.
    fn fields(&self, word: &Word) -> Vec<String> {
        let mut fields = Vec::new();
        let mut current: Option<String> = None;
        for part in &word.parts {
            match part {
                Part::Literal { text, .. } => current.get_or_insert_default().push_str(text),
                Part::Variable { name, quoted: true } => {
                    current.get_or_insert_default().push_str(&self.value(name));
                }
                Part::Variable { name, quoted: false } => {
                    let value = self.value(name);
                    let mut pieces = value.split(char::is_whitespace).peekable();
                    while let Some(piece) = pieces.next() {
                        if !piece.is_empty() {
                            current.get_or_insert_default().push_str(piece);
                        }
                        if pieces.peek().is_some() {
                            fields.extend(current.take());
                        }
                    }
                }
            }
        }
        fields.extend(current);
        fields
    }
}

/// What a child takes the place of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Replaces {
    /// It runs beside the shell, which waits.
    Nothing,
    /// `exec`: from then on signals are its own.
    TheShell,
}

/// Where each of the two outputs goes; `None` is nowhere.
#[derive(Clone, Copy, Debug)]
struct Redirects {
    stdout: Option<Stream>,
    stderr: Option<Stream>,
}

impl Redirects {
    fn of(redirects: &[Redirect]) -> Self {
        let mut result = Self { stdout: Some(Stream::Stdout), stderr: Some(Stream::Stderr) };
        for redirect in redirects {
            let target = match redirect.to {
                Target::Stream(stream) => result.target(stream),
                Target::Nowhere => None,
            };
            match redirect.from {
                Stream::Stdout => result.stdout = target,
                Stream::Stderr => result.stderr = target,
            }
        }
        result
    }

    fn target(self, stream: Stream) -> Option<Stream> {
        match stream {
            Stream::Stdout => self.stdout,
            Stream::Stderr => self.stderr,
        }
    }

    fn write(self, output: &mut dyn Output, stream: Stream, bytes: &[u8]) {
        if let Some(target) = self.target(stream) {
            output.write(target, bytes);
        }
    }
}

struct Redirected<'a> {
    redirects: Redirects,
    output: &'a mut dyn Output,
}

impl Output for Redirected<'_> {
    fn write(&mut self, stream: Stream, bytes: &[u8]) {
        self.redirects.write(self.output, stream, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::signal::Fate;
    use crate::process::{Captured, Namespace};

    async fn sh(script: &str) -> (i32, String, String) {
        let variables = [("NAME".to_owned(), "a b".to_owned()), ("EMPTY".to_owned(), String::new())];
        let environment = Environment { variables: variables.into(), ..Environment::default() };
        let mut output = Captured::default();
        let command = ["sh", "-c", script].map(str::to_owned);
        let program = Program::resolve(&command).unwrap();
        let code = program.run(environment, &mut output, &mut Inbox::closed()).await;
        (code, String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    async fn stdout(script: &str) -> String {
        sh(script).await.1
    }

    #[tokio::test(start_paused = true)]
    async fn exit_codes() {
        assert_eq!(sh("").await.0, 0);
        assert_eq!(sh("exit 3; exit 4").await.0, 3);
        assert_eq!(sh("exit 259").await.0, 3);
        assert_eq!(sh("false; exit").await.0, 1);
        assert_eq!(sh("false").await.0, 1);
        assert_eq!(
            sh("nothing-like-it").await,
            (127, String::new(), "sh: nothing-like-it: not found\n".into())
        );
        assert_eq!(sh("exec false; exit 9").await.0, 1);
        assert_eq!(sh("sh -c 'exit 5'").await.0, 5);
        assert_eq!(sh("echo a | cat").await.0, 2);
        assert_eq!(sh("exit x").await.0, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn words_and_variables() {
        assert_eq!(stdout("echo $NAME ${NAME} \"$NAME\" '$NAME'").await, "a b a b a b $NAME\n");
        assert_eq!(stdout("echo [$EMPTY] \"$EMPTY\"x $MISSING y").await, "[] x y\n");
        assert_eq!(stdout("A=1; B=\"$A 2\"; echo $B; NAME=z; sh -c 'echo $NAME.$A'").await, "1 2\nz.\n");
        assert_eq!(stdout("A=1 sh -c 'echo $A'; echo $A").await, "1\n\n");
        assert_eq!(stdout("false; echo $? $$; echo $?").await, "1 1\n0\n");
        assert_eq!(stdout("echo a\\ b 'c'\"d\"e # comment").await, "a b cde\n");
        assert_eq!(stdout("echo cost: 5$ \"$\"").await, "cost: 5$ $\n");
        assert_eq!(stdout("echo x$NAME").await, "xa b\n");
    }

    #[tokio::test(start_paused = true)]
    async fn connectors() {
        assert_eq!(stdout("true && echo yes || echo no").await, "yes\n");
        assert_eq!(stdout("false && echo yes || echo no").await, "no\n");
        assert_eq!(stdout("true || echo no; echo after").await, "after\n");
        assert_eq!(sh("true && exit 4 || exit 5").await.0, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn redirections() {
        let (_, stdout, stderr) =
            sh("echo a >&2; echo b 1>&2; echo c 2>&1; echo d >/dev/null; nope 2>/dev/null; nope 2>&1").await;
        assert_eq!((stdout.as_str(), stderr.as_str()), ("c\nsh: nope: not found\n", "a\nb\n"));
        assert_eq!(sh("sh -c 'echo in' >&2").await.2, "in\n");
    }

    #[tokio::test(start_paused = true)]
    async fn loops() {
        let started = Instant::now();
        let script =
            "N=; until sh -c 'exit 0'; do :; done; while true; do echo t; sleep 10; break; done; echo e";
        assert_eq!(stdout(script).await, "t\ne\n");
        assert_eq!(started.elapsed().as_secs(), 10);
        let endless = tokio::time::timeout(Duration::from_secs(1), sh("while true; do continue; done")).await;
        assert!(endless.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_trap_runs_when_the_command_in_the_foreground_has_ended() {
        let (outbox, mut inbox) = signal::channel(Namespace::Shared);
        let script = parse("trap 'echo bye; exit 7' TERM; while true; do sleep 3; done").unwrap();
        let mut output = Captured::default();
        let started = Instant::now();
        let sending = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(outbox.send(15), Fate::Handled);
        };
        let (code, ()) = tokio::join!(run(&script, Environment::default(), &mut output, &mut inbox), sending);
        assert_eq!((code, output.stdout.as_slice()), (7, b"bye\n".as_slice()));
        assert_eq!(started.elapsed().as_secs(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn traps_are_gone_after_exec() {
        let (outbox, mut inbox) = signal::channel(Namespace::Own);
        let script =
            parse("trap 'exit 7' TERM; trap '' INT; trap 'exit 8' HUP; trap - HUP; exec sleep 3").unwrap();
        let mut output = Captured::default();
        let sending = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            [15, 2, 1].map(|number| outbox.send(number))
        };
        let (code, fates) =
            tokio::join!(run(&script, Environment::default(), &mut output, &mut inbox), sending);
        assert_eq!((code, fates), (0, [Fate::Ignored; 3]));
    }
}
