//! Processes of this program that are started by itself: the runs of a study, and sandboxes and workers, which start none in turn.
//!
//! Which executable they are is by default the running one. In somebody else's program with this library that is not eliteloop: it
//! would start itself, do there what it did here, and so on without end.
//!
//! How a child ends says whose doing it was. What it did to itself is an outcome of what it worked on; what the machine did to it
//! ([`Lost`]) is no word about that, so the job is done again, and an error ends the run where the machine does it twice. No clock
//! decides here: a child is waited for as long as it gets processor time.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::base::error::{Error, Result};

/// What lists of processes show, whatever path the program was started by.
pub(crate) const NAME: &str = "eliteloop";

/// Set for a child to the verb it was started with.
const MARK: &str = "ELITELOOP_CHILD";

/// How long a parent waits for word of a child before it looks at other things.
pub(crate) const TICK: Duration = Duration::from_millis(50);
/// A child that is waited for so long without a moment on a processor is stopped.
const PATIENCE: Duration = Duration::from_mins(10);
/// Before a job is done again: processes, threads or memory that are not to be had now may be a moment later.
const PAUSE: Duration = Duration::from_secs(1);

/// A child whose end, or whose silence, is the machine's doing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// Ended from outside, or never there.
    #[error("{0}")]
    Taken(String),
    #[error("a {verb} got no processor time for {minutes} minutes: the machine is too slow or stopped")]
    Stopped { verb: &'static str, minutes: u64 },
    /// The setting leaves it no room for itself, before it comes to its job.
    #[error("a {verb} does not start in {mib} MiB of memory")]
    NoRoom { verb: &'static str, mib: u64, setting: &'static str },
}

impl From<Lost> for Error {
    fn from(lost: Lost) -> Self {
        match &lost {
            Lost::Taken(_) => Self::machine(format!("{lost}, twice in a row"))
                .hint("no network is to blame, and none was noted as failed: see that the machine has memory, processes and threads left; then `eliteloop resume` goes on with a run"),
            Lost::Stopped { .. } => Self::machine(lost.to_string())
                .hint("no network is to blame, and none was noted as failed: `eliteloop resume` goes on with a run once the machine does"),
            Lost::NoRoom { setting, .. } => Self::input(lost.to_string()).hint(format!("raise {setting}")),
        }
    }
}

/// Does a child's job, and once more where the machine took the child.
///
/// # Errors
/// The machine took it twice, or stopped it.
pub(crate) fn persist<T>(mut job: impl FnMut() -> Result<T, Lost>) -> Result<T, Lost> {
    match job() {
        Err(Lost::Taken(_)) => {
            std::thread::sleep(PAUSE);
            job()
        }
        done => done,
    }
}

/// Whether a signal ended a process that no process sends itself by a mistake: somebody else sent it, the kernel out of memory for
/// instance. An allocation beyond a process's own limit ends it by `SIGABRT`, and too much processor time by `SIGXCPU`.
pub(crate) fn is_taken(status: ExitStatus) -> bool {
    const OWN: [i32; 9] =
        [libc::SIGABRT, libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP, libc::SIGSYS, libc::SIGXCPU, libc::SIGXFSZ];
    status.signal().is_some_and(|signal| !OWN.contains(&signal))
}

/// The running program, to be started once more. On Linux it is that program even where its file was replaced meanwhile, by a build for
/// instance: a run keeps to the program that it began with.
///
/// # Errors
/// The system does not say.
pub(crate) fn executable() -> std::io::Result<PathBuf> {
    let running = Path::new("/proc/self/exe");
    if running.exists() { Ok(running.to_owned()) } else { std::env::current_exe() }
}

static IS_THE_PROGRAM: AtomicBool = AtomicBool::new(false);

/// Told by eliteloop's own `main`: the running program knows the verbs of children.
pub fn announce() {
    IS_THE_PROGRAM.store(true, Ordering::Relaxed);
}

/// Whether the running program may be started with a verb, and is no child itself.
pub(crate) fn is_the_program() -> bool {
    IS_THE_PROGRAM.load(Ordering::Relaxed) && std::env::var_os(MARK).is_none()
}

/// Lets `command` start `verb`. Its environment is made before: what is cleared later would take the mark away.
///
/// # Errors
/// This process is a child.
pub(crate) fn begin<'a>(command: &'a mut Command, verb: &str) -> Result<&'a mut Command> {
    match std::env::var_os(MARK) {
        None => Ok(follow(command.arg0(NAME).arg(verb).env(MARK, verb))),
        Some(own) => {
            Err(Error::machine(format!("this process is a {} of eliteloop, which starts no {verb} ({MARK} is set)", own.display())))
        }
    }
}

/// What `command` starts is killed when the thread that starts it ends, and so when this process does.
pub(crate) fn follow(command: &mut Command) -> &mut Command {
    #[cfg(target_os = "linux")]
    {
        let parent = std::process::id() as libc::pid_t;
        // SAFETY: both calls are async-signal-safe and are given plain numbers; nothing is allocated.
        unsafe {
            command.pre_exec(move || {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                // It may have ended before it was asked for.
                if libc::getppid() == parent { Ok(()) } else { Err(std::io::Error::from_raw_os_error(libc::ESRCH)) }
            });
        }
    }
    command
}

/// A child that does not outlive its owner.
#[derive(Debug)]
pub(crate) struct Owned(pub Child);

impl Drop for Owned {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Notices that a child gets no processor time. The time that it counts is what this process spent waiting, so that a pause of both
/// (a suspended machine, Ctrl-Z) is none.
#[derive(Debug)]
pub(crate) struct Watch {
    pid: u32,
    verb: &'static str,
    patience: Duration,
    waited: Duration,
    used: Option<Duration>,
}

impl Watch {
    pub(crate) fn new(child: &Child, verb: &'static str) -> Self {
        Self { pid: child.id(), verb, patience: PATIENCE, waited: Duration::ZERO, used: None }
    }

    /// No word of the child came in the time given.
    ///
    /// # Errors
    /// The child is stopped.
    pub(crate) fn waited(&mut self, time: Duration) -> Result<(), Lost> {
        self.waited += time;
        if self.waited < self.patience {
            return Ok(());
        }
        let used = processor_time(self.pid);
        if used.is_some() && used == self.used {
            return Err(Lost::Stopped { verb: self.verb, minutes: self.patience.as_secs() / 60 });
        }
        (self.waited, self.used) = (Duration::ZERO, used);
        Ok(())
    }
}

/// Processor time that a process has used; None where the system does not say.
fn processor_time(pid: u32) -> Option<Duration> {
    #[cfg(target_os = "linux")]
    {
        let mut clock = 0;
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: both are given places that live long enough.
        let told =
            unsafe { libc::clock_getcpuclockid(pid as libc::pid_t, &raw mut clock) == 0 && libc::clock_gettime(clock, &raw mut time) == 0 };
        told.then(|| Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = pid;
        None
    }
}

/// Processor time that this process has used.
///
/// # Errors
/// The system does not say.
pub(crate) fn own_processor_time() -> std::io::Result<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it is given a place that lives long enough.
    if unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// Bytes of address space that this process takes; None where the system does not say.
pub(crate) fn addresses() -> Option<u64> {
    address_counter()()
}

/// The same for later, when this process may open no file any more.
pub(crate) fn address_counter() -> impl Fn() -> Option<u64> {
    let file = File::open("/proc/self/statm").ok();
    move || {
        let mut text = [0; 64];
        let length = file.as_ref()?.read_at(&mut text, 0).ok()?;
        let pages: u64 = str::from_utf8(&text[..length]).ok()?.split(' ').next()?.parse().ok()?;
        // SAFETY: a plain question to the system.
        let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        Some(pages * u64::try_from(size).ok()?)
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
type Resource = libc::__rlimit_resource_t;
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
type Resource = libc::c_int;

/// Sets a limit of this process: what ends it gently, and what ends it (None: as it is).
///
/// # Errors
/// The system refuses, for instance to raise what it was given.
pub(crate) fn limit(resource: Resource, soft: u64, hard: Option<u64>) -> std::io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a plain system call on a value that lives long enough, as is the next.
    if unsafe { libc::getrlimit(resource, &raw mut limit) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    (limit.rlim_cur, limit.rlim_max) = (soft, hard.unwrap_or(limit.rlim_max));
    if unsafe { libc::setrlimit(resource, &raw const limit) } == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_told_its_verb_twice() {
        let mut command = Command::new("eliteloop");
        begin(command.env_clear(), "worker").unwrap();
        assert!(command.get_args().eq(["worker"]));
        assert!(command.get_envs().eq([(MARK.as_ref(), Some("worker".as_ref()))]));
    }

    #[test]
    fn a_kill_is_told_from_what_a_process_does_to_itself() {
        for (signal, taken) in [(libc::SIGKILL, true), (libc::SIGTERM, true), (libc::SIGHUP, true), (libc::SIGINT, true)] {
            assert_eq!(is_taken(ExitStatus::from_raw(signal)), taken);
        }
        for signal in [libc::SIGABRT, libc::SIGSEGV, libc::SIGXCPU] {
            assert!(!is_taken(ExitStatus::from_raw(signal)));
        }
        assert!(!is_taken(ExitStatus::from_raw(1 << 8)));
    }

    #[test]
    fn a_job_is_done_twice_only_where_the_child_was_taken() {
        let mut tries = 0;
        let mut of = |end: &dyn Fn(u32) -> Result<u32, Lost>| {
            tries = 0;
            let done = persist(|| {
                tries += 1;
                end(tries)
            });
            (done, tries)
        };
        let taken = || Lost::Taken("killed".into());
        let stopped = Lost::Stopped { verb: "worker", minutes: 10 };
        assert_eq!(of(&Ok), (Ok(1), 1));
        assert_eq!(of(&|n| if n == 1 { Err(taken()) } else { Ok(n) }), (Ok(2), 2));
        assert_eq!(of(&|_| Err(taken())), (Err(taken()), 2));
        assert_eq!(of(&|_| Err(stopped.clone())), (Err(stopped.clone()), 1));
        let error = Error::from(taken());
        assert!(error.exit_code() == 1 && error.hint_text().unwrap().contains("resume"), "{error}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_child_without_processor_time_is_noticed_and_a_busy_one_is_not() {
        let start = |program: &str, argument: &[&str]| Owned(Command::new(program).args(argument).spawn().unwrap());
        let watch = |child: &Owned| Watch { patience: Duration::from_mins(1), ..Watch::new(&child.0, "sandbox") };
        let (idle, busy) = (start("sleep", &["60"]), start("sh", &["-c", "while :; do :; done"]));
        let (mut of_idle, mut of_busy) = (watch(&idle), watch(&busy));
        std::thread::sleep(Duration::from_millis(500));
        let step = Duration::from_secs(30);
        assert_eq!((of_idle.waited(step), of_idle.waited(step)), (Ok(()), Ok(())), "it may have been busy up to now");
        assert_eq!((of_busy.waited(step), of_busy.waited(step)), (Ok(()), Ok(())));
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(of_idle.waited(2 * step), Err(Lost::Stopped { verb: "sandbox", minutes: 1 }));
        assert_eq!(of_busy.waited(2 * step), Ok(()));
    }
}
