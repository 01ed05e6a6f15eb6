//! The method on one screen: the cross-entropy method with an LLM as its sampling distribution.
//!
//! Each step reads what it needs from the store and stores what it did, so a run that was killed anywhere goes on by
//! walking the same steps: a step that is done finds nothing to do.

use crate::base::done::Done;
use crate::base::error::Result;
use crate::base::progress;
use crate::method::run::Run;
use crate::method::{elite, full, propose, screen, summary, train, update};

/// Runs the cycles that are not closed yet; `on_closed` is called after each.
pub fn run(run: &mut Run, on_closed: impl FnMut()) -> Result<Done<()>> {
    let ending = cycles(run, on_closed);
    run.folder.tell_if_gone(ending)
}

fn cycles(run: &mut Run, mut on_closed: impl FnMut()) -> Result<Done<()>> {
    if run.next_cycle()? == 0 {
        train::train(run, 0)?;
        if run.stopped() {
            return Ok(Done::Stopped);
        }
        update::close_start(run)?;
    }
    for cycle in run.next_cycle()?..=run.config.cycles {
        if run.reached()?.is_some() {
            return Ok(Done::Stopped);
        }
        run.folder.check_there()?;
        for step in [propose::propose, screen::screen, train::train, full::train] {
            step(run, cycle)?;
            if run.stopped() {
                return Ok(Done::Stopped);
            }
        }
        let elites = elite::of_cycle(&run.store, &run.config, cycle)?;
        let Done::Finished(tuning) = update::tune(run, cycle, &elites)? else {
            return Ok(Done::Stopped);
        };
        update::close(run, cycle, &elites, tuning)?;
        progress::line(summary::of_cycle(&run.store, cycle)?);
        on_closed();
    }
    Ok(Done::Finished(()))
}
