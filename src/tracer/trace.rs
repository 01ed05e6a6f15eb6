//! The parent's side: start a sandbox for one source, wait for its answer, believe none of it unchecked.
//!
//! The child is limited by what it does itself (steps, processor time, memory), never by the clock.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use super::built::Traced;
use super::check::{Limits, Refusal};
use super::failure::TraceFailure;
use super::graph::{Dim, Graph};
use super::infer::show;
use super::sandbox::{Answer, READY, Request};
use crate::base::child::{self, Lost, Owned, TICK, Watch};

/// How a source is traced.
#[derive(Clone, Debug)]
pub struct TraceOptions {
    /// Channels, height, width of an image.
    pub input: [usize; 3],
    /// How many classes the network is to tell apart: it gives one number for each.
    pub classes: usize,
    /// Class or factory function; `None`: `Net`, else a factory of the last `nn.Module` that no other uses, else that module.
    pub entry: Option<String>,
    /// What it is given beside the number of classes: names and values, as Python would write them.
    pub arguments: Vec<(String, String)>,
    /// Loop rounds and calls that the source may take.
    pub steps: u64,
    /// Processor time, for what has no steps.
    pub cpu_seconds: u64,
    /// What the source may allocate.
    pub memory_mib: u64,
    /// The executable to start as `PROGRAM sandbox`.
    pub program: PathBuf,
    /// What the graph may be at most.
    pub limits: Limits,
}

impl TraceOptions {
    /// Far beyond what a network takes: the one of the fixtures that takes most takes a 30th.
    pub const STEPS: u64 = 5_000_000;
    /// Several times what so many steps take on a slow machine under load.
    pub const CPU_SECONDS: u64 = 60;
    pub(crate) const MEMORY_MIB: u64 = 512;

    /// The limits above, this executable.
    #[must_use]
    pub fn new(input: [usize; 3], classes: usize) -> Self {
        let program = child::executable().unwrap_or_else(|_| PathBuf::from("eliteloop"));
        Self {
            input,
            classes,
            entry: None,
            arguments: Vec::new(),
            steps: Self::STEPS,
            cpu_seconds: Self::CPU_SECONDS,
            memory_mib: Self::MEMORY_MIB,
            program,
            limits: Limits::default(),
        }
    }

    /// To trace a network again: its images, its classes.
    #[must_use]
    pub fn of(graph: &Graph) -> Self {
        let extents = |shape: &[Dim]| shape.iter().map(|d| d.at(1)).collect::<Vec<_>>();
        let input = extents(&graph.nodes[0].shape);
        Self::new([input[1], input[2], input[3]], extents(&graph.nodes[graph.output].shape)[1])
    }
}

const VERB: &str = "sandbox";
const MOST_SOURCE: usize = 1 << 20;
const MOST_ANSWER: u64 = 64 << 20;
const MOST_COMPLAINT: u64 = 64 << 10;

/// Traces `source` in a sandbox process.
///
/// # Errors
/// Why there is no graph; the sandbox failing in any way is a reason too. [`TraceFailure::of_source`] tells whose it is.
pub fn trace(source: &str, options: &TraceOptions) -> Result<Graph, TraceFailure> {
    trace_built(source, options).map(|traced| traced.graph)
}

/// [`trace`], and what was called with which arguments.
///
/// # Errors
/// As [`trace`].
pub fn trace_built(source: &str, options: &TraceOptions) -> Result<Traced, TraceFailure> {
    if source.len() > MOST_SOURCE {
        return Err(TraceFailure::TooLarge { what: format!("a source of {} bytes", source.len()) });
    }
    let request = Request {
        source: source.to_owned(),
        entry: options.entry.clone(),
        arguments: options.arguments.clone(),
        input: options.input,
        classes: options.classes,
        steps: options.steps,
        cpu_seconds: options.cpu_seconds,
        memory_mib: options.memory_mib,
    };
    let answer = child::persist(|| ask(&request, options)).map_err(TraceFailure::Lost)??;
    let traced = match serde_json::from_slice::<Answer>(&answer) {
        Ok(Answer::Traced(traced)) => traced,
        Ok(Answer::Failure(TraceFailure::Memory { .. })) => return Err(TraceFailure::Memory { mib: options.memory_mib }),
        Ok(Answer::Failure(failure)) => return Err(failure),
        Err(error) => return Err(TraceFailure::Crash { reason: format!("an answer that cannot be read ({error})") }),
    };
    let graph = &traced.graph;
    graph.check(options.input, options.limits).map_err(|refusal| match refusal {
        Refusal::TooLarge(what) => TraceFailure::TooLarge { what },
        Refusal::Wrong(reason) => TraceFailure::Tampered { reason },
    })?;
    let expected = [Dim::Batch(1), Dim::Fixed(options.classes)];
    let found = &graph.nodes[graph.output].shape;
    if *found != expected {
        return Err(TraceFailure::WrongOutput { found: show(found), expected: show(&expected) });
    }
    Ok(traced)
}

/// What a sandbox says of the source, or how the source ended it.
fn ask(request: &Request, options: &TraceOptions) -> Result<Result<Vec<u8>, TraceFailure>, Lost> {
    let taken = |error: &dyn std::fmt::Display| Lost::Taken(format!("no sandbox could be started: {error}"));
    let text = serde_json::to_vec(request).map_err(|e| taken(&e))?;
    let mut command = Command::new(&options.program);
    let child = child::begin(command.env_clear(), VERB)
        .map_err(|e| taken(&e))?
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| taken(&format_args!("{}: {e}", options.program.display())))?;
    let mut child = Owned(child);
    let mut watch = Watch::new(&child.0, VERB);
    let mut stdin = child.0.stdin.take().expect("piped");
    let (stdout, stderr) = (child.0.stdout.take().expect("piped"), child.0.stderr.take().expect("piped"));
    // A child that dies early closes the pipe: its exit says more than our write error.
    thread::Builder::new().spawn(move || stdin.write_all(&text)).map_err(|e| taken(&e))?;
    let answer = read(stdout, MOST_ANSWER).map_err(|e| taken(&e))?;
    let complaint = read(stderr, MOST_COMPLAINT).map_err(|e| taken(&e))?;
    let answer = wait_for(&answer, &mut watch)?;
    if answer.len() as u64 > MOST_ANSWER {
        return Ok(Err(TraceFailure::TooLarge { what: "the answer of the sandbox".to_owned() }));
    }
    let status = wait(&mut child, &mut watch)?;
    let complaint = wait_for(&complaint, &mut watch)?;
    let end = End { status, is_ready: answer.starts_with(READY), complaint: String::from_utf8_lossy(&complaint).into_owned() };
    match answer.strip_prefix(READY) {
        Some(answer) if status.success() && answer.ends_with(b"\n") => Ok(Ok(answer.to_vec())),
        _ => end.cause(options).map(Err),
    }
}

/// Reads to the end, or one byte more than `most`, beside what else there is to do.
fn read(from: impl Read + Send + 'static, most: u64) -> std::io::Result<Receiver<Vec<u8>>> {
    let (sender, receiver) = channel();
    thread::Builder::new().spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.take(most + 1).read_to_end(&mut bytes);
        // Nobody may wait for it any more.
        let _ = sender.send(bytes);
    })?;
    Ok(receiver)
}

fn wait_for(bytes: &Receiver<Vec<u8>>, watch: &mut Watch) -> Result<Vec<u8>, Lost> {
    loop {
        match bytes.recv_timeout(TICK) {
            Ok(bytes) => return Ok(bytes),
            Err(RecvTimeoutError::Timeout) => watch.waited(TICK)?,
            Err(RecvTimeoutError::Disconnected) => return Ok(Vec::new()),
        }
    }
}

/// The child has closed its output; it ends at once, or is stopped.
fn wait(child: &mut Owned, watch: &mut Watch) -> Result<ExitStatus, Lost> {
    const MOMENT: Duration = Duration::from_millis(1);
    loop {
        match child.0.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) => thread::sleep(MOMENT),
            Err(error) => return Err(Lost::Taken(format!("a sandbox cannot be waited for: {error}"))),
        }
        watch.waited(MOMENT)?;
    }
}

/// How a sandbox ended that gave no answer.
struct End {
    status: ExitStatus,
    /// It came as far as the source.
    is_ready: bool,
    complaint: String,
}

impl End {
    fn cause(&self, options: &TraceOptions) -> Result<TraceFailure, Lost> {
        let last = self.complaint.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("no message").chars().take(300);
        let reason = match self.status.signal() {
            Some(signal) => format!("signal {signal}: {}", last.collect::<String>()),
            None => format!("exit code {}: {}", self.status.code().unwrap_or(-1), last.collect::<String>()),
        };
        if child::is_taken(self.status) {
            return Err(Lost::Taken(format!("a sandbox was ended from outside ({reason})")));
        }
        let no_memory = self.complaint.contains("memory allocation of") || self.complaint.contains("capacity overflow");
        match (self.is_ready, no_memory) {
            (false, true) => Err(Lost::NoRoom { verb: VERB, mib: options.memory_mib, setting: "screen.trace_memory_mib" }),
            (false, false) => Err(Lost::Taken(format!("a sandbox ended before it came to the source ({reason})"))),
            (true, true) => Ok(TraceFailure::Memory { mib: options.memory_mib }),
            (true, false) if self.status.signal() == Some(libc::SIGXCPU) => Ok(TraceFailure::CpuTime { seconds: options.cpu_seconds }),
            (true, false) => Ok(TraceFailure::Crash { reason }),
        }
    }
}
