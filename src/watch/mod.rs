//! A run on a terminal, while it goes on or afterwards: what is on record, read anew each time, and never changed.

mod list;
mod view;

pub use list::List;
pub use view::{draw, draw_list, text};

use std::collections::BTreeMap;
use std::path::Path;

use crate::base::error::Result;
use crate::base::show::in_shell;
use crate::config::RunConfig;
use crate::gates::Stage;
use crate::record::{Candidate, Funnel, NetworkId, Store, folder};

/// What a run has on record at one moment, and what of it is looked at.
pub struct Watched {
    pub(crate) name: String,
    pub(crate) config: RunConfig,
    pub(crate) model: String,
    pub(crate) finished: bool,
    /// What goes on with it, where it is not finished and nobody is at it.
    pub(crate) resume: Option<String>,
    /// Cycles that are closed, the start networks' being the first; None before it is.
    pub(crate) closed: Option<u64>,
    /// In the order in which they were proposed.
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) qualities: BTreeMap<NetworkId, f64>,
    pub(crate) elites: Vec<(u64, NetworkId)>,
    /// Sources by their names: those of the parents of [`Watched::candidates`] among them.
    pub(crate) sources: BTreeMap<NetworkId, String>,
    /// Seconds of each closed cycle, by its number.
    pub(crate) seconds: BTreeMap<u64, f64>,
    pub(crate) at: At,
}

/// What is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct At {
    /// A cycle; None for the newest, whichever that is by then.
    pub cycle: Option<u64>,
    /// A candidate of it; None for the last one of which something is known.
    pub candidate: Option<u64>,
}

/// What a run is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Doing {
    pub(crate) cycle: u64,
    pub(crate) what: &'static str,
    /// How many of how many are done, where that can be told.
    pub(crate) done: Option<(u64, u64)>,
}

impl Watched {
    /// Reads a run.
    ///
    /// # Errors
    /// There is no run, or its record cannot be read.
    pub fn read(run: &Path, at: At) -> Result<Self> {
        let config = folder::settings(run)?;
        let store = Store::read(&folder::store_path(run))?;
        let mut seconds: BTreeMap<u64, f64> = BTreeMap::new();
        for phase in store.phases()? {
            *seconds.entry(phase.cycle).or_default() += phase.seconds;
        }
        let closed = store.cycles()?.last().map(|row| row.cycle);
        let finished = store.meta("finished")?.is_some();
        let candidates = store.candidates()?;
        let mut sources: BTreeMap<NetworkId, String> =
            store.starts()?.into_iter().map(|(name, source)| (NetworkId::Start(name), source)).collect();
        let own = |c: &Candidate| Some((c.id(), c.screened.as_ref()?.source.clone()?));
        sources.extend(candidates.iter().filter_map(own));
        Ok(Self {
            name: folder::name(run),
            config,
            model: store.meta("model_name")?.unwrap_or_else(|| "no LLM".into()),
            finished,
            resume: (!finished && !folder::is_written(run)).then(|| format!("eliteloop resume {}", in_shell(run))),
            closed,
            candidates,
            qualities: store.qualities()?,
            elites: store.elites()?.into_iter().map(|row| (row.cycle, row.network)).collect(),
            sources,
            seconds,
            at,
        })
    }

    /// The newest cycle of which anything is known.
    pub(crate) fn newest(&self) -> u64 {
        self.candidates.last().map_or(0, |c| c.cycle).max(self.closed.unwrap_or(0))
    }

    /// The cycle that is looked at.
    pub(crate) fn cycle(&self) -> u64 {
        self.at.cycle.map_or(self.newest(), |cycle| cycle.min(self.newest()))
    }

    pub(crate) fn of_cycle(&self) -> &[Candidate] {
        let cycle = self.cycle();
        let begin = self.candidates.partition_point(|c| c.cycle < cycle);
        let end = self.candidates.partition_point(|c| c.cycle <= cycle);
        &self.candidates[begin..end]
    }

    /// The candidate that is looked at.
    pub(crate) fn candidate(&self) -> Option<&Candidate> {
        let own = self.of_cycle();
        let chosen = self.at.candidate.and_then(|index| own.get(usize::try_from(index).ok()?.min(own.len().saturating_sub(1))));
        chosen.or_else(|| own.iter().rev().find(|c| self.qualities.contains_key(&c.id()))).or_else(|| {
            let screened = own.iter().rev().find(|c| c.screened.is_some());
            screened.or(own.last())
        })
    }

    pub(crate) fn funnel(&self) -> Funnel {
        let (cycle, own) = (self.cycle(), self.of_cycle());
        let counts = Funnel::of(own, self.elites.iter().filter(|(of, _)| *of == cycle).count());
        // Settled all at once, when the last of the cycle is trained.
        let measured = own.iter().filter(|c| self.qualities.contains_key(&c.id())).count() as u64;
        Funnel { trained: counts.trained.max(measured), ..counts }
    }

    /// What is done now; None where all is done.
    pub(crate) fn doing(&self) -> Option<Doing> {
        let doing = |cycle, what, done| Some(Doing { cycle, what, done });
        let Some(closed) = self.closed else { return doing(0, "training the start networks", None) };
        if self.finished || closed >= self.config.cycles {
            return None;
        }
        let cycle = closed + 1;
        let own: Vec<&Candidate> = self.candidates.iter().filter(|c| c.cycle == cycle).collect();
        let asked = own.len() as u64;
        if asked < self.config.candidates {
            return doing(cycle, "proposing", Some((asked, self.config.candidates)));
        }
        let screened = own.iter().filter(|c| c.screened.is_some()).count() as u64;
        if screened < asked {
            return doing(cycle, "screening", Some((screened, asked)));
        }
        let novel: Vec<&&Candidate> = own.iter().filter(|c| c.stage() >= Some(Stage::Novel)).collect();
        // They are settled all at once, when the last of them is trained.
        let trained = novel.iter().filter(|c| !waits(c) || self.qualities.contains_key(&c.id())).count() as u64;
        if trained < novel.len() as u64 {
            return doing(cycle, "training", Some((trained, novel.len() as u64)));
        }
        doing(cycle, if self.config.policy.is_tuned() { "tuning on the elites" } else { "closing the cycle" }, None)
    }

    /// Seconds that the cycles left will take, by the mean of those that are closed; None before the first one is.
    pub(crate) fn seconds_left(&self) -> Option<f64> {
        let closed = self.closed.filter(|closed| *closed > 0 && !self.finished)?;
        let own: Vec<f64> = self.seconds.iter().filter(|(cycle, _)| (1..=closed).contains(*cycle)).map(|(_, seconds)| *seconds).collect();
        (!own.is_empty()).then(|| own.iter().sum::<f64>() / own.len() as f64 * (self.config.cycles - closed.min(self.config.cycles)) as f64)
    }

    /// The best networks, the best first.
    pub(crate) fn best(&self, count: usize) -> Vec<(&NetworkId, f64)> {
        let mut all: Vec<(&NetworkId, f64)> = self.qualities.iter().map(|(id, quality)| (id, *quality)).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1));
        all.truncate(count);
        all
    }
}

/// Whether a candidate is still to be trained.
fn waits(candidate: &Candidate) -> bool {
    candidate.stage() == Some(Stage::Novel) && candidate.screened.as_ref().is_some_and(|s| s.reason.is_none())
}

/// Keys that move what is looked at: one cycle or one candidate back or on.
impl At {
    /// The next cycle, or the one before; from the last one on the newest is followed.
    #[must_use]
    pub fn cycle_by(self, step: i64, watched: &Watched) -> Self {
        let cycle = watched.cycle().saturating_add_signed(step);
        Self { cycle: (cycle < watched.newest()).then_some(cycle.max(1)), candidate: None }
    }

    /// The next candidate, or the one before.
    #[must_use]
    pub fn candidate_by(self, step: i64, watched: &Watched) -> Self {
        let Some(at) = watched.candidate().map(|c| c.index) else { return self };
        let last = watched.of_cycle().last().map_or(0, |c| c.index);
        Self { candidate: Some(at.saturating_add_signed(step).min(last)), ..self }
    }
}
