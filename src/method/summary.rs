//! One line about a cycle: the funnel, the quality, the update.

use std::fmt::Write as _;

use crate::base::error::Result;
use crate::record::{Change, Funnel, Store};

/// What the terminal shows after a cycle.
pub(crate) fn of_cycle(store: &Store, cycle: u64) -> Result<String> {
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
        if let Some(change) = &tuning.change {
            let _ = write!(line, "; {}", of_change(change));
        }
    }
    Ok(line)
}

/// How far an update went, and what it did to the samples of its cycle: `share .096, KL .31, E[S] +.0312 (memorised +.0101, generalised
/// +.0211), all steps done`.
pub fn of_change(change: &Change) -> String {
    let mut parts = Vec::new();
    parts.extend(change.share.map(|share| format!("share {share:.3}")));
    parts.push(change.kl.map_or_else(|| "KL infinite".into(), |kl| format!("KL {kl:.3}")));
    if let (Some(memorised), Some(generalised)) = (change.memorised, change.generalised) {
        let all = memorised + generalised;
        parts.push(format!("E[S] {all:+.4} (memorised {memorised:+.4}, generalised {generalised:+.4})"));
    }
    parts.push(change.ending.phrase().into());
    if change.refused > 0 {
        parts.push(format!("{} steps taken back", change.refused));
    }
    parts.join(", ")
}
