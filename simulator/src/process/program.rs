//! What is in every image: `sh`, `sleep`, `echo`, `cat`, `true`, `false`, `tail /dev/zero`, and the image's own service.

use std::time::Duration;

use thiserror::Error;

use super::shell::{self, Script};
use super::{Environment, Files, Inbox, KILL, Output, Stream};

/// How long it takes to fill a container's memory.
const UNTIL_FULL: Duration = Duration::from_millis(20);

/// A command whose binary is not in the image, in runc's words.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum MissingBinary {
    #[error("exec: \"{0}\": executable file not found in $PATH")]
    InPath(String),
    #[error("exec: \"{0}\": stat {0}: no such file or directory")]
    AtPath(String),
}

/// A command that can run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// What an image runs where the container names no command: serves until a signal ends it.
    Service,
    Shell(Script),
    /// Without a duration: for ever.
    Sleep(Option<Duration>),
    Echo(Vec<String>),
    Cat(Vec<String>),
    /// Takes memory without end, as `tail` does of a file that is one endless line.
    Exhaust,
    /// Ends at once.
    Exit(i32),
    /// Ends at once with a complaint.
    Complain {
        text: String,
        code: i32,
    },
}

impl Program {
    /// The program that this command line names.
    pub(crate) fn resolve(command: &[String]) -> Result<Self, MissingBinary> {
        let Some((name, arguments)) = command.split_first() else { return Ok(Self::Service) };
        let base = match name.rsplit_once('/') {
            Some(("/bin" | "/usr/bin", base)) => base,
            Some(_) => return Err(MissingBinary::AtPath(name.clone())),
            None => name,
        };
        match base {
            "sh" => Ok(Self::shell(arguments)),
            "sleep" => Ok(Self::sleep(arguments)),
            "echo" => Ok(Self::Echo(arguments.to_vec())),
            "cat" => Ok(Self::Cat(arguments.to_vec())),
            "tail" => Ok(Self::tail(arguments)),
            "true" => Ok(Self::Exit(0)),
            "false" => Ok(Self::Exit(1)),
            _ if base == name => Err(MissingBinary::InPath(name.clone())),
            _ => Err(MissingBinary::AtPath(name.clone())),
        }
    }

    fn shell(arguments: &[String]) -> Self {
        let complain = |text: String| Self::Complain { text: format!("sh: {text}\n"), code: 2 };
        match arguments {
            // Its input is empty.
            [] => Self::Exit(0),
            [flag] if flag == "-c" => complain("-c requires an argument".to_owned()),
            // What follows the script would be its positional parameters, which it has no way to name here.
            [flag, script, ..] if flag == "-c" => match shell::parse(script) {
                Ok(script) => Self::Shell(script),
                Err(error) => complain(error.to_string()),
            },
            [flag, ..] if flag.starts_with('-') => complain(format!("illegal option {flag}")),
            [file, ..] => complain(format!("can't open '{file}': No such file or directory")),
        }
    }

    fn sleep(arguments: &[String]) -> Self {
        let complain = |text: String| Self::Complain { text, code: 1 };
        if arguments.is_empty() {
            return complain("sleep: missing operand\n".to_owned());
        }
        let mut total = Duration::ZERO;
        for argument in arguments {
            match sleep_time(argument) {
                _ if matches!(argument.as_str(), "infinity" | "inf") => return Self::Sleep(None),
                Some(time) => total = total.saturating_add(time),
                None => return complain(format!("sleep: invalid number '{argument}'\n")),
            }
        }
        Self::Sleep(Some(total))
    }

    fn tail(arguments: &[String]) -> Self {
        match arguments {
            [file] if file == "/dev/zero" => Self::Exhaust,
            [file, ..] => {
                let text = format!("tail: can't open '{file}': No such file or directory\ntail: no files\n");
                Self::Complain { text, code: 1 }
            }
            // Its input is empty.
            [] => Self::Exit(0),
        }
    }

    /// Runs to its end and gives the exit code.
    pub(crate) async fn run(
        self,
        environment: Environment,
        output: &mut dyn Output,
        inbox: &mut Inbox,
    ) -> i32 {
        match self {
            Self::Service => 128 + inbox.next().await,
            Self::Shell(script) => shell::run(&script, environment, output, inbox).await,
            Self::Sleep(Some(time)) => {
                tokio::time::sleep(time).await;
                0
            }
            Self::Sleep(None) => std::future::pending().await,
            Self::Echo(arguments) => {
                output.write(Stream::Stdout, &echo(&arguments));
                0
            }
            Self::Cat(paths) => cat(&paths, &environment.files, output),
            Self::Exhaust => {
                tokio::time::sleep(UNTIL_FULL).await;
                if environment.cgroup.exhaust() { 128 + KILL } else { std::future::pending().await }
            }
            Self::Exit(code) => code,
            Self::Complain { text, code } => {
                output.write(Stream::Stderr, text.as_bytes());
                code
            }
        }
    }
}

/// Prints files one after the other; those that aren't there are complained of.
fn cat(paths: &[String], files: &Files, output: &mut dyn Output) -> i32 {
    let mut code = 0;
    for path in paths {
        if let Some(text) = files.get(path) {
            output.write(Stream::Stdout, text.as_bytes());
        } else {
            let complaint = format!("cat: can't open '{path}': No such file or directory\n");
            output.write(Stream::Stderr, complaint.as_bytes());
            code = 1;
        }
    }
    code
}

/// `1`, `0.2`, `3m`.
fn sleep_time(text: &str) -> Option<Duration> {
    let (number, unit) = match text.as_bytes().last()? {
        b's' => (&text[..text.len() - 1], 1.0),
        b'm' => (&text[..text.len() - 1], 60.0),
        b'h' => (&text[..text.len() - 1], 3600.0),
        b'd' => (&text[..text.len() - 1], 86400.0),
        _ => (text, 1.0),
    };
    let seconds: f64 = number.parse().ok()?;
    Duration::try_from_secs_f64(seconds * unit).ok()
}

/// What `echo` prints. Its options are `-n` and `-e`, as busybox has them.
pub(super) fn echo(arguments: &[String]) -> Vec<u8> {
    let is_option = |argument: &&String| {
        argument.len() > 1
            && argument.strip_prefix('-').is_some_and(|flags| flags.chars().all(|flag| "neE".contains(flag)))
    };
    let options = arguments.iter().take_while(is_option).count();
    let has = |flag: char| arguments[..options].iter().any(|option| option.contains(flag));
    let mut text = arguments[options..].join(" ");
    if has('e') {
        text = unescape(&text);
    }
    if !has('n') {
        text.push('\n');
    }
    text.into_bytes()
}

fn unescape(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        if character != '\\' {
            result.push(character);
            continue;
        }
        match rest.next() {
            Some('n') => result.push('\n'),
            Some('t') => result.push('\t'),
            Some('r') => result.push('\r'),
            Some('\\') | None => result.push('\\'),
            Some(other) => result.extend(['\\', other]),
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn only_what_is_in_the_image_resolves() {
        assert_eq!(Program::resolve(&[]), Ok(Program::Service));
        assert_eq!(Program::resolve(&command(&["/bin/true"])), Ok(Program::Exit(0)));
        assert_eq!(
            Program::resolve(&command(&["sleep", "0.5"])),
            Ok(Program::Sleep(Some(Duration::from_millis(500))))
        );
        assert_eq!(Program::resolve(&command(&["sleep", "infinity"])), Ok(Program::Sleep(None)));
        assert_eq!(
            Program::resolve(&command(&["bash"])).unwrap_err().to_string(),
            "exec: \"bash\": executable file not found in $PATH"
        );
        assert_eq!(
            Program::resolve(&command(&["/opt/true"])).unwrap_err().to_string(),
            "exec: \"/opt/true\": stat /opt/true: no such file or directory"
        );
    }

    #[test]
    fn bad_arguments_are_the_programs_own_failure() {
        for words in [&["sleep"][..], &["sleep", "x"], &["sleep", "-1"], &["sh", "-c"], &["sh", "-c", "a |"]]
        {
            let program = Program::resolve(&command(words));
            assert!(matches!(program, Ok(Program::Complain { .. })), "{words:?}: {program:?}");
        }
    }

    #[test]
    fn echo_has_its_options() {
        assert_eq!(echo(&command(&["a", "b"])), b"a b\n");
        assert_eq!(echo(&command(&["-n", "a"])), b"a");
        assert_eq!(echo(&command(&["-ne", "a\\tb"])), b"a\tb");
        assert_eq!(echo(&command(&["-x", "-n"])), b"-x -n\n");
        assert_eq!(echo(&[]), b"\n");
    }
}
