//! The method on one screen: the cross-entropy method with an LLM as its sampling distribution.
//!
//! Each step reads what it needs from the store and stores what it did, so a run that was killed anywhere goes on by
//! walking the same steps: a step that is done finds nothing to do.

use crate::error::Result;
use crate::progress;
use crate::run::Run;
use crate::{elite, propose, screen, summary, train, update};

/// How a run came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Finished,
    /// Ctrl-C; `resume` goes on.
    Stopped,
}

/// Runs the cycles that are not closed yet.
pub fn run(run: &mut Run) -> Result<Ending> {
    if run.next_cycle()? == 0 {
        screen::admit_starts(run)?;
        train::train(run, 0)?;
        if run.stopped() {
            return Ok(Ending::Stopped);
        }
        update::close_start(run)?;
    }
    for cycle in run.next_cycle()?..=run.config.cycles {
        for step in [propose::propose, screen::screen, train::train] {
            step(run, cycle)?;
            if run.stopped() {
                return Ok(Ending::Stopped);
            }
        }
        let elites = elite::of_cycle(&run.store, &run.config, cycle)?;
        let Some(update) = update::tune(run, cycle, &elites)? else {
            return Ok(Ending::Stopped);
        };
        update::close(run, cycle, &elites, update)?;
        progress::line(summary::of_cycle(&run.store, cycle)?);
    }
    Ok(Ending::Finished)
}
