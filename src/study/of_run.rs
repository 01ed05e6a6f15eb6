//! Studies of real runs.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::experiment::{Experiment, Words};
use super::outcome::{Claimed, Measures, Outcome, falls};
use super::retrain;
use crate::base::error::Result;
use crate::base::home;
use crate::compare::runs::{RunFacts, identity, is_method};
use crate::compare::searches;
use crate::config::RunConfig;
use crate::decoder::files::catalogue;
use crate::method::starts;
use crate::policy::learner::adapter_folder;
use crate::proxy::{dataset, engine};
use crate::record::{Kind, folder};
use crate::theory::growth::Count;
use crate::theory::reliability;

pub(crate) const WORDS: Words = Words {
    trials: "trained candidates",
    best_by: "by the accuracy measured",
    best_so_far: "best accuracy so far",
    mean_so_far: "mean accuracy so far",
    candidates: "trained candidates",
    funnel: "Traced is a network that runs; novel is one within the budget that the filter lets through.",
};

pub(crate) fn resolve(preset: Option<&str>, assignments: &[String]) -> Result<Arc<dyn Experiment>> {
    Ok(Arc::new(RunConfig::resolve(preset, None, assignments)?))
}

impl Experiment for RunConfig {
    fn kind(&self) -> Kind {
        Kind::Run
    }

    fn has_llm(&self) -> bool {
        self.policy.has_llm()
    }

    fn cycles(&self) -> u64 {
        self.cycles
    }

    fn threads(&self) -> usize {
        self.threads
    }

    fn is_method(&self) -> bool {
        is_method(self)
    }

    fn began(&self, folder: &Path) -> Result<bool> {
        let found = folder::settings(folder)?;
        Ok(found.seed == self.seed && identity(&found) == identity(self))
    }

    fn check_inputs(&self) -> Result<()> {
        if self.policy.has_llm() {
            catalogue::find(&self.llm.model)?;
            adapter_folder(&self.llm)?;
        }
        dataset::check_present(&self.proxy.dataset, &home::data())?;
        starts::read(self)?;
        engine::check(&self.proxy).map(drop)
    }

    fn outcome(&self, folder: &Path) -> Result<Outcome> {
        let facts = RunFacts::read(folder)?;
        let entry = facts.entry();
        let evidence = &facts.evidence;
        let (valid, unique) = evidence.diversity.runs.iter().flatten().fold((0, 0), |(v, u), c| (v + c.valid, u + c.unique));
        let reached = |c: Option<&Count>| c.map(Count::share);
        let measures = Measures {
            first_c: reached(evidence.counts.first()),
            last_c: reached(evidence.counts.last()),
            new: (valid > 0).then(|| unique as f64 / valid as f64),
            snr: reliability::components(&evidence.repeated).map(|c| c.snr.value),
            ..falls(&facts.qualities)
        };
        Ok(Outcome {
            seed: facts.seed,
            cycles: facts.cycles,
            funnel: facts.funnel,
            distinct: unique,
            mean: entry.mean(),
            best: entry.best_of(usize::MAX),
            seconds: facts.total_seconds(),
            tokens_written: Some(facts.tokens_written),
            tokens_tuned: Some(facts.tokens_tuned),
            claims: evidence.panels(None, None).into_iter().map(Claimed::from).collect(),
            measures,
            search: None,
            retrained: retrain::read(folder)?,
            qualities: facts.qualities.clone(),
            entry,
            facts: Some(Box::new(facts)),
        })
    }

    fn retrain(&self, folder: &Path, seeds: u64, stop: &AtomicBool) -> Result<()> {
        retrain::retrain(folder, self, seeds, stop)
    }

    fn search(&self, _: String, _: &[Outcome]) -> Option<searches::Arm> {
        None
    }
}
