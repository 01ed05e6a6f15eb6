//! The parent's side: start a sandbox for one source, wait for its answer no longer than agreed, believe none of it unchecked.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::check::{Limits, Refusal};
use super::failure::TraceFailure;
use super::graph::{Dim, Graph};
use super::infer::show;
use super::sandbox::{Answer, Request};
use crate::child;

/// How a source is traced.
#[derive(Clone, Debug)]
pub struct TraceOptions {
    /// Channels, height, width of an image.
    pub input: [usize; 3],
    pub classes: usize,
    /// Class or factory function; `None`: `Net`, else the last `nn.Module` of the file.
    pub entry: Option<String>,
    /// Wall-clock deadline.
    pub seconds: f64,
    /// What the source may allocate.
    pub memory_mib: u64,
    /// The executable to start as `PROGRAM sandbox`.
    pub program: PathBuf,
    pub limits: Limits,
}

impl TraceOptions {
    /// 10 seconds, 512 MiB, this executable.
    #[must_use]
    pub fn new(input: [usize; 3], classes: usize) -> Self {
        let program = child::executable().unwrap_or_else(|_| PathBuf::from("eliteloop"));
        Self { input, classes, entry: None, seconds: 10.0, memory_mib: 512, program, limits: Limits::default() }
    }
}

const MOST_SOURCE: usize = 1 << 20;
const MOST_ANSWER: u64 = 64 << 20;
const MOST_COMPLAINT: u64 = 64 << 10;

/// Traces `source` in a sandbox process.
///
/// # Errors
/// Why there is no graph; the sandbox failing in any way is a reason too.
pub fn trace(source: &str, options: &TraceOptions) -> Result<Graph, TraceFailure> {
    if source.len() > MOST_SOURCE {
        return Err(TraceFailure::TooLarge { what: format!("a source of {} bytes", source.len()) });
    }
    let request = Request {
        source: source.to_owned(),
        entry: options.entry.clone(),
        input: options.input,
        classes: options.classes,
        cpu_seconds: options.seconds.ceil() as u64 + 1,
        memory_mib: options.memory_mib,
    };
    let answer = ask(&request, options)?;
    let graph = match serde_json::from_slice::<Answer>(&answer) {
        Ok(Answer::Graph(graph)) => graph,
        Ok(Answer::Failure(TraceFailure::Memory { .. })) => return Err(TraceFailure::Memory { mib: options.memory_mib }),
        // Only this side knows of that.
        Ok(Answer::Failure(TraceFailure::NotStarted { reason })) => return Err(TraceFailure::Crash { reason }),
        Ok(Answer::Failure(failure)) => return Err(failure),
        Err(error) => return Err(TraceFailure::Crash { reason: format!("an answer that cannot be read ({error})") }),
    };
    graph.check(options.input, options.limits).map_err(|refusal| match refusal {
        Refusal::TooLarge(what) => TraceFailure::TooLarge { what },
        Refusal::Wrong(reason) => TraceFailure::Tampered { reason },
    })?;
    let expected = [Dim::Batch(1), Dim::Fixed(options.classes)];
    let found = &graph.nodes[graph.output].shape;
    if *found != expected {
        return Err(TraceFailure::WrongOutput { found: show(found), expected: show(&expected) });
    }
    Ok(graph)
}

fn ask(request: &Request, options: &TraceOptions) -> Result<Vec<u8>, TraceFailure> {
    let not_started = |reason: String| TraceFailure::NotStarted { reason };
    let text = serde_json::to_vec(request).map_err(|e| not_started(e.to_string()))?;
    let deadline = Instant::now() + Duration::from_secs_f64(options.seconds.clamp(0.01, 3600.0));
    let mut command = Command::new(&options.program);
    let mut child = child::begin(command.env_clear(), "sandbox")
        .map_err(|e| not_started(e.to_string()))?
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| not_started(format!("{}: {e}", options.program.display())))?;
    let (sender, receiver) = mpsc::channel();
    let mut stdin = child.stdin.take().expect("piped");
    // A child that dies early closes the pipe: its exit says more than our write error.
    std::thread::spawn(move || stdin.write_all(&text));
    let stdout = child.stdout.take().expect("piped");
    std::thread::spawn(move || sender.send(read(stdout, MOST_ANSWER)));
    let stderr = child.stderr.take().expect("piped");
    let complaint = std::thread::spawn(move || read(stderr, MOST_COMPLAINT));
    let late = TraceFailure::Deadline { seconds: options.seconds };
    let answer = receiver.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    let ended = if matches!(&answer, Ok(bytes) if bytes.len() as u64 <= MOST_ANSWER) { wait(&mut child, deadline) } else { None };
    let Some(status) = ended else {
        let _ = child.kill();
        let _ = child.wait();
        return Err(match answer {
            Ok(bytes) if bytes.len() as u64 > MOST_ANSWER => TraceFailure::TooLarge { what: "the answer of the sandbox".to_owned() },
            _ => late,
        });
    };
    let answer = answer.unwrap_or_default();
    if status.success() && answer.ends_with(b"\n") {
        return Ok(answer);
    }
    let complaint = complaint.join().unwrap_or_default();
    Err(blame(status, &String::from_utf8_lossy(&complaint), options))
}

fn read(from: impl Read, most: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = from.take(most + 1).read_to_end(&mut bytes);
    bytes
}

/// The child has closed its output; it ends at once, or not at all.
fn wait(child: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(1)),
            _ => return None,
        }
    }
}

fn blame(status: ExitStatus, complaint: &str, options: &TraceOptions) -> TraceFailure {
    use std::os::unix::process::ExitStatusExt;
    if complaint.contains("memory allocation of") || complaint.contains("capacity overflow") {
        return TraceFailure::Memory { mib: options.memory_mib };
    }
    let last = complaint.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("no message").chars().take(300).collect::<String>();
    match status.signal() {
        Some(libc::SIGXCPU | libc::SIGKILL) => TraceFailure::Deadline { seconds: options.seconds },
        Some(signal) => TraceFailure::Crash { reason: format!("signal {signal}: {last}") },
        None => TraceFailure::Crash { reason: format!("exit code {}: {last}", status.code().unwrap_or(-1)) },
    }
}
