//! Whether all is there that the settings of a run ask for, and nothing else.

use std::path::Path;

use crate::base::error::Result;
use crate::base::files::read_text;
use crate::config::RunConfig;
use crate::gates::Stage;
use crate::method::check::Check;
use crate::method::{full, train};
use crate::record::{Candidate, NetworkId, Store, best};

/// Cycles, candidates, trainings and labels by the settings. `candidates` are those of closed cycles, the last of which is `last`.
///
/// # Errors
/// Those of the store.
pub(crate) fn complete(store: &Store, config: &RunConfig, candidates: &[Candidate], last: u64) -> Result<Check> {
    let finished = store.meta("finished")?.is_some();
    let mut wrong = (finished && last != config.cycles)
        .then(|| format!("it says it is finished, and {last} cycles are closed where the settings ask for {}", config.cycles));
    let mut note = |is_wrong: bool, why: &dyn Fn() -> String| {
        if is_wrong && wrong.is_none() {
            wrong = Some(why());
        }
    };
    let labels = store.labels()?;
    for cycle in 0..=last {
        let own: Vec<&Candidate> = candidates.iter().filter(|c| c.cycle == cycle).collect();
        let asked = if cycle == 0 { 0 } else { config.candidates };
        note(!own.iter().map(|c| c.index).eq(0..asked), &|| format!("cycle {cycle} has {} candidates, {asked} were asked for", own.len()));
        for candidate in &own {
            let open = candidate.screened.as_ref().is_none_or(|s| s.stage == Stage::Novel && s.reason.is_none());
            note(open, &|| format!("candidate {}: nothing became of it", candidate.id()));
            let labelled = labels.iter().any(|l| (l.cycle, l.index) == (cycle, candidate.index));
            note(labelled != config.policy.has_llm(), &|| {
                format!("candidate {}: its labels are missing, or it cannot have any", candidate.id())
            });
        }
        let missing = train::missing(store, config, cycle)?;
        note(missing.is_some(), &|| {
            let of = missing.as_ref().map_or_else(String::new, NetworkId::to_string);
            format!("cycle {cycle}: a training of {of} is missing, or shorter than it was to be")
        });
        let full = full::missing(store, config, cycle)?;
        note(!full.is_empty(), &|| format!("cycle {cycle}: the full training of {} is missing", full[0]));
    }
    let open = if finished { "" } else { ", not finished" };
    let right = format!("{last} cycles of {} candidates with their trainings, by the settings{open}", config.candidates);
    Ok(Check::new("complete", wrong, right))
}

/// The file of the best network, of a run that is finished.
///
/// # Errors
/// Those of the store.
pub(crate) fn best_network(store: &Store, run: &Path) -> Result<Option<Check>> {
    let Some(wanted) = best::text(store)?.filter(|_| store.meta("finished").is_ok_and(|f| f.is_some())) else { return Ok(None) };
    let wrong = match read_text(&best::path(run), "read the best network") {
        Ok(found) if found == wanted => None,
        Ok(_) => Some("best/network.py is not the best network of the store".to_owned()),
        Err(error) => Some(error.to_string()),
    };
    Ok(Some(Check::new("best network", wrong, "best/network.py is that of the store".into())))
}
