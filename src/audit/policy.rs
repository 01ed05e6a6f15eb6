//! What proposes cells, is tuned on the elites among them, and whose distribution is exact. Knows no store: an audit records what
//! comes of it, and to verify an audit is to let it do the same again.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rand::Rng;

use super::beyond::Beyond;
use super::cells::CellLearner;
use super::climb::Climber;
use super::codec::{Parents, Proposal};
use super::exact::{Distribution, Measures, Update};
use super::record::{Cycle, Elite, Exact, NO_ADAPTER, Sample};
use super::search::{self, Chosen};
use super::settings::{AuditConfig, AuditEliteSource, CellFormat, Measured};
use crate::base::done::Done;
use crate::base::error::{Error, Result};
use crate::base::seed;
use crate::config::Policy;
use crate::method::elite::hash_of;
use crate::method::propose::prompt_hash;
use crate::method::weights;
use crate::oracle::{Cell, Space, Table};
use crate::policy::lesson::Lesson;
use crate::policy::table_ce::{TableCe, draw};
use crate::record::{NetworkId, TunedOn, Tuning, TuningStep};
use crate::theory::finite;
use crate::theory::statistics::quantile;

/// The table under which all cells are alike.
fn uniform(space: &Space) -> TableCe {
    TableCe::uniform(space.slots().len(), space.words().len())
}

/// Any policy over cells: an LLM, a distribution in closed form or a search, with the table that answers its queries.
pub struct CellPolicy {
    /// The settings of the audit.
    pub config: AuditConfig,
    pub(crate) table: Arc<Table>,
    /// The quality of each cell as this audit measures it.
    objective: Vec<f64>,
    /// The fixed accuracy whose probability of being reached is C.
    pub(crate) gamma_star: f64,
    /// None where no LLM proposes.
    pub(crate) learner: Option<CellLearner>,
    /// The table policy, or beside an LLM what it would be with the same elites.
    table_policy: TableCe,
    /// The distribution of a policy that has no other form.
    cells: Option<Distribution>,
    /// The exact distribution as it is with these parents, where it was computed.
    now: Option<(Parents, Distribution)>,
}

impl CellPolicy {
    /// As it is before the warm-up.
    ///
    /// # Errors
    /// When the settings do not suit the table's space, or the model or the adapter cannot be read.
    pub(crate) fn open(config: AuditConfig, table: Arc<Table>) -> Result<Self> {
        let space = table.space();
        config.check_in(space)?;
        let learner = config.policy.has_llm().then(|| CellLearner::open(&config, space)).transpose()?;
        if let (true, Some(cells)) = (config.policy.is_tuned(), &learner) {
            cells.learner.check_update(&config.tune, config.candidates)?;
        }
        let gamma_star = config.gamma_star.unwrap_or_else(|| quantile(table.means(), 0.99));
        let objective = match config.quality {
            Measured::OneSeed => Cell::all(space).map(|cell| table.query(cell, config.seed)).collect(),
            Measured::Mean => table.means().to_vec(),
        };
        let table_policy = uniform(space);
        let cells = config.policy.is_exact().then(|| Distribution::of_table(space, &table_policy));
        Ok(Self { config, table, objective, gamma_star, learner, table_policy, cells, now: None })
    }

    /// What it proposes cells of.
    pub(crate) fn space(&self) -> &'static Space {
        self.table.space()
    }

    /// SHA-256 of the adapter; [`NO_ADAPTER`] where no LLM proposes.
    ///
    /// # Errors
    /// Those of the LLM.
    pub(crate) fn adapter_hash(&self) -> Result<String> {
        self.learner.as_ref().map_or_else(|| Ok(NO_ADAPTER.to_owned()), |cells| cells.learner.adapter_hash())
    }

    /// Loads the adapter of a checkpoint, which has to be the one whose hash was stored; nothing where no LLM proposes.
    ///
    /// # Errors
    /// When it is another, or cannot be read.
    pub(crate) fn load(&mut self, checkpoint: &Path, adapter_hash: &str) -> Result<()> {
        self.now = None;
        let Some(cells) = &mut self.learner else { return Ok(()) };
        cells.learner.load_checkpoint(checkpoint, self.config.tune.moments, adapter_hash)
    }

    /// Keeps the adapter as it is after the warm-up, where updates start from it.
    ///
    /// # Errors
    /// Those of the LLM.
    pub(crate) fn keep_prior(&mut self) -> Result<()> {
        self.learner.as_mut().map_or(Ok(()), |cells| cells.learner.keep_prior(&self.config.tune))
    }

    /// Takes the elites of closed cycles as updates of the table; an LLM is loaded from a checkpoint instead.
    pub(crate) fn catch_up(&mut self, cycles: &[Cycle]) {
        let tuned: &[Cycle] = if self.config.policy.is_tuned() { cycles } else { &[] };
        for cycle in tuned {
            let trained: Vec<Cell> = cycle.elites.iter().filter(|e| !e.held_out).map(|e| e.cell).collect();
            self.update_tables(&trained);
        }
    }

    /// The population elites of a distribution, and their threshold; None where the settings ask for samples or nothing is elite.
    fn population(&self, p: &Distribution) -> Option<(Distribution, f64)> {
        let elite = &self.config.elite;
        if elite.source != AuditEliteSource::Population {
            return None;
        }
        let cells = p.inside();
        let gamma = elite.threshold.unwrap_or_else(|| finite::threshold(&cells, &self.objective, elite.rho));
        Some((Distribution::complete(self.space(), finite::above(&cells, &self.objective, gamma)?), gamma))
    }

    /// The policies in closed form by these elites, or by the population's.
    fn update_tables(&mut self, trained: &[Cell]) {
        let (space, alpha) = (self.space(), self.config.table_smoothing);
        let now = self.cells.clone().unwrap_or_else(|| Distribution::of_table(self.space(), &self.table_policy));
        let population = self.population(&now).map(|(elites, _)| elites);
        match &population {
            Some(elites) => self.table_policy.toward(&elites.marginals(), alpha),
            None => self.table_policy.update(&trained.iter().map(|cell| cell.words().collect()).collect::<Vec<_>>(), alpha),
        }
        let sampled = || (!trained.is_empty()).then(|| Distribution::empirical(space, trained));
        let moved = match self.config.policy {
            Policy::MixtureCe => {
                population.or_else(sampled).map(|e| Distribution::complete(space, finite::smooth(e.cells(), now.cells(), alpha)))
            }
            Policy::TiltCe => Some(Distribution::complete(space, finite::tilt(now.cells(), &self.objective, self.config.tilt_kl))),
            Policy::Llm
            | Policy::Frozen
            | Policy::BestOfN
            | Policy::TableCe
            | Policy::Random
            | Policy::Uniform
            | Policy::LocalSearch
            | Policy::Evolution => None,
        };
        if let Some(moved) = moved {
            self.cells = Some(moved);
        }
    }

    /// The quality of the worst elite, or the threshold of the population as the policy is.
    pub(crate) fn gamma(&self, elites: &[Elite]) -> Option<f64> {
        if self.config.elite.source != AuditEliteSource::Population {
            return elites.last().map(|worst| worst.quality);
        }
        let now = self.cells.clone().unwrap_or_else(|| Distribution::of_table(self.space(), &self.table_policy));
        self.population(&now).map(|(_, gamma)| gamma)
    }

    /// The samples of a cycle with their qualities; `earlier` are the cycles before it.
    ///
    /// # Errors
    /// Those of the LLM.
    pub(crate) fn propose(&self, earlier: &[Cycle], parents: &Parents, cycle: u64, stop: &AtomicBool) -> Result<Done<Vec<Sample>>> {
        let (seed, n) = (self.config.seed, self.config.candidates as u64);
        let mut samples = if let Some(cells) = &self.learner {
            let seeds: Vec<u64> = (0..n).map(|i| seed::derive(seed, "sample", &[cycle, i])).collect();
            let Done::Finished(samples) = cells.sample(parents, &seeds, stop)? else { return Ok(Done::Stopped) };
            samples
        } else {
            self.draw(earlier, parents, cycle)
        };
        self.query(earlier, &mut samples);
        Ok(Done::Finished(samples))
    }

    /// Looks the qualities of a cycle's samples up.
    pub(crate) fn query(&self, earlier: &[Cycle], samples: &mut [Sample]) {
        let mut seen: HashSet<Cell> = earlier.iter().flat_map(|c| &c.samples).filter_map(Sample::cell).collect();
        for sample in samples {
            sample.quality = sample.cell().and_then(|cell| self.quality(cell, &mut seen));
        }
    }

    /// None of a cell that is refused because it was seen before.
    fn quality(&self, cell: Cell, seen: &mut HashSet<Cell>) -> Option<f64> {
        let is_new = seen.insert(cell);
        (is_new || !self.config.novelty.enabled).then(|| self.objective[cell.index()])
    }

    /// Samples of the policies that are no LLM.
    fn draw(&self, earlier: &[Cycle], parents: &Parents, cycle: u64) -> Vec<Sample> {
        let rng = |i| seed::rng(self.config.seed, "sample", &[cycle, i]);
        let known = || earlier.iter().flat_map(|c| &c.samples);
        let mut seen: HashSet<Cell> = known().filter_map(Sample::cell).collect();
        // Evolution takes each child into its population at once.
        let mut history: Vec<(Cell, f64)> = known().filter_map(|s| Some((s.cell()?, s.quality?))).collect();
        let climbed: &[_] = if self.config.policy == Policy::LocalSearch { &history } else { &[] };
        let space = self.space();
        let mut climber = Climber::after(space, self.config.seed, climbed);
        let mut of_sample = parents.iter().flat_map(|&(parent, share)| std::iter::repeat_n(parent, share));
        let sample = |i| {
            let parent = of_sample.next().flatten();
            let (cell, log_p) = match self.config.policy {
                Policy::TableCe => {
                    let words = self.table_policy.sample(&mut rng(i));
                    let cell = Cell::new(space, &words).expect("the table has a place a slot");
                    (cell, Some(self.table_policy.probability(words).ln()))
                }
                Policy::Evolution => (search::evolve(space, &history, &mut rng(i)), None),
                Policy::MixtureCe | Policy::TiltCe => {
                    let p = self.cells.as_ref().map_or(&[] as &[f64], Distribution::cells);
                    let cell = Cell::at(space, draw(p, rng(i).random()));
                    (cell, Some(p[cell.index()].ln()))
                }
                Policy::LocalSearch => (climber.next(&mut rng(i)), None),
                Policy::Llm | Policy::Frozen | Policy::BestOfN | Policy::Random | Policy::Uniform => match parent {
                    Some(parent) => (parent.mutated(&mut rng(i)), Some(-(space.neighbours() as f64).ln())),
                    None => (Cell::random(space, &mut rng(i)), Some(-(space.cells() as f64).ln())),
                },
            };
            let quality = self.quality(cell, &mut seen);
            if let Some(quality) = quality {
                history.push((cell, quality));
                climber.observe(cell, quality);
            }
            let mut sample = Sample::new(space, parent, cell.to_string());
            (sample.log_p, sample.log_q, sample.quality) = (log_p, log_p, quality);
            sample
        };
        (0..self.config.candidates as u64).map(sample).collect()
    }

    /// SHA-256 of what is tuned on for each elite, as for those of a run.
    ///
    /// # Errors
    /// When a proposal is none of the format.
    pub(crate) fn examples(&self, elites: &[Elite]) -> Result<Vec<String>> {
        let Some(cells) = &self.learner else { return Ok(vec![hash_of("", &[]); elites.len()]) };
        let examples = cells.examples(&elites.iter().map(Elite::proposal).collect::<Vec<_>>())?;
        Ok(examples.iter().map(|e| hash_of(&prompt_hash(&e.prompt), &e.completion)).collect())
    }

    /// Tunes the policy on the elites that are not held out; gives what that did to an LLM, which is scored on all `samples` of the cycle
    /// before and after.
    ///
    /// # Errors
    /// Those of the LLM.
    pub(crate) fn update(
        &mut self,
        samples: &[Sample],
        chosen: &[Chosen],
        examples: &[String],
        cycle: u64,
        stop: &AtomicBool,
    ) -> Result<Done<Option<Tuning>>> {
        let of = |held_out: bool| -> Vec<Proposal> {
            chosen.iter().filter(|c| c.elite.held_out == held_out).map(|c| c.elite.proposal()).collect()
        };
        let (trained, held_out) = (of(false), of(true));
        let population = self.config.elite.source == AuditEliteSource::Population;
        if (trained.is_empty() && !population) || !self.config.policy.is_tuned() {
            return Ok(Done::Finished(None));
        }
        self.update_tables(&trained.iter().map(|p| p.cell).collect::<Vec<_>>());
        let Some(cells) = &mut self.learner else { return Ok(Done::Finished(None)) };
        self.now = None;
        let quality: Vec<f64> = chosen.iter().map(|c| c.elite.quality).collect();
        let all = weights::of(self.config.elite.weights, &quality, self.config.elite.rho, self.config.candidates);
        let weight = |at: usize| all.get(at).copied().unwrap_or(1.0);
        let tuned: Vec<usize> = (0..chosen.len()).filter(|at| !chosen[*at].elite.held_out).collect();
        let weights: Vec<f64> = if all.is_empty() { Vec::new() } else { tuned.iter().map(|at| all[*at]).collect() };
        let logged: Option<f64> = tuned.iter().map(|&at| Some(weight(at) * chosen[at].log_q?)).sum();
        let logged = logged.map(|sum| -sum / tuned.iter().map(|at| weight(*at)).sum::<f64>());
        let (trained, held_out) = (cells.examples(&trained)?, cells.examples(&held_out)?);
        let seed = seed::derive(self.config.seed, "tune", &[cycle]);
        let named: Vec<(NetworkId, &Sample)> = search::named(cycle, samples).collect();
        let (sampled, log_q) = cells.scored(&named);
        let lesson = Lesson { trained: &trained, weights: &weights, held_out: &held_out, sampled: &sampled, log_q: &log_q };
        let update = cells.learner.update(&lesson, &self.config.tune, seed, stop, &mut |_, _| ())?;
        let Done::Finished(update) = update else { return Ok(Done::Stopped) };
        let manifest = chosen.iter().zip(examples).enumerate().map(|(at, (c, example))| TunedOn {
            network: c.elite.sample.clone(),
            held_out: c.elite.held_out,
            example_hash: example.clone(),
            weight: weight(at),
        });
        Ok(Done::Finished(Some(Tuning {
            logged,
            before: update.measured.loss_before,
            after: update.measured.loss_after,
            held_out_before: update.held_out_before,
            held_out_after: update.held_out_after,
            steps: update.steps.iter().map(|s| TuningStep { loss: s.loss, gradient_norm: s.gradient_norm, lr: s.lr }).collect(),
            examples: trained.len(),
            tokens: update.tokens as usize,
            manifest: manifest.collect(),
            gate: None,
            change: update.measured.change(&lesson, |network| named.iter().find(|(name, _)| name == network)?.1.quality)?,
        })))
    }

    /// The exact distribution as it is; None where there is none in closed form.
    ///
    /// # Errors
    /// Those of the LLM.
    pub(crate) fn distribution(&mut self, parents: &Parents) -> Result<Option<Distribution>> {
        if let Some(cells) = &self.learner {
            let now = match self.now.take() {
                Some((of, now)) if of == *parents => now,
                _ => cells.distribution(parents)?,
            };
            self.now = Some((parents.clone(), now.clone()));
            return Ok(Some(now));
        }
        Ok(match self.config.policy {
            Policy::MixtureCe | Policy::TiltCe => self.cells.clone(),
            Policy::TableCe => Some(Distribution::of_table(self.space(), &self.table_policy)),
            Policy::Random | Policy::Uniform => Some(match self.config.format {
                CellFormat::Full => Distribution::of_table(self.space(), &uniform(self.space())),
                CellFormat::Delta => Distribution::of_uniform_deltas(self.space(), parents),
            }),
            Policy::Llm | Policy::Frozen | Policy::BestOfN | Policy::Evolution | Policy::LocalSearch => None,
        })
    }

    /// `log p` of the cells of samples under the policy as it is; none where deltas are written or it has no closed form.
    ///
    /// # Errors
    /// Those of the LLM.
    pub(crate) fn score(&mut self, parents: &Parents, samples: &mut [Sample]) -> Result<()> {
        if self.config.format == CellFormat::Delta {
            return Ok(());
        }
        let Some(now) = self.distribution(parents)? else { return Ok(()) };
        for sample in samples {
            sample.log_p_after = sample.cell().map(|cell| now.cells()[cell.index()].ln()).filter(|log_p| log_p.is_finite());
        }
        Ok(())
    }

    /// Whether the exact numbers of a cycle are asked for.
    pub(crate) fn is_due(&self, cycle: u64) -> bool {
        self.config.audit_every > 0 && cycle.is_multiple_of(self.config.audit_every)
    }

    /// What the update did, from the distribution before it; the parents stay those of the cycle.
    ///
    /// # Errors
    /// Those of the LLM.
    pub(crate) fn measure(&mut self, parents: &Parents, before: &Distribution, chosen: &[Chosen]) -> Result<Exact> {
        let after = self.distribution(parents)?.ok_or_else(|| Error::machine("a distribution that was there before the update is gone"))?;
        let trained: Vec<Cell> = chosen.iter().filter(|c| !c.elite.held_out).map(|c| c.elite.cell).collect();
        let sampled = || (!trained.is_empty()).then(|| Distribution::empirical(self.space(), &trained));
        let population = self.population(before);
        let gamma = population.as_ref().map(|(_, gamma)| *gamma).or_else(|| chosen.last().map(|worst| worst.elite.quality));
        let elites = population.map(|(elites, _)| elites).or_else(sampled).filter(|_| self.config.policy.is_tuned());
        let alpha = match self.config.policy {
            Policy::TableCe | Policy::MixtureCe => self.config.table_smoothing,
            Policy::Llm
            | Policy::Frozen
            | Policy::BestOfN
            | Policy::TiltCe
            | Policy::Random
            | Policy::Uniform
            | Policy::Evolution
            | Policy::LocalSearch => 1.0,
        };
        let table = Distribution::of_table(self.space(), &self.table_policy);
        let update = elites.as_ref().map(|elites| Update::of(elites, before, &after, &table, alpha));
        let beyond = elites.as_ref().zip(gamma);
        let beyond = beyond.map(|(elites, gamma)| Beyond::of(before, &after, elites, &self.objective, gamma, &self.table));
        let of = |p: &Distribution| Measures::of(p, &self.table, &self.objective, self.gamma_star);
        Ok(Exact { before: of(before), after: of(&after), update, beyond })
    }
}
