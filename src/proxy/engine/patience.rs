//! How often an engine is asked, and how long one is waited for that does not answer.

use std::time::{Duration, Instant};

use super::command::Silence;
use crate::base::error::{Error, Result};
use crate::base::printer;

/// Between two questions to an engine.
pub(super) const ASK: Duration = Duration::from_secs(1);
/// A look or a question may take this part of the time.
const SHARE: u32 = 20;
/// An engine that does not answer is waited for so long.
const PATIENCE: Duration = Duration::from_mins(10);
/// A file that another machine wrote is seen here after so long at the latest.
pub(super) const GRACE: Duration = Duration::from_mins(1);

/// With an engine that may stop and be started again.
pub(super) struct Patience {
    engine: &'static str,
    /// Since when it says nothing.
    silent: Option<Instant>,
}

impl Patience {
    pub(super) fn new(engine: &'static str) -> Self {
        Self { engine, silent: None }
    }

    /// Whether it did not answer the last time.
    pub(super) fn is_tried(&self) -> bool {
        self.silent.is_some()
    }

    /// An answer of the engine; None while it does not give one.
    ///
    /// # Errors
    /// It has given none for too long.
    pub(super) fn heard<T>(&mut self, answer: Result<T, Silence>) -> Result<Option<T>> {
        let name = self.engine;
        match (answer, self.silent) {
            (Ok(answer), silent) => {
                if silent.is_some() {
                    printer::note(format_args!("{name} answers again"));
                }
                self.silent = None;
                Ok(Some(answer))
            }
            (Err(silence), None) => {
                printer::note(format_args!("{name} does not answer ({silence}); what it has done is kept, and it is asked again"));
                self.silent = Some(Instant::now());
                Ok(None)
            }
            (Err(silence), Some(since)) if since.elapsed() > PATIENCE => {
                Err(Error::machine(format!("{name} has not answered for {} minutes: {silence}", PATIENCE.as_secs() / 60))
                    .hint("start it again; then go on: `eliteloop resume` with a run, the same command with a study"))
            }
            _ => Ok(None),
        }
    }
}

/// How often something is done: the less often, the longer it takes.
pub(super) struct Pace {
    least: Duration,
    next: Instant,
}

impl Pace {
    pub(super) fn new(least: Duration) -> Self {
        Self { least, next: Instant::now() }
    }

    pub(super) fn is_due(&self) -> bool {
        Instant::now() >= self.next
    }

    pub(super) fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let done = work();
        self.next = Instant::now() + self.least.max(SHARE * began.elapsed());
        done
    }
}
