//! The checkpoints of a run: which are kept, and from which one it goes on.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::base::error::{AtPath, Result};
use crate::base::printer;
use crate::config::RunConfig;
use crate::policy::Learner;
use crate::policy::learner::OPTIMIZER;
use crate::record::{Store, folder};

/// Whether a file of the checkpoint of `cycle` is kept when `last` is closed.
pub(crate) fn is_kept(config: &RunConfig, cycle: u64, last: u64, file: &str) -> bool {
    let (adapter, moments) = config.record.keeps(cycle, last);
    if file == OPTIMIZER { moments } else { adapter }
}

/// Removes what is kept no more when `last` is closed.
///
/// # Errors
/// Those of the disk.
pub(crate) fn thin(run: &Path, config: &RunConfig, last: u64) -> Result<()> {
    let gone = |removed: std::io::Result<()>, path: &Path| match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error).at("remove", path),
        _ => Ok(()),
    };
    for cycle in 0..last {
        let checkpoint = folder::checkpoint(run, cycle);
        let (adapter, moments) = config.record.keeps(cycle, last);
        if !adapter {
            gone(fs::remove_dir_all(&checkpoint), &checkpoint)?;
        } else if !moments {
            let file = checkpoint.join(OPTIMIZER);
            gone(fs::remove_file(&file), &file)?;
        }
    }
    Ok(())
}

/// Loads the adapter of the last closed cycle. Where its checkpoint is missing or damaged that cycle is opened again, and its update is
/// computed again, to the same bits, from the checkpoint before.
///
/// # Errors
/// Neither can be read.
pub(crate) fn load_last(run: &Path, store: &Store, config: &RunConfig, learner: &mut Learner) -> Result<()> {
    let cycles = store.cycles()?;
    let Some(last) = cycles.last() else { return Ok(()) };
    let moments = config.tune.tuning.moments;
    let Err(error) = learner.load_checkpoint(&folder::checkpoint(run, last.cycle), moments, &last.adapter_hash) else { return Ok(()) };
    let from = match cycles.iter().rev().nth(1) {
        None => "what the settings start from".to_owned(),
        Some(before) => {
            if learner.load_checkpoint(&folder::checkpoint(run, before.cycle), moments, &before.adapter_hash).is_err() {
                return Err(error);
            }
            format!("that of cycle {}", before.cycle)
        }
    };
    printer::note(format_args!(
        "the checkpoint of cycle {} cannot be used ({error}); the end of the cycle is computed again from {from}",
        last.cycle
    ));
    store.reopen(last.cycle)
}
