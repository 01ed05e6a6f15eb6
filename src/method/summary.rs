//! One line about a cycle: the funnel, the quality, the update.

use std::fmt::Write as _;

use crate::base::error::Result;
use crate::record::Funnel;
use crate::record::Store;

/// What the terminal shows after a cycle.
pub fn of_cycle(store: &Store, cycle: u64) -> Result<String> {
    let candidates = store.candidates_of(cycle)?;
    let f = Funnel::of(&candidates, store.elites()?.into_iter().filter(|e| e.cycle == cycle).count());
    let quality = store.qualities()?;
    let own: Vec<f64> = candidates.iter().filter_map(|c| quality.get(&c.id()).copied()).collect();
    let counts: Vec<String> = Funnel::HEAD.iter().zip(f.counts()).map(|(stage, count)| format!("{stage} {count}")).collect();
    let mut line = format!("cycle {cycle}: {}", counts.join(", "));
    if !own.is_empty() {
        let mean = own.iter().sum::<f64>() / own.len() as f64;
        let best = own.iter().copied().fold(f64::MIN, f64::max);
        let _ = write!(line, "; quality mean {mean:.3}, best {best:.3}");
    }
    if let Some(tuning) = store.cycles()?.into_iter().find(|c| c.cycle == cycle).and_then(|c| c.tuning) {
        let _ = write!(line, "; elite NLL {:.2} -> {:.2}", tuning.before, tuning.after);
        if let (Some(before), Some(after)) = (tuning.held_out_before, tuning.held_out_after) {
            let _ = write!(line, " (held out {before:.2} -> {after:.2})");
        }
    }
    Ok(line)
}
