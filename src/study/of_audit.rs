//! Studies of exact audits.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::experiment::{Experiment, Words};
use super::outcome::{Claimed, Measures, Outcome, falls};
use crate::audit::codec::Codec;
use crate::audit::record::{self, Cycle};
use crate::audit::settings::AuditConfig;
use crate::base::error::{Error, Result};
use crate::base::home;
use crate::compare::contest::Entry;
use crate::compare::searches::{self, Search, identity, is_method};
use crate::decoder::files::catalogue;
use crate::decoder::files::model_file::ModelFile;
use crate::oracle;
use crate::record::Funnel;
use crate::record::{Kind, Store, folder};
use crate::report::audit::{funnel, panels};
use crate::theory::statistics::quantile;

pub(crate) const WORDS: Words = Words {
    trials: "distinct cells",
    best_by: "by true accuracy (the mean over the table's training seeds)",
    best_so_far: "best true accuracy so far",
    mean_so_far: "mean queried accuracy so far",
    candidates: "queries, repeats included",
    funnel: "Traced is a cell of the space; novel and trained are cells whose accuracy was queried.",
};

pub(crate) fn resolve(preset: Option<&str>, assignments: &[String]) -> Result<Arc<dyn Experiment>> {
    if preset.is_some() {
        return Err(Error::input("preset: audits have none"));
    }
    Ok(Arc::new(AuditConfig::resolve(None, assignments)?))
}

impl Experiment for AuditConfig {
    fn kind(&self) -> Kind {
        Kind::Audit
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
        let found = record::settings(folder)?;
        Ok(found.seed == self.seed && identity(&found) == identity(self))
    }

    fn check_inputs(&self) -> Result<()> {
        let table = oracle::load(&self.dataset, &home::data())?;
        self.check_in(table.space())?;
        if self.policy.has_llm() {
            let file = ModelFile::open(&catalogue::find(&self.llm.model)?)?;
            Codec::new(&file.tokenizer()?, &self.llm.prompt, self.format, table.space())?;
            if self.llm.adapter != "none" && !Path::new(&self.llm.adapter).join("adapter_config.json").is_file() {
                return Err(
                    Error::input(format!("there is no adapter in {}", self.llm.adapter)).hint("llm.adapter is 'none' or a PEFT folder")
                );
            }
        }
        Ok(())
    }

    fn outcome(&self, folder: &Path) -> Result<Outcome> {
        let store = Store::read(&folder::store_path(folder))?;
        let table = record::table(self, &store)?;
        let (inputs, cycles) = (record::inputs(&store)?, record::cycles(&store)?);
        let (search, best_so_far) = Search::with_curve(self.seed, &cycles, &table);
        let qualities: Vec<(u64, f64)> = cycles.iter().flat_map(|c| c.samples.iter().filter_map(|s| Some((c.cycle, s.quality?)))).collect();
        let asked = cycles.iter().flat_map(|c| &c.samples).scan(f64::NEG_INFINITY, |best, sample| {
            let known = sample.cell().filter(|_| sample.quality.is_some()).map(|cell| table.mean(cell));
            *best = best.max(known.unwrap_or(f64::NEG_INFINITY));
            Some(*best)
        });
        let ground =
            [("dataset", self.dataset.clone()), ("quality", format!("{:?}", self.quality)), ("table", inputs.table_sha256.clone())];
        let entry = Entry {
            seed: self.seed,
            qualities: qualities.iter().map(|(_, q)| *q).collect(),
            best_so_far,
            best_asked: asked.collect(),
            best_at: Vec::new(),
            ground: ground.map(|(key, value)| (key.to_owned(), value)).into(),
        };
        let funnel: Funnel = cycles.iter().map(funnel).sum();
        let distinct = search.distinct as u64;
        let has_llm = self.policy.has_llm();
        let written: usize = cycles.iter().flat_map(|c| &c.samples).map(|s| s.tokens.len()).sum();
        let tuned: usize = cycles.iter().filter_map(|c| c.tuning.as_ref()).map(|t| t.tokens).sum();
        Ok(Outcome {
            seed: self.seed,
            cycles: cycles.len() as u64,
            funnel,
            distinct,
            mean: entry.mean(),
            best: entry.best_of(usize::MAX),
            seconds: store.phases()?.iter().map(|p| p.seconds).sum(),
            tokens_written: has_llm.then_some(written as u64),
            tokens_tuned: has_llm.then_some(tuned as u64),
            claims: panels(self, &inputs, &cycles).into_iter().map(Claimed::from).collect(),
            measures: Measures {
                new: (funnel.traced > 0).then(|| distinct as f64 / funnel.traced as f64),
                ..exact(&cycles, inputs.gamma_star, &qualities)
            },
            retrained: None,
            search: Some(search),
            qualities,
            entry,
            facts: None,
        })
    }

    fn retrain(&self, _: &Path, _: u64, _: &AtomicBool) -> Result<()> {
        Err(Error::input("an audit trains no networks"))
    }

    fn search(&self, name: String, runs: &[Outcome]) -> Option<searches::Arm> {
        let all: Vec<Search> = runs.iter().filter_map(|r| r.search.clone()).collect();
        (!all.is_empty()).then(|| searches::Arm::of(name, self.policy, &self.dataset, all))
    }
}

fn exact(cycles: &[Cycle], gamma_star: f64, qualities: &[(u64, f64)]) -> Measures {
    let known: Vec<_> = cycles.iter().filter_map(|c| c.exact.as_ref()).collect();
    let updates: Vec<_> = known.iter().filter_map(|e| Some((e, e.update?))).collect();
    let shares: Vec<f64> = updates.iter().filter_map(|(_, u)| u.share).collect();
    let reached = |c: Option<&Cycle>| {
        let c = c?;
        let reached = c.samples.iter().filter(|s| s.quality.is_some_and(|q| q >= gamma_star)).count();
        Some(reached as f64 / c.samples.len().max(1) as f64)
    };
    Measures {
        realised: (!shares.is_empty()).then(|| quantile(&shares, 0.5)),
        exact_fell: (!updates.is_empty()).then(|| updates.iter().filter(|(e, _)| e.after.expected < e.before.expected).count()),
        updates: (!updates.is_empty()).then_some(updates.len()),
        first_c: known.first().map(|e| e.before.elite).or_else(|| reached(cycles.first())),
        last_c: known.last().map(|e| e.before.elite).or_else(|| reached(cycles.last())),
        first_entropy: known.first().map(|e| e.before.entropy),
        last_entropy: known.last().map(|e| e.after.entropy),
        ..falls(qualities)
    }
}
