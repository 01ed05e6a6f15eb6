//! From the stores of one or several runs to the six claims: what each estimator of [`crate::theory`] wants to know.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::error::Result;
use crate::config::{Policy, RunConfig};
use crate::decoder::settings::tune::Objective;
use crate::delta::settings::Format;
use crate::gates::Stage;
use crate::record::{Candidate, GateRecord, NetworkId, Store};
use crate::theory::diversity::{Accepted, Comparison, CycleCounts};
use crate::theory::improvement::CycleQualities;
use crate::theory::statistics::mean;
use crate::theory::values::{Cell, Show};
use crate::theory::{Panel, ce_update, convergence, diversity, improvement, reliability, token_errors};
use crate::tracer::novelty::Filter;

/// What the records of a run, or of runs that differ in their seed only, say to the claims.
#[derive(Clone, Debug)]
pub struct Evidence {
    pub tuned: bool,
    pub tunings: Vec<ce_update::Tuning>,
    /// (cycle, what the gate found and did)
    pub gates: Vec<(u64, GateRecord)>,
    pub qualities: Vec<CycleQualities>,
    pub counts: Vec<convergence::Count>,
    pub format: Format,
    pub tokens: token_errors::Arm,
    pub diversity: diversity::Arm,
    pub comparisons: Vec<Comparison>,
    /// Qualities of each network that was trained with several seeds, seed by seed.
    pub repeated: Vec<Vec<f64>>,
    threshold: f64,
    hashes: usize,
    elite_share: f64,
    runs: usize,
}

impl Evidence {
    /// `candidates` are those of the closed cycles.
    pub fn of(store: &Store, config: &RunConfig, candidates: &[Candidate]) -> Result<Self> {
        let quality = store.qualities()?;
        let (diversity, comparisons) = novelty(store, config, candidates)?;
        let gates = store.cycles()?.into_iter().filter_map(|row| Some((row.cycle, row.tuning?.gate?)));
        Ok(Self {
            tuned: config.policy == Policy::Llm,
            tunings: tunings(store, config, candidates)?,
            gates: gates.collect(),
            qualities: qualities(&quality, candidates),
            counts: counts(&quality, candidates),
            format: config.delta.format,
            tokens: tokens(store, config.delta.format, candidates)?,
            diversity,
            comparisons,
            repeated: repeated(store)?,
            threshold: config.novelty.threshold,
            hashes: config.novelty.hashes,
            elite_share: config.elite.rho,
            runs: 1,
        })
    }

    /// The evidence of several runs as one. None of no runs.
    ///
    /// A run's level of quality is its own (its start networks were trained with its seeds), so qualities are taken about their
    /// run's mean and put about the mean of all.
    pub fn pool(runs: &[Self]) -> Option<Self> {
        let (first, others) = runs.split_first()?;
        let all: Vec<f64> = runs.iter().flat_map(|r| &r.qualities).flat_map(|c| c.qualities.iter().copied()).collect();
        let center = mean(&all);
        let mut pool = first.clone();
        pool.recenter(center);
        for (run, other) in (1..).zip(others) {
            let mut other = other.clone();
            other.recenter(center);
            pool.runs += other.runs;
            pool.tunings.extend(other.tunings);
            pool.gates.extend(other.gates);
            for theirs in other.qualities {
                match pool.qualities.iter_mut().find(|c| c.cycle == theirs.cycle) {
                    Some(own) => own.qualities.extend(theirs.qualities),
                    None => pool.qualities.push(theirs),
                }
            }
            for theirs in other.counts {
                match pool.counts.iter_mut().find(|c| c.cycle == theirs.cycle) {
                    Some(own) => (own.asked, own.reached) = (own.asked + theirs.asked, own.reached + theirs.reached),
                    None => pool.counts.push(theirs),
                }
            }
            pool.tokens = pool.tokens.with(other.tokens);
            pool.diversity = pool.diversity.with(other.diversity, run);
            pool.comparisons.extend(other.comparisons);
            pool.repeated.extend(other.repeated);
        }
        Some(pool)
    }

    fn recenter(&mut self, center: f64) {
        let all: Vec<f64> = self.qualities.iter().flat_map(|c| c.qualities.iter().copied()).collect();
        let shift = if all.is_empty() { 0.0 } else { center - mean(&all) };
        self.qualities.iter_mut().flat_map(|c| &mut c.qualities).for_each(|quality| *quality += shift);
        let own = self.repeated.iter().flatten().copied().collect::<Vec<f64>>();
        let shift = if own.is_empty() { 0.0 } else { mean(&own) };
        self.repeated.iter_mut().flatten().for_each(|score| *score -= shift);
    }

    /// The six panels. `off` is the arm without the novelty filter, `other` one of the other kind of format, where there are such.
    pub fn panels(&self, off: Option<&Self>, other: Option<&Self>) -> Vec<Panel> {
        let mut improved = improvement::judge(self.tuned, &self.qualities).panel();
        improved.numbers.extend(self.gates.iter().flat_map(|(cycle, gate)| gate_numbers(*cycle, gate)));
        vec![
            ce_update::judge(&self.tunings).panel(),
            improved,
            convergence::judge(&self.counts).panel(),
            self.formats(other).panel(),
            self.filter(off).panel(),
            reliability::judge(&self.repeated, &reliability::Pairs::default(), self.elite_share).panel(),
        ]
    }

    /// Claim 4.
    pub fn formats(&self, other: Option<&Self>) -> token_errors::Outcome {
        let all = [Some(self), other];
        let arm = |full: bool| all.into_iter().flatten().find(|e| (e.format == Format::Full) == full).map(|e| &e.tokens);
        token_errors::judge(arm(false).filter(|a| a.tried > 0), arm(true).filter(|a| a.tried > 0))
    }

    /// Claim 5.
    pub fn filter(&self, off: Option<&Self>) -> diversity::Outcome {
        diversity::judge(&self.diversity, off.map(|e| &e.diversity), self.threshold, &self.comparisons, self.hashes)
    }
}

fn gate_numbers(cycle: u64, gate: &GateRecord) -> [(String, Cell); 4] {
    let f = &gate.forecast;
    let change = f.change.map_or_else(|| "not estimable".into(), |c| Cell::estimate(c.value, Some((c.low, c.high)), Show::Signed(4)));
    let name = |what: &str| format!("gate before adopting the update of cycle {cycle}: {what}");
    [
        (name("change of the mean"), change),
        (name("samples"), f.samples.into()),
        (name("samples that they are worth"), Cell::number(f.effective_samples, Show::Fixed(1))),
        (name("decision"), gate.action.past().into()),
    ]
}

fn tunings(store: &Store, config: &RunConfig, candidates: &[Candidate]) -> Result<Vec<ce_update::Tuning>> {
    let elites = store.elites()?;
    let mut tunings = Vec::new();
    for row in store.cycles()? {
        let Some(tuning) = &row.tuning else { continue };
        let own: Vec<_> = elites.iter().filter(|e| e.cycle == row.cycle).collect();
        let trained: Vec<_> = tuning.manifest(&elites, row.cycle).into_iter().filter(|t| !t.held_out).collect();
        let log_p = |id: &NetworkId| candidates.iter().find(|c| c.id() == *id && c.cycle == row.cycle).and_then(|c| c.log_p);
        tunings.push(ce_update::Tuning {
            cycle: row.cycle,
            summed: config.tune.tuning.objective == Objective::Sum,
            logged: trained.iter().filter_map(|e| log_p(&e.network)).collect(),
            loss_before: tuning.before,
            loss_after: tuning.after,
            held_out: tuning.held_out_before.zip(tuning.held_out_after),
            trained: trained.into_iter().map(|t| t.example_hash).collect(),
            elites: own.iter().map(|e| e.example_hash.clone()).collect(),
        });
    }
    Ok(tunings)
}

/// The cycles of a run that are there, from 1.
fn cycles(candidates: &[Candidate]) -> impl Iterator<Item = (u64, &[Candidate])> {
    candidates.chunk_by(|a, b| a.cycle == b.cycle).map(|own| (own[0].cycle, own))
}

fn qualities(quality: &BTreeMap<NetworkId, f64>, candidates: &[Candidate]) -> Vec<CycleQualities> {
    let of = |own: &[Candidate]| own.iter().filter_map(|c| quality.get(&c.id()).copied()).collect();
    cycles(candidates).map(|(cycle, own)| CycleQualities { cycle, qualities: of(own) }).collect()
}

/// gamma* is the quality of the best start network: known before the first sample is drawn.
fn counts(quality: &BTreeMap<NetworkId, f64>, candidates: &[Candidate]) -> Vec<convergence::Count> {
    let starts = quality.iter().filter(|(id, _)| matches!(id, NetworkId::Start(_)));
    let gamma = starts.map(|(_, q)| *q).fold(f64::NEG_INFINITY, f64::max);
    let reached = |own: &[Candidate]| own.iter().filter(|c| quality.get(&c.id()).is_some_and(|q| *q >= gamma)).count();
    cycles(candidates).map(|(cycle, own)| convergence::Count { cycle, asked: own.len() as u64, reached: reached(own) as u64 }).collect()
}

fn tokens(store: &Store, format: Format, candidates: &[Candidate]) -> Result<token_errors::Arm> {
    let stage: BTreeMap<(u64, u64), Option<Stage>> = candidates.iter().map(|c| ((c.cycle, c.index), c.stage())).collect();
    let mut arm = token_errors::Arm::default();
    let (mut prompts, mut tokens) = (0, 0);
    for row in store.labels()? {
        let Some(&stage) = stage.get(&(row.cycle, row.index)) else { continue };
        arm.tried += 1;
        prompts += row.prompt_tokens;
        tokens += row.valid.len();
        let applied = stage >= Some(Stage::Applied);
        arm.applied += u64::from(applied);
        arm.valid += u64::from(stage >= Some(Stage::Traced));
        if applied || format == Format::Full {
            arm.labels.push(row.valid);
        }
    }
    let tried = arm.tried.max(1) as f64;
    (arm.prompt_tokens, arm.tokens) = (prompts as f64 / tried, tokens as f64 / tried);
    Ok(arm)
}

fn novelty(store: &Store, config: &RunConfig, candidates: &[Candidate]) -> Result<(diversity::Arm, Vec<Comparison>)> {
    let filter = Filter::new(&config.novelty, config.seed);
    let trained: BTreeMap<NetworkId, &NetworkId> =
        candidates.iter().filter(|c| c.stage() == Some(Stage::Trained)).map(|c| (c.id(), &c.parent)).collect();
    let mut seen = BTreeSet::new();
    let (mut valid, mut unique) = (BTreeSet::new(), BTreeSet::new());
    let mut places: BTreeMap<NetworkId, usize> = BTreeMap::new();
    let (mut accepted, mut fingerprints) = (Vec::new(), Vec::new());
    for network in store.networks()? {
        if seen.insert(network.graph_hash.clone()) {
            unique.insert(network.id.clone());
        }
        if let Some(&parent) = trained.get(&network.id) {
            let fingerprint = filter.fingerprint(&network.graph)?;
            accepted.push(Accepted { run: 0, shingles: fingerprint.shingles.clone(), parent: places.get(parent).copied() });
            places.insert(network.id.clone(), fingerprints.len());
            fingerprints.push(fingerprint);
        }
        valid.insert(network.id);
    }
    let count = |own: &[Candidate], among: &BTreeSet<NetworkId>| own.iter().filter(|c| among.contains(&c.id())).count() as u64;
    let cycle_counts = cycles(candidates).map(|(cycle, own)| {
        let log_p: Vec<f64> = own.iter().filter_map(|c| c.log_p).collect();
        let mean_nll = (!log_p.is_empty()).then(|| -mean(&log_p));
        CycleCounts { cycle, asked: own.len() as u64, valid: count(own, &valid), unique: count(own, &unique), mean_nll }
    });
    // Neighbours in the order of training are a sample of pairs that does not depend on how alike they are.
    let comparisons =
        fingerprints.windows(2).map(|pair| Comparison { estimate: pair[0].estimate(&pair[1]), exact: pair[0].jaccard(&pair[1]) }).collect();
    Ok((diversity::Arm { cycles: cycle_counts.collect(), accepted }, comparisons))
}

fn repeated(store: &Store) -> Result<Vec<Vec<f64>>> {
    let trainings = store.trainings()?;
    let groups = trainings.chunk_by(|a, b| a.network == b.network);
    let scores = groups.map(|own| own.iter().filter_map(|t| t.accuracy).collect::<Vec<f64>>());
    Ok(scores.filter(|s| s.len() > 1).collect())
}
