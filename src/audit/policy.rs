//! What proposes cells, is tuned on the elites among them, and whose distribution is exact. Knows no store: an audit records what
//! comes of it, and to verify an audit is to let it do the same again.

use std::collections::HashSet;
use std::sync::atomic::AtomicBool;

use super::codec::Proposal;
use super::exact::{Distribution, Measures, Update};
use super::product::Product;
use super::record::{Cycle, Elite, Exact, NO_ADAPTER, Sample};
use super::search::{self, Chosen};
use super::settings::{AuditConfig, Format, Policy};
use super::writer::{Parents, Writer};
use crate::elite::hash_of;
use crate::error::{Error, Result};
use crate::oracle::cell::{CELLS, NEIGHBOURS};
use crate::oracle::{Cell, Table};
use crate::propose::prompt_hash;
use crate::record::{TunedOn, Tuning};
use crate::seed;
use crate::theory::statistics::quantile;

pub struct CellPolicy {
    pub config: AuditConfig,
    pub table: Table,
    /// The fixed accuracy whose probability of being reached is C.
    pub gamma_star: f64,
    /// None where no LLM proposes.
    pub writer: Option<Writer>,
    /// The table policy, or beside an LLM what it would be with the same elites.
    product: Product,
    /// The exact distribution as it is with these parents, where it was computed.
    now: Option<(Parents, Distribution)>,
}

impl CellPolicy {
    /// As it is before the warm-up.
    ///
    /// # Errors
    /// When the model or the adapter cannot be read.
    pub fn open(config: AuditConfig, table: Table) -> Result<Self> {
        let writer = config.policy.is_llm().then(|| Writer::open(&config)).transpose()?;
        let gamma_star = config.gamma_star.unwrap_or_else(|| quantile(table.means(), 0.99));
        Ok(Self { config, table, gamma_star, writer, product: Product::uniform(), now: None })
    }

    /// SHA-256 of the adapter; [`NO_ADAPTER`] where no LLM proposes.
    ///
    /// # Errors
    /// Those of the LLM.
    pub fn adapter_hash(&self) -> Result<String> {
        self.writer.as_ref().map_or_else(|| Ok(NO_ADAPTER.to_owned()), Writer::adapter_hash)
    }

    /// Takes the elites of closed cycles as updates of the table; an LLM is loaded from a checkpoint instead.
    pub fn catch_up(&mut self, cycles: &[Cycle]) {
        for cycle in cycles {
            let trained: Vec<Cell> = cycle.elites.iter().filter(|e| !e.held_out).map(|e| e.cell).collect();
            self.product.update(&trained, self.config.table_smoothing);
        }
    }

    /// The samples of a cycle with their qualities; `earlier` are the cycles before it.
    ///
    /// # Errors
    /// Those of the LLM.
    pub fn propose(&self, earlier: &[Cycle], parents: &Parents, cycle: u64) -> Result<Vec<Sample>> {
        let (seed, n) = (self.config.seed, self.config.samples as u64);
        let mut samples = if let Some(writer) = &self.writer {
            let seeds: Vec<u64> = (0..n).map(|i| seed::derive(seed, "sample", &[cycle, i])).collect();
            writer.sample(parents, &seeds)?
        } else {
            self.draw(earlier, parents, cycle)
        };
        self.query(earlier, &mut samples);
        Ok(samples)
    }

    /// Looks the qualities of a cycle's samples up.
    pub fn query(&self, earlier: &[Cycle], samples: &mut [Sample]) {
        let mut seen: HashSet<Cell> = earlier.iter().flat_map(|c| &c.samples).filter_map(Sample::cell).collect();
        for sample in samples {
            sample.quality = sample.cell().and_then(|cell| self.quality(cell, &mut seen));
        }
    }

    /// None of a cell that is refused because it was seen before.
    fn quality(&self, cell: Cell, seen: &mut HashSet<Cell>) -> Option<f64> {
        let is_new = seen.insert(cell);
        (is_new || !self.config.novelty).then(|| self.table.query(cell, self.config.seed))
    }

    /// Samples of the policies that are no LLM.
    fn draw(&self, earlier: &[Cycle], parents: &Parents, cycle: u64) -> Vec<Sample> {
        let rng = |i| seed::rng(self.config.seed, "sample", &[cycle, i]);
        let known = || earlier.iter().flat_map(|c| &c.samples);
        let mut seen: HashSet<Cell> = known().filter_map(Sample::cell).collect();
        // Evolution takes each child into its population at once.
        let mut history: Vec<(Cell, f64)> = known().filter_map(|s| Some((s.cell()?, s.quality?))).collect();
        let mut of_sample = parents.iter().flat_map(|&(parent, share)| std::iter::repeat_n(parent, share));
        let sample = |i| {
            let parent = of_sample.next().flatten();
            let (cell, log_p) = match self.config.policy {
                Policy::TableCe => {
                    let cell = self.product.sample(&mut rng(i));
                    (cell, Some(self.product.probability(cell).ln()))
                }
                Policy::Evolution => (search::evolve(&history, &mut rng(i)), None),
                _ => match parent {
                    Some(parent) => (parent.mutated(&mut rng(i)), Some(-(NEIGHBOURS as f64).ln())),
                    None => (Cell::random(&mut rng(i)), Some(-(CELLS as f64).ln())),
                },
            };
            let quality = self.quality(cell, &mut seen);
            history.extend(quality.map(|quality| (cell, quality)));
            Sample { parent, text: cell.to_string(), tokens: Vec::new(), log_p, log_q: log_p, quality }
        };
        (0..self.config.samples as u64).map(sample).collect()
    }

    /// SHA-256 of what is tuned on for each elite, as for those of a run.
    ///
    /// # Errors
    /// When a proposal is none of the format.
    pub fn examples(&self, elites: &[Elite]) -> Result<Vec<String>> {
        let Some(writer) = &self.writer else { return Ok(vec![hash_of("", &[]); elites.len()]) };
        let hash = |elite: &Elite| {
            let example = writer.example(&elite.proposal())?;
            Ok(hash_of(&prompt_hash(&example.prompt), &example.completion))
        };
        elites.iter().map(hash).collect()
    }

    /// Tunes the policy on the elites that are not held out; None where nothing is tuned but a table, or `stop` was set meanwhile.
    ///
    /// # Errors
    /// Those of the LLM.
    pub fn update(&mut self, chosen: &[Chosen], examples: &[String], cycle: u64, stop: &AtomicBool) -> Result<Option<Tuning>> {
        let of = |held_out: bool| -> Vec<Proposal> {
            chosen.iter().filter(|c| c.elite.held_out == held_out).map(|c| c.elite.proposal()).collect()
        };
        let (trained, held_out) = (of(false), of(true));
        if trained.is_empty() || !self.config.policy.is_tuned() {
            return Ok(None);
        }
        self.product.update(&trained.iter().map(|p| p.cell).collect::<Vec<_>>(), self.config.table_smoothing);
        let Some(writer) = &mut self.writer else { return Ok(None) };
        self.now = None;
        let logged: Option<f64> = chosen.iter().filter(|c| !c.elite.held_out).map(|c| c.log_q).sum();
        let logged = logged.map(|sum| -sum / trained.len() as f64);
        let tuning = writer.update(&trained, &held_out, logged, &self.config, cycle, stop)?;
        let manifest = chosen.iter().zip(examples).map(|(c, example)| TunedOn {
            network: c.elite.sample.clone(),
            held_out: c.elite.held_out,
            example_hash: example.clone(),
        });
        Ok(tuning.map(|tuning| Tuning { manifest: manifest.collect(), ..tuning }))
    }

    /// The exact distribution as it is; None where there is none in closed form.
    ///
    /// # Errors
    /// Those of the LLM.
    pub fn distribution(&mut self, parents: &Parents) -> Result<Option<Distribution>> {
        if let Some(writer) = &self.writer {
            let now = match self.now.take() {
                Some((of, now)) if of == *parents => now,
                _ => writer.distribution(parents)?,
            };
            self.now = Some((parents.clone(), now.clone()));
            return Ok(Some(now));
        }
        Ok(match self.config.policy {
            Policy::TableCe => Some(self.product.distribution()),
            Policy::Random => Some(match self.config.format {
                Format::Full => Product::uniform().distribution(),
                Format::Delta => Distribution::of_uniform_deltas(parents),
            }),
            _ => None,
        })
    }

    /// Whether the exact numbers of a cycle are asked for.
    pub fn is_due(&self, cycle: u64) -> bool {
        self.config.audit_every > 0 && cycle.is_multiple_of(self.config.audit_every)
    }

    /// What the update did, from the distribution before it; the parents stay those of the cycle.
    ///
    /// # Errors
    /// Those of the LLM.
    pub fn measure(&mut self, parents: &Parents, before: &Distribution, chosen: &[Chosen]) -> Result<Exact> {
        let after = self.distribution(parents)?.ok_or_else(|| Error::machine("a distribution that was there before the update is gone"))?;
        let trained: Vec<Cell> = chosen.iter().filter(|c| !c.elite.held_out).map(|c| c.elite.cell).collect();
        let update = (self.config.policy.is_tuned() && !trained.is_empty())
            .then(|| Update::of(&Distribution::empirical(&trained), before, &after, &self.product.distribution()));
        let of = |p: &Distribution| Measures::of(p, &self.table, self.gamma_star);
        Ok(Exact { before: of(before), after: of(&after), update })
    }
}
