//! Why a source did not become a graph. These are outcomes of a search, so they are data, with the line where it is known.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::child::Lost;
use crate::base::error::{Error, Result};

/// Why a source did not become a graph. Lines are those of the source, from 1; None where they are not known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TraceFailure {
    /// Not Python.
    Syntax {
        /// Where reading stopped.
        line: Option<u32>,
        /// What the parser says.
        message: String,
    },
    /// A name of `torch` (or another library) that the tracer does not know.
    Unsupported {
        /// The name with its path, or what of a known name is not supported.
        name: String,
        /// Where it is used.
        line: Option<u32>,
        /// What else the source uses and the tracer does not know, with the lines.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        also: Vec<(String, u32)>,
    },
    /// A class or function needs arguments that nothing says.
    Arguments {
        /// Name of the class or function.
        entry: String,
        /// Those of the arguments.
        names: Vec<String>,
        /// Where the function, or the constructor of the class, begins.
        line: Option<u32>,
    },
    /// An exception of the source, shape mismatches included.
    Python {
        /// The exception's class.
        kind: String,
        /// At most 500 characters; empty where the exception has no text.
        message: String,
        /// The innermost line of the source that it came through.
        line: Option<u32>,
    },
    /// No class `Net`, no other module, or not the one asked for.
    NoNetwork {
        /// The name that was asked for; None where none was.
        wanted: Option<String>,
    },
    /// It gives something else than one tensor of shape (batch, classes).
    WrongOutput {
        /// Its shape, or the type of what is no tensor.
        found: String,
        /// The shape it should have, `N` for the batch size.
        expected: String,
    },
    /// What the network does depends on the values of its input, on chance or on the batch size.
    DataDependent {
        /// What depends on it, in words.
        reason: String,
        /// Where that shows.
        line: Option<u32>,
    },
    /// More loop rounds and calls than it may take: the same on every machine.
    Steps {
        /// How many it may take.
        most: u64,
    },
    /// What it does in no steps does not end: the limit of the system, of which the source is meant to fall short by far.
    CpuTime {
        /// The limit on processor time, in seconds.
        seconds: u64,
    },
    /// The source takes more memory than it may.
    Memory {
        /// The limit, in MiB.
        mib: u64,
    },
    /// The sandbox process ended without an answer.
    Crash {
        /// How it ended, in words: signal, exit code or panic, or an answer that cannot be read.
        reason: String,
    },
    /// The machine took the sandbox, or had none: no word about the source. Only the parent's side knows of it.
    #[serde(skip)]
    Lost(Lost),
    /// The answer of the sandbox contradicts itself.
    Tampered {
        /// The contradiction, in words.
        reason: String,
    },
    /// The source, a tensor, the graph or the sandbox's answer is beyond the limits.
    TooLarge {
        /// What is beyond them, in words.
        what: String,
    },
}

impl TraceFailure {
    /// This failure, if it is one of the source.
    ///
    /// # Errors
    /// It is the machine's, which must not count against a candidate.
    pub fn of_source(self) -> Result<Self> {
        match self {
            Self::Lost(lost) => Err(lost.into()),
            failure => Ok(failure),
        }
    }

    /// For whoever cannot go on without the graph of this source: what is wrong with it, or with the machine.
    #[must_use]
    pub fn into_error(self, source: impl fmt::Display) -> Error {
        match self.of_source() {
            Ok(failure) => Error::input(format!("{source}: {failure}")).hint(failure.hint()),
            Err(error) => error,
        }
    }

    /// The line of the source it was noticed at, from 1.
    #[must_use]
    pub fn line(&self) -> Option<u32> {
        match self {
            Self::Syntax { line, .. }
            | Self::Unsupported { line, .. }
            | Self::Arguments { line, .. }
            | Self::Python { line, .. }
            | Self::DataDependent { line, .. } => *line,
            _ => None,
        }
    }

    /// One word for tables and funnels.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Syntax { .. } => "syntax",
            Self::Unsupported { .. } => "unsupported",
            Self::Arguments { .. } => "arguments",
            Self::Python { .. } => "python",
            Self::NoNetwork { .. } => "no_network",
            Self::WrongOutput { .. } => "wrong_output",
            Self::DataDependent { .. } => "data_dependent",
            Self::Steps { .. } => "steps",
            Self::CpuTime { .. } => "cpu_time",
            Self::Memory { .. } => "memory",
            Self::Crash { .. } => "crash",
            Self::Lost(_) => "lost",
            Self::Tampered { .. } => "tampered",
            Self::TooLarge { .. } => "too_large",
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        let text = match self {
            Self::Syntax { .. } => "the file must be Python 3",
            Self::Unsupported { also, .. } => return with_others(also),
            Self::Arguments { names, .. } => {
                let first = names.first().map_or("NAME", String::as_str);
                return format!("--arg {first}=VALUE passes it, or give it a default in the source");
            }
            Self::Python { kind, .. } if matches!(&kind[..], "RuntimeError" | "ValueError" | "ZeroDivisionError" | "AssertionError") => {
                "PyTorch stops here too, unless the tracer errs; --input and --arg change what the network gets"
            }
            Self::Python { .. } => {
                "if PyTorch takes this, the tracer does not follow it: `eliteloop trace --operations` lists what it knows"
            }
            Self::NoNetwork { .. } => "define `class Net(nn.Module)`, or name the class with --entry",
            Self::WrongOutput { .. } => {
                "`forward` must return one tensor of shape (batch, classes), the classes being those of the images; `eliteloop trace` takes another number by --classes, and --arg NAME=VALUE for the argument that says it"
            }
            Self::DataDependent { .. } => "a network must do the same for every input and batch size",
            Self::Steps { .. } | Self::CpuTime { .. } => "building and calling the network once must end: look for a loop",
            Self::Memory { .. } => "the source asks for very large lists or strings",
            Self::Lost(_) => "the source is not to blame",
            Self::Crash { .. } => "the sandbox met something it cannot run; the program itself is fine",
            Self::Tampered { .. } => "the source interferes with the tracer; it is refused",
            Self::TooLarge { .. } => "make the network smaller",
        };
        text.to_owned()
    }
}

impl fmt::Display for TraceFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line() {
            write!(f, "line {line}: ")?;
        }
        match self {
            Self::Syntax { message, .. } => write!(f, "syntax error: {message}"),
            Self::Unsupported { name, .. } => write!(f, "{name} is not supported"),
            Self::Arguments { entry, names, .. } => {
                write!(
                    f,
                    "`{entry}` needs {}, and nothing says what to pass",
                    names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
                )
            }
            Self::Python { kind, message, .. } if message.is_empty() => write!(f, "{kind}"),
            Self::Python { kind, message, .. } => write!(f, "{kind}: {message}"),
            Self::NoNetwork { wanted: Some(name) } => write!(f, "there is no class or function `{name}` that gives an nn.Module"),
            Self::NoNetwork { wanted: None } => write!(f, "there is no class `Net` and no other nn.Module"),
            Self::WrongOutput { found, expected } => write!(f, "the network gives {found}, not {expected}"),
            Self::DataDependent { reason, .. } => write!(f, "{reason}"),
            Self::Steps { most } => write!(f, "not done after {most} steps"),
            Self::CpuTime { seconds } => write!(f, "not done after {seconds} s of processor time"),
            Self::Memory { mib } => write!(f, "more than {mib} MiB of memory"),
            Self::Crash { reason } => write!(f, "the sandbox ended: {reason}"),
            Self::Lost(lost) => write!(f, "{lost}"),
            Self::Tampered { reason } => write!(f, "the trace contradicts itself: {reason}"),
            Self::TooLarge { what } => write!(f, "too large: {what}"),
        }
    }
}

impl std::error::Error for TraceFailure {}

fn with_others(also: &[(String, u32)]) -> String {
    const SHOWN: usize = 12;
    let known = "`eliteloop trace --operations` lists what the tracer knows";
    if also.is_empty() {
        return known.to_owned();
    }
    let mut others: Vec<String> = also.iter().take(SHOWN).map(|(name, line)| format!("{name} (line {line})")).collect();
    if also.len() > SHOWN {
        others.push(format!("{} more", also.len() - SHOWN));
    }
    format!("the file also uses {}; {known}", others.join(", "))
}
