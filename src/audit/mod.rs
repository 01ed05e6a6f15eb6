//! The exact audit: the cross-entropy method on a space whose every quality is known and whose every probability is computed.
//!
//! A policy proposes NAS-Bench-201 cells; quality is one training seed's accuracy from the table; the elites of the cycle tune
//! the policy. Before and after an update the distribution over all 15,625 cells is exact, so what the update did is not
//! estimated: E\[S\], C, entropy, the divergence from the elites and the share of the cross-entropy update realised.

pub mod cells;
pub mod codec;
pub mod compare;
pub mod exact;
pub mod record;
pub mod report;
pub mod search;
pub mod settings;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use cells::{CellLearner, Parents};
use codec::Proposal;
use exact::{Distribution, Measures, Update};
use record::{Cycle, Exact, Folder, Inputs, Sample, Seconds, Tuning};
use search::Chosen;
use settings::{AuditConfig, CellFormat};

use crate::config::Policy;
use crate::done::Done;
use crate::error::{Error, Result};
use crate::home;
use crate::oracle::cell::{CELLS, EDGES, NEIGHBOURS, WORDS};
use crate::oracle::{Cell, Table};
use crate::policy::table_ce::TableCe;
use crate::seed;
use crate::theory::statistics::quantile;

pub struct Audit {
    pub config: AuditConfig,
    pub folder: Folder,
    pub table: Table,
    pub inputs: Inputs,
    pub cycles: Vec<Cycle>,
    pub seconds: Vec<Seconds>,
    /// None where the policy is no LLM.
    pub learner: Option<CellLearner>,
    /// The table policy, or beside an LLM what it would be with the same elites.
    table_policy: TableCe<EDGES>,
    /// The exact distribution of the policy as it is with these parents, where it was computed.
    now: Option<(Parents, Distribution)>,
    stop: Arc<AtomicBool>,
}

impl Audit {
    /// Starts an audit in a new folder.
    pub fn create(path: &Path, config: AuditConfig, stop: Arc<AtomicBool>, say: impl FnMut(String)) -> Result<Self> {
        let table = Table::load(&config.dataset, &home::data())?;
        let learner = open_learner(&config)?;
        let folder = Folder::create(path, &config)?;
        Self::begin(config, folder, table, learner, stop, say)
    }

    /// Goes on with an audit that was stopped or killed.
    pub fn resume(path: &Path, stop: Arc<AtomicBool>, say: impl FnMut(String)) -> Result<Self> {
        let config = record::settings(path)?;
        let folder = Folder::open(path)?;
        let table = Table::load(&config.dataset, &home::data())?;
        let mut learner = open_learner(&config)?;
        let Some(inputs) = record::inputs(path)? else {
            return Self::begin(config, folder, table, learner, stop, say);
        };
        same("the table", &inputs.table_sha256, table.sha256())?;
        let cycles = record::cycles(path)?;
        if let Some(CellLearner { learner, .. }) = &mut learner {
            same("the model file", inputs.model_sha256.as_deref().unwrap_or("none"), &learner.model.identity.sha256)?;
            let (cycle, hash) = cycles.last().map_or((0, &inputs.adapter_sha256), |c| (c.cycle, &c.adapter_sha256));
            learner.load_checkpoint(&folder.checkpoint(cycle), config.tune.moments, hash.as_deref().unwrap_or("none"))?;
        }
        let mut table_policy = TableCe::uniform(WORDS.len());
        for cycle in &cycles {
            let trained: Vec<_> = cycle.elites.iter().filter(|e| !e.held_out).map(|e| e.cell.operations()).collect();
            table_policy.update(&trained, config.table_smoothing);
        }
        let seconds = record::seconds(path)?.into_iter().filter(|s| s.cycle <= cycles.len() as u64).collect();
        Ok(Self { config, folder, table, inputs, cycles, seconds, learner, table_policy, now: None, stop })
    }

    /// Warms the LLM up and records what the audit begins with.
    fn begin(
        config: AuditConfig,
        folder: Folder,
        table: Table,
        mut learner: Option<CellLearner>,
        stop: Arc<AtomicBool>,
        mut say: impl FnMut(String),
    ) -> Result<Self> {
        let clock = Instant::now();
        if let Some(cells) = &mut learner {
            let warm = cells.warm_up(&config.warmup, config.format, config.seed, &stop, |step, loss| {
                if step % 10 == 0 {
                    say(format!("warm-up step {step} of {}: loss {loss:.2}", config.warmup.steps));
                }
            })?;
            if warm == Done::Stopped {
                return Err(Error::input("stopped in the warm-up, before there was anything to keep")
                    .hint(format!("begin it again with: eliteloop audit --resume {}", folder.path().display())));
            }
            cells.learner.save_checkpoint(&folder.checkpoint(0), config.tune.moments)?;
        }
        let identity = learner.as_ref().map(|cells| &cells.learner.model.identity);
        let inputs = Inputs {
            program: env!("CARGO_PKG_VERSION").into(),
            table_sha256: table.sha256().into(),
            model: identity.map(|i| i.name.clone()),
            model_sha256: identity.map(|i| i.sha256.clone()),
            gamma_star: config.gamma_star.unwrap_or_else(|| quantile(table.means(), 0.99)),
            adapter_sha256: learner.as_ref().map(|cells| cells.learner.adapter_hash()).transpose()?,
        };
        let (cycles, seconds) = (Vec::new(), vec![Seconds { tune: clock.elapsed().as_secs_f64(), ..Seconds::default() }]);
        folder.put_cycles(&cycles, &seconds)?;
        folder.put_inputs(&inputs)?;
        let table_policy = TableCe::uniform(WORDS.len());
        Ok(Self { config, folder, table, inputs, cycles, seconds, learner, table_policy, now: None, stop })
    }

    /// Runs the cycles that are not closed yet.
    pub fn run(&mut self, mut on_cycle: impl FnMut(&Cycle)) -> Result<Done<()>> {
        while !is_finished(&self.config, &self.cycles) {
            if self.cycle(self.cycles.len() as u64 + 1)? == Done::Stopped {
                return Ok(Done::Stopped);
            }
            on_cycle(self.cycles.last().expect("it was closed a line ago"));
        }
        Ok(Done::Finished(()))
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// One cycle: propose, query, select, update, record. Of one that is stopped nothing is recorded.
    fn cycle(&mut self, cycle: u64) -> Result<Done<()>> {
        let mut seconds = Seconds { cycle, ..Seconds::default() };
        let clock = Instant::now();
        let parents = search::parents(&self.cycles, &self.config, cycle);
        let Done::Finished(samples) = self.propose(&parents, cycle)? else { return Ok(Done::Stopped) };
        let chosen = search::elites(&self.cycles, &samples, &self.config, cycle);
        seconds.sample = clock.elapsed().as_secs_f64();

        let due = self.config.audit_every > 0 && cycle.is_multiple_of(self.config.audit_every);
        let clock = Instant::now();
        let before = if due { self.distribution(&parents)? } else { None };
        seconds.audit = clock.elapsed().as_secs_f64();
        if self.stopped() {
            return Ok(Done::Stopped);
        }

        let clock = Instant::now();
        let Done::Finished(tuning) = self.update(&chosen, cycle)? else { return Ok(Done::Stopped) };
        seconds.tune = clock.elapsed().as_secs_f64();
        if self.stopped() {
            return Ok(Done::Stopped);
        }

        let clock = Instant::now();
        let exact = before.map(|before| self.measure(&parents, &before, &chosen)).transpose()?;
        seconds.audit += clock.elapsed().as_secs_f64();
        if self.stopped() {
            return Ok(Done::Stopped);
        }

        let earlier = self.cycles.iter().flat_map(|c| &c.samples);
        let search = search::progress(earlier.chain(&samples), &self.table);
        let mut adapter_sha256 = None;
        if let Some(CellLearner { learner, .. }) = &self.learner {
            learner.save_checkpoint(&self.folder.checkpoint(cycle), self.config.tune.moments)?;
            adapter_sha256 = Some(learner.adapter_hash()?);
        }
        let gamma = chosen.last().map(|c| c.elite.quality);
        let elites = chosen.into_iter().map(|c| c.elite).collect();
        self.cycles.push(Cycle { cycle, samples, gamma, elites, tuning, exact, search, adapter_sha256 });
        self.seconds.push(seconds);
        self.folder.put_cycles(&self.cycles, &self.seconds)?;
        // Only now is the adapter before it not needed any more.
        let old = self.folder.checkpoint(cycle - 1);
        if cycle > 1 && old.is_dir() {
            std::fs::remove_dir_all(old)?;
        }
        Ok(Done::Finished(()))
    }

    /// The samples of a cycle with their qualities.
    fn propose(&self, parents: &Parents, cycle: u64) -> Result<Done<Vec<Sample>>> {
        let (seed, n) = (self.config.seed, self.config.candidates as u64);
        let mut seen: HashSet<Cell> = self.cycles.iter().flat_map(|c| &c.samples).filter_map(Sample::cell).collect();
        let mut query = |cell: Cell| {
            let is_new = seen.insert(cell);
            (is_new || !self.config.novelty.enabled).then(|| self.table.query(cell, seed))
        };
        let rng = |i| seed::rng(seed, "sample", &[cycle, i]);
        if let Some(cells) = &self.learner {
            let seeds: Vec<u64> = (0..n).map(|i| seed::derive(seed, "sample", &[cycle, i])).collect();
            let Done::Finished(mut samples) = cells.sample(parents, &seeds, &self.stop)? else { return Ok(Done::Stopped) };
            for sample in &mut samples {
                sample.quality = sample.cell().and_then(&mut query);
            }
            return Ok(Done::Finished(samples));
        }
        let mut history: Vec<(Cell, f64)> =
            self.cycles.iter().flat_map(|c| &c.samples).filter_map(|s| Some((s.cell()?, s.quality?))).collect();
        let mut of_sample = parents.iter().flat_map(|&(parent, share)| std::iter::repeat_n(parent, share));
        let sample = |i| {
            let parent = of_sample.next().flatten();
            let (cell, log_p) = match self.config.policy {
                Policy::TableCe => {
                    let operations = self.table_policy.sample(&mut rng(i));
                    (Cell::new(&operations).expect("the table has six places"), Some(self.table_policy.probability(operations).ln()))
                }
                Policy::Evolution => (search::evolve(&history, &mut rng(i)), None),
                _ => match parent {
                    Some(parent) => (parent.mutated(&mut rng(i)), Some(-(NEIGHBOURS as f64).ln())),
                    None => (Cell::random(&mut rng(i)), Some(-(CELLS as f64).ln())),
                },
            };
            let quality = query(cell);
            history.extend(quality.map(|quality| (cell, quality)));
            Sample { parent, text: cell.to_string(), log_p, log_q: log_p, quality }
        };
        Ok(Done::Finished((0..n).map(sample).collect()))
    }

    /// Tunes the policy on the elites that are not held out; gives what that did to an LLM.
    fn update(&mut self, chosen: &[Chosen], cycle: u64) -> Result<Done<Option<Tuning>>> {
        let of = |held_out: bool| -> Vec<Proposal> {
            chosen.iter().filter(|c| c.elite.held_out == held_out).map(|c| c.elite.proposal()).collect()
        };
        let (trained, held_out) = (of(false), of(true));
        if trained.is_empty() || !self.config.policy.is_tuned() {
            return Ok(Done::Finished(None));
        }
        self.table_policy.update(&trained.iter().map(|p| p.cell.operations()).collect::<Vec<_>>(), self.config.table_smoothing);
        let Some(cells) = &mut self.learner else { return Ok(Done::Finished(None)) };
        self.now = None;
        let logged: Option<f64> = chosen.iter().filter(|c| !c.elite.held_out).map(|c| c.log_q).sum();
        let logged = logged.map(|sum| -sum / trained.len() as f64);
        let (trained, held_out) = (cells.examples(&trained)?, cells.examples(&held_out)?);
        let seed = seed::derive(self.config.seed, "tune", &[cycle]);
        let update = cells.learner.update(&trained, &held_out, &self.config.tune, seed, &self.stop, &mut |_, _| ())?;
        let Done::Finished(update) = update else { return Ok(Done::Stopped) };
        Ok(Done::Finished(Some(Tuning {
            examples: trained.len(),
            logged,
            loss_before: update.loss_before,
            loss_after: update.loss_after,
            held_out_before: update.held_out_before,
            held_out_after: update.held_out_after,
            steps: update.steps.iter().map(|s| (s.loss, s.gradient_norm)).collect(),
        })))
    }

    /// The exact distribution of the policy as it is; None where it has none in closed form.
    fn distribution(&mut self, parents: &Parents) -> Result<Option<Distribution>> {
        if let Some(cells) = &self.learner {
            let now = match self.now.take() {
                Some((of, now)) if of == *parents => now,
                _ => cells.distribution(parents)?,
            };
            self.now = Some((parents.clone(), now.clone()));
            return Ok(Some(now));
        }
        Ok(match self.config.policy {
            Policy::TableCe => Some(Distribution::of_table(&self.table_policy)),
            Policy::Random => Some(match self.config.format {
                CellFormat::Full => Distribution::of_table(&TableCe::uniform(WORDS.len())),
                CellFormat::Delta => Distribution::of_uniform_deltas(parents),
            }),
            _ => None,
        })
    }

    /// What the update did, from the distribution before it; the parents stay those of the cycle.
    fn measure(&mut self, parents: &Parents, before: &Distribution, chosen: &[Chosen]) -> Result<Exact> {
        let after = self.distribution(parents)?.ok_or_else(|| Error::machine("a distribution that was there before the update is gone"))?;
        let gamma_star = self.inputs.gamma_star;
        let trained: Vec<Cell> = chosen.iter().filter(|c| !c.elite.held_out).map(|c| c.elite.cell).collect();
        let update = (self.config.policy.is_tuned() && !trained.is_empty())
            .then(|| Update::of(&Distribution::empirical(&trained), before, &after, &Distribution::of_table(&self.table_policy)));
        Ok(Exact { before: Measures::of(before, &self.table, gamma_star), after: Measures::of(&after, &self.table, gamma_star), update })
    }
}

/// Whether no cycle is left: all are closed, or the budget is spent.
pub fn is_finished(config: &AuditConfig, cycles: &[Cycle]) -> bool {
    let search = cycles.last().map(|c| c.search).unwrap_or_default();
    cycles.len() as u64 >= config.cycles
        || config.stop_at_best && search.best_found_at.is_some()
        || config.budget.is_some_and(|budget| search.distinct >= budget)
}

fn open_learner(config: &AuditConfig) -> Result<Option<CellLearner>> {
    config.policy.has_llm().then(|| CellLearner::open(config)).transpose()
}

fn same(what: &str, began: &str, found: &str) -> Result<()> {
    if began == found {
        return Ok(());
    }
    Err(Error::input(format!("{what} is not the one this audit began with (SHA-256 {found}, then {began})"))
        .hint("put the original back: an audit that goes on with other inputs would not be the same"))
}
