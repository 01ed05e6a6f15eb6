//! From the stores of one or several runs to the six claims: what each estimator of [`crate::theory`] wants to know.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::base::error::Result;
use crate::config::{EliteBy, Policy, RunConfig, TuneData};
use crate::decoder::settings::tune::Objective;
use crate::delta::settings::Format;
use crate::gates::Stage;
use crate::record::{Candidate, CycleRow, GateRecord, NetworkId, Store};
use crate::theory::change::conditional_entropy;
use crate::theory::diversity::{Accepted, Comparison, CycleCounts};
use crate::theory::growth::Count;
use crate::theory::improvement::{CycleSamples, Role, Sample};
use crate::theory::reliability::{Pairs, Repeated};
use crate::theory::statistics::mean;
use crate::theory::values::{Cell, Show};
use crate::theory::{Assumption, Panel, ce_update, convergence, diversity, improvement, reliability, token_errors};
use crate::tracer::novelty::Filter;

/// With fewer trainings of a start network its quality is luck.
const KNOWN: usize = 5;
/// Relative difference of log p and log q that is rounding.
const ROUNDING: f64 = 1e-4;

/// What the records of a run, or of runs that differ in their seed only, say to the claims.
#[derive(Clone, Debug)]
pub(crate) struct Evidence {
    pub(crate) tunings: Vec<ce_update::Tuning>,
    /// (cycle, what the gate found and did)
    pub(crate) gates: Vec<(u64, GateRecord)>,
    pub(crate) samples: Vec<CycleSamples>,
    pub(crate) counts: Vec<Count>,
    /// What the claims on quality suppose and the records do not meet.
    pub(crate) broken: Vec<Assumption>,
    pub(crate) format: Format,
    /// The adapter it began with, as the settings name it.
    pub(crate) adapter: String,
    pub(crate) tokens: token_errors::Arm,
    pub(crate) diversity: diversity::Arm,
    pub(crate) comparisons: Vec<Comparison>,
    /// Each network that was trained with several seeds.
    pub(crate) repeated: Vec<Repeated>,
    /// Qualities by the proxy and by full training, of networks drawn at random.
    pub(crate) pairs: Pairs,
    /// The share of the trained that was elite, over the cycles that had elites; None without.
    pub(crate) rho_in_effect: Option<f64>,
    threshold: f64,
    hashes: usize,
    elite_share: f64,
    runs: usize,
}

impl Evidence {
    /// `candidates` are those of the closed cycles.
    pub(crate) fn of(store: &Store, config: &RunConfig, candidates: &[Candidate]) -> Result<Self> {
        let known = known(store, candidates)?;
        let (diversity, comparisons) = novelty(store, config, candidates)?;
        let closed = store.cycles()?;
        let gates = closed.iter().filter_map(|row| Some((row.cycle, row.tuning.as_ref()?.gate.clone()?)));
        let elites = store.elites()?;
        // Elites and all trained, of the cycles that have elites.
        let shares: BTreeMap<u64, (f64, f64)> = cycles(candidates)
            .map(|(cycle, own)| {
                let elite = |c: &Candidate| elites.iter().any(|e| e.cycle == cycle && e.network == c.id());
                let trained = own.iter().filter(|c| c.stage() == Some(Stage::Trained)).count() as f64;
                (cycle, (own.iter().filter(|c| elite(c)).count() as f64, trained))
            })
            .filter(|(_, (elite, _))| *elite > 0.0)
            .collect();
        let total = shares.values().fold((0.0, 0.0), |(a, b), (elite, trained)| (a + elite, b + trained));
        let is_selection = |cycle: u64| shares.get(&cycle).is_none_or(|(elite, trained)| elite < trained);
        let (gamma, trainings) = threshold(store, config)?;
        let own = |c: &Candidate| match (c.log_p, c.log_q) {
            (Some(p), Some(q)) => (p - q).abs() <= ROUNDING * p.abs().max(1.0),
            _ => true,
        };
        let met = [
            (config.policy == Policy::Llm && config.tune.data == TuneData::Elites, Assumption::Updated),
            (!config.novelty.enabled, Assumption::FixedObjective),
            (config.elite.by == EliteBy::Quality, Assumption::ChosenByQuality),
            (candidates.iter().all(own), Assumption::OwnSamples),
            (shares.is_empty() || shares.keys().any(|cycle| is_selection(*cycle)), Assumption::Selection),
            (trainings >= KNOWN, Assumption::KnownThreshold),
            (config.elite.threshold.is_some(), Assumption::FixedThreshold),
        ];
        Ok(Self {
            tunings: tunings(store, config, candidates)?,
            gates: gates.collect(),
            samples: samples(config, &known, candidates, &closed, is_selection),
            counts: counts(gamma, &known, candidates),
            broken: met.into_iter().filter(|(met, _)| !met).map(|(_, assumption)| assumption).collect(),
            format: config.delta.format,
            adapter: config.llm.adapter.clone(),
            tokens: tokens(store, config, candidates)?,
            diversity,
            comparisons,
            repeated: repeated(store, config, candidates)?,
            pairs: pairs(store, &known)?,
            rho_in_effect: (total.1 > 0.0).then(|| total.0 / total.1),
            threshold: config.novelty.threshold,
            hashes: config.novelty.hashes,
            elite_share: config.elite.rho,
            runs: 1,
        })
    }

    /// The evidence of several runs as one. None of no runs. Parents are told apart by the seed of their run.
    pub(crate) fn pool(runs: &[Self]) -> Option<Self> {
        let (first, others) = runs.split_first()?;
        let mut pool = first.clone();
        pool.center();
        for (run, other) in (1..).zip(others) {
            let mut other = other.clone();
            other.center();
            pool.runs += other.runs;
            pool.tunings.extend(other.tunings);
            pool.gates.extend(other.gates);
            for theirs in other.samples {
                match pool.samples.iter_mut().find(|c| c.cycle == theirs.cycle) {
                    Some(own) => {
                        own.samples.extend(theirs.samples);
                        own.updated |= theirs.updated;
                        own.selected |= theirs.selected;
                    }
                    None => pool.samples.push(theirs),
                }
            }
            for theirs in other.counts {
                match pool.counts.iter_mut().find(|c| c.cycle == theirs.cycle) {
                    Some(own) => {
                        (own.asked, own.reached) = (own.asked + theirs.asked, own.reached + theirs.reached);
                        own.groups.extend(theirs.groups);
                    }
                    None => pool.counts.push(theirs),
                }
            }
            for assumption in other.broken {
                if !pool.broken.contains(&assumption) {
                    pool.broken.push(assumption);
                }
            }
            pool.tokens.completions.extend(other.tokens.completions);
            pool.diversity = pool.diversity.with(other.diversity, run);
            pool.comparisons.extend(other.comparisons);
            pool.repeated.extend(other.repeated);
            pool.pairs.proxy.extend(other.pairs.proxy);
            pool.pairs.full.extend(other.pairs.full);
        }
        Some(pool)
    }

    /// A run's level of quality is its own (its data split is), so trainings are taken about their run's mean.
    fn center(&mut self) {
        let about = |scores: Vec<&mut f64>| {
            let shift = scores.iter().map(|score| **score).sum::<f64>() / scores.len().max(1) as f64;
            for score in scores {
                *score -= shift;
            }
        };
        about(self.repeated.iter_mut().flat_map(|network| &mut network.scores).collect());
        about(self.pairs.proxy.iter_mut().collect());
        about(self.pairs.full.iter_mut().collect());
    }

    /// The six panels. `off` is the arm without the novelty filter, `other` one of the other kind of format, where there are such.
    pub(crate) fn panels(&self, off: Option<&Self>, other: Option<&Self>) -> Vec<Panel> {
        let mut improved = improvement::judge(&self.broken, &self.samples).panel();
        improved.numbers.extend(self.gates.iter().flat_map(|(cycle, gate)| gate_numbers(*cycle, gate)));
        let mut updated = ce_update::judge(&self.tunings, true).panel();
        if let Some(rho) = self.rho_in_effect {
            updated.numbers.push(("rho in effect: elites of what was trained".into(), Cell::number(rho, Show::Percent(0))));
            if rho > 1.5 * self.elite_share {
                let _ = write!(
                    updated.sentence,
                    " Of what was trained {:.0}% were elites, where rho of all that was asked for is {}.",
                    100.0 * rho,
                    self.elite_share
                );
            }
        }
        vec![
            updated,
            improved,
            convergence::judge(&self.broken, &self.counts).panel(),
            self.formats(other).panel(),
            self.filter(off).panel(),
            reliability::judge(&self.repeated, &self.pairs, self.elite_share).panel(),
        ]
    }

    /// Claim 4.
    pub(crate) fn formats(&self, other: Option<&Self>) -> token_errors::Outcome {
        let all = [Some(self), other];
        let arm = |full: bool| all.into_iter().flatten().find(|e| (e.format == Format::Full) == full).map(|e| &e.tokens);
        let same_warm_up = other.is_none_or(|other| other.adapter == self.adapter);
        token_errors::judge(arm(false).filter(|a| a.tried() > 0), arm(true).filter(|a| a.tried() > 0), same_warm_up)
    }

    /// Claim 5.
    pub(crate) fn filter(&self, off: Option<&Self>) -> diversity::Outcome {
        diversity::judge(&self.diversity, off.map(|e| &e.diversity), self.threshold, &self.comparisons, self.hashes)
    }
}

/// A network's name among those of other runs.
fn parent_name(config: &RunConfig, parent: &NetworkId) -> String {
    format!("{}:{parent}", config.seed)
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
    let of: BTreeMap<NetworkId, &Candidate> = candidates.iter().map(|c| (c.id(), c)).collect();
    let mut tunings = Vec::new();
    for row in store.cycles()? {
        let Some(tuning) = &row.tuning else { continue };
        let own: Vec<_> = elites.iter().filter(|e| e.cycle == row.cycle).collect();
        let trained: Vec<_> = tuning.manifest(&elites, row.cycle).into_iter().filter(|t| !t.held_out).collect();
        // An example of an earlier cycle was logged under another policy.
        let log_p = |id: &NetworkId| of.get(id).filter(|c| c.cycle == row.cycle).and_then(|c| c.log_p);
        let logged: Option<f64> = trained.iter().map(|e| Some(e.weight * log_p(&e.network)?)).sum();
        let total: f64 = trained.iter().map(|e| e.weight).sum();
        let examples: Vec<_> = trained.iter().map(|e| (of.get(&e.network).map(|c| &c.parent), &e.example_hash, e.weight)).collect();
        tunings.push(ce_update::Tuning {
            cycle: row.cycle,
            summed: config.tune.tuning.objective == Objective::Sum,
            logged: logged.map(|sum| -sum / total),
            loss_before: tuning.before,
            loss_after: tuning.after,
            target: conditional_entropy(&examples),
            held_out: tuning.held_out_before.zip(tuning.held_out_after),
            elites: own.iter().map(|e| e.example_hash.clone()).collect(),
            trained: trained.into_iter().map(|t| t.example_hash).collect(),
        });
    }
    Ok(tunings)
}

/// The cycles of a run that are there, from 1.
fn cycles(candidates: &[Candidate]) -> impl Iterator<Item = (u64, &[Candidate])> {
    candidates.chunk_by(|a, b| a.cycle == b.cycle).map(|own| (own[0].cycle, own))
}

/// The quality that each candidate is known by: its own, or where it repeats a network that was trained, that one's.
fn known(store: &Store, candidates: &[Candidate]) -> Result<BTreeMap<NetworkId, f64>> {
    let mut quality = store.qualities()?;
    let hashes: BTreeMap<NetworkId, String> = store.networks()?.into_iter().map(|n| (n.id, n.graph_hash)).collect();
    let of_graph: BTreeMap<&String, f64> = hashes.iter().filter_map(|(id, hash)| Some((hash, *quality.get(id)?))).collect();
    let repeats: Vec<(NetworkId, f64)> = candidates
        .iter()
        .filter(|c| c.stage() != Some(Stage::Trained))
        .filter_map(|c| Some((c.id(), *of_graph.get(hashes.get(&c.id())?)?)))
        .collect();
    for (id, of_first) in repeats {
        quality.entry(id).or_insert(of_first);
    }
    Ok(quality)
}

/// Networks that were drawn at random and trained in full.
fn pairs(store: &Store, known: &BTreeMap<NetworkId, f64>) -> Result<Pairs> {
    let both = store.full_trainings()?.into_iter().filter_map(|full| Some((*known.get(&full.network)?, full.accuracy?)));
    let (proxy, full) = both.unzip();
    Ok(Pairs { proxy, full, restricted: None })
}

/// What each cycle sampled, for claim 2.
fn samples(
    config: &RunConfig,
    known: &BTreeMap<NetworkId, f64>,
    candidates: &[Candidate],
    closed: &[CycleRow],
    is_selection: impl Fn(u64) -> bool,
) -> Vec<CycleSamples> {
    let of = |cycle: u64, own: &[Candidate]| {
        let tuning = closed.iter().find(|row| row.cycle == cycle).and_then(|row| row.tuning.as_ref());
        let role = |id: &NetworkId| match tuning.and_then(|t| t.manifest.iter().find(|e| e.network == *id)) {
            Some(example) if example.held_out => Role::HeldOut,
            Some(_) => Role::Trained,
            None => Role::Other,
        };
        let change = tuning.and_then(|t| t.change.as_ref());
        let rescored: BTreeMap<&NetworkId, f64> =
            change.map(|change| change.samples.iter().map(|s| (&s.network, s.after)).collect()).unwrap_or_default();
        let sample = |c: &Candidate| Sample {
            parent: parent_name(config, &c.parent),
            quality: known.get(&c.id()).copied(),
            log_q: c.log_q,
            log_p_after: rescored.get(&c.id()).copied(),
            role: role(&c.id()),
        };
        let updated = tuning.is_some_and(|t| !t.is_rolled_back());
        CycleSamples { cycle, samples: own.iter().map(sample).collect(), updated, selected: is_selection(cycle), exact: None }
    };
    cycles(candidates).map(|(cycle, own)| of(cycle, own)).collect()
}

/// gamma*, and how many trainings it rests on: the threshold that the settings fix, which is known as it is, or else the mean quality of
/// the best start network over all its trainings.
fn threshold(store: &Store, config: &RunConfig) -> Result<(f64, usize)> {
    if let Some(threshold) = config.elite.threshold {
        return Ok((threshold, usize::MAX));
    }
    let trainings = store.trainings()?;
    let of_start = |own: &[crate::record::Training]| {
        let scores: Vec<f64> = own.iter().filter_map(|t| t.accuracy).collect();
        (matches!(own[0].network, NetworkId::Start(_)) && !scores.is_empty()).then(|| (mean(&scores), scores.len()))
    };
    let starts = trainings.chunk_by(|a, b| a.network == b.network).filter_map(of_start);
    Ok(starts.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((f64::INFINITY, 0)))
}

fn counts(gamma: f64, known: &BTreeMap<NetworkId, f64>, candidates: &[Candidate]) -> Vec<Count> {
    let reached = |c: &Candidate| known.get(&c.id()).is_some_and(|q| *q >= gamma);
    let of = |(cycle, own): (u64, &[Candidate])| {
        let mut groups: BTreeMap<&NetworkId, (f64, f64)> = BTreeMap::new();
        for c in own {
            let group = groups.entry(&c.parent).or_default();
            (group.0, group.1) = (group.0 + 1.0, group.1 + f64::from(u8::from(reached(c))));
        }
        let reached = own.iter().filter(|c| reached(c)).count();
        Count { groups: groups.into_values().collect(), ..Count::new(cycle, own.len() as u64, reached as u64) }
    };
    cycles(candidates).map(of).collect()
}

fn tokens(store: &Store, config: &RunConfig, candidates: &[Candidate]) -> Result<token_errors::Arm> {
    let of: BTreeMap<(u64, u64), &Candidate> = candidates.iter().map(|c| ((c.cycle, c.index), c)).collect();
    let completion = |row: crate::record::LabelRow| {
        let candidate = of.get(&(row.cycle, row.index))?;
        let stage = candidate.stage();
        Some(token_errors::Completion {
            parent: parent_name(config, &candidate.parent),
            labels: row.valid,
            applied: config.delta.format == Format::Full || stage >= Some(Stage::Applied),
            valid: stage >= Some(Stage::Traced),
            prompt_tokens: row.prompt_tokens,
        })
    };
    Ok(token_errors::Arm { completions: store.labels()?.into_iter().filter_map(completion).collect() })
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
    Ok((diversity::Arm { runs: vec![cycle_counts.collect()], accepted }, comparisons))
}

fn repeated(store: &Store, config: &RunConfig, candidates: &[Candidate]) -> Result<Vec<Repeated>> {
    let parents: BTreeMap<NetworkId, &NetworkId> = candidates.iter().map(|c| (c.id(), &c.parent)).collect();
    let trainings = store.trainings()?;
    let groups = trainings.chunk_by(|a, b| a.network == b.network);
    let networks = groups.map(|own| Repeated {
        // A start network is nobody's child.
        parent: parents.get(&own[0].network).map_or_else(|| format!("{}:", config.seed), |parent| parent_name(config, parent)),
        scores: own.iter().filter_map(|t| t.accuracy).collect(),
    });
    Ok(networks.filter(|network| network.scores.len() > 1).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::EliteSource;
    use crate::method::elite::example_hash;
    use crate::record::{EliteRow, Kind, Screened, TunedOn, Tuning};
    use crate::theory::Verdict;

    fn candidate(cycle: u64, index: u64) -> Candidate {
        let screened = Some(Screened::at(Stage::Trained));
        let log_p = Some(if cycle == 1 { -20.0 } else { -30.0 });
        Candidate { screened, log_p, log_q: log_p, tokens: vec![cycle as u32, index as u32], ..Candidate::new(cycle, index, start(), "") }
    }

    fn start() -> NetworkId {
        NetworkId::Start("plain".into())
    }

    fn elite(cycle: u64, of: &Candidate) -> EliteRow {
        EliteRow { cycle, network: of.id(), quality: 0.5, held_out: false, example_hash: example_hash(of) }
    }

    fn tuned(before: f64, after: f64) -> Tuning {
        Tuning {
            logged: None,
            before,
            after,
            held_out_before: None,
            held_out_after: None,
            steps: vec![],
            examples: 2,
            tokens: 4,
            manifest: vec![],
            gate: None,
            change: None,
        }
    }

    /// A run whose elites are those of all cycles was said to fail claim 1, because the loss over all of them is not the one that was
    /// logged for those of this cycle.
    #[test]
    fn cumulative_elites_are_not_held_against_the_log_of_one_cycle() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(&folder.path().join("run.sqlite"), Kind::Run).unwrap();
        let all: Vec<Candidate> = (1..=2).flat_map(|cycle| (0..4).map(move |index| candidate(cycle, index))).collect();
        for c in &all {
            store.put_candidate(c).unwrap();
        }
        let row = |cycle, tuning| CycleRow { cycle, gamma: Some(0.5), adapter_hash: String::new(), tuning: Some(tuning) };
        store.put_cycle(&CycleRow { cycle: 0, gamma: None, adapter_hash: String::new(), tuning: None }).unwrap();
        store.put_cycle(&row(1, tuned(20.0, 1.5))).unwrap();
        // The two of cycle 1 have become likely, 10 nats, the new one has the 30 it was logged with.
        store.put_cycle(&row(2, tuned(50.0 / 3.0, 1.5))).unwrap();
        for (cycle, of) in [(1, 0), (1, 1), (2, 0), (2, 1), (2, 4)] {
            store.put_elite(&elite(cycle, &all[of])).unwrap();
        }
        let mut config = RunConfig::default();
        config.elite.source = EliteSource::Cumulative;
        config.elite.rho = 0.2;
        let evidence = Evidence::of(&store, &config, &all).unwrap();
        let outcome = ce_update::judge(&evidence.tunings, true);
        assert_eq!(outcome.differences, [(1, 0.0)], "{}", outcome.sentence);
        assert_ne!(outcome.finding.verdict, Verdict::Fails, "{}", outcome.sentence);
        // H(e|a) of two and of three distinct deltas on one parent.
        let targets: Vec<f64> = evidence.tunings.iter().map(|t| t.target).collect();
        assert!((targets[0] - 2f64.ln()).abs() < 1e-12 && (targets[1] - 3f64.ln()).abs() < 1e-12, "{targets:?}");
        // Three of the eight were elites, two of them of both cycles.
        assert_eq!(evidence.rho_in_effect, Some(3.0 / 8.0));
        let panels = evidence.panels(None, None);
        assert!(panels[0].sentence.contains("38% were elites"), "{}", panels[0].sentence);
        assert_eq!(panels[1].finding.broken, Some(Assumption::FixedObjective), "the default run has a novelty filter");
        assert_eq!(panels[2].finding.broken, Some(Assumption::FixedObjective));
        // Without it they are about the quality, by which no gain and no rank chooses.
        config.novelty.enabled = false;
        for (by, is_met) in [(EliteBy::Quality, true), (EliteBy::Gain, false), (EliteBy::RankWithinParent, false)] {
            config.elite.by = by;
            let panels = Evidence::of(&store, &config, &all).unwrap().panels(None, None);
            for panel in &panels[1..3] {
                assert_eq!(panel.finding.broken != Some(Assumption::ChosenByQuality), is_met, "{by:?}: {}", panel.sentence);
            }
            assert_ne!(panels[0].finding.broken, Some(Assumption::ChosenByQuality), "claim 1 is of any elites");
        }
    }

    /// The loss of weighted elites was held against the plain mean of their logged ones, and claim 1 failed.
    #[test]
    fn weights_of_elites_are_those_of_their_loss() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(&folder.path().join("run.sqlite"), Kind::Run).unwrap();
        let mut all: Vec<Candidate> = (0..2).map(|index| candidate(1, index)).collect();
        (all[1].log_p, all[1].log_q) = (Some(-40.0), Some(-40.0));
        let weights = [0.75, 0.25];
        let example = |(c, weight): (&Candidate, f64)| {
            store.put_candidate(c).unwrap();
            TunedOn { network: c.id(), held_out: false, example_hash: example_hash(c), weight }
        };
        let manifest = all.iter().zip(weights).map(example).collect();
        let tuning = Some(Tuning { manifest, ..tuned(0.75 * 20.0 + 0.25 * 40.0, 1.0) });
        store.put_cycle(&CycleRow { cycle: 0, gamma: None, adapter_hash: String::new(), tuning: None }).unwrap();
        store.put_cycle(&CycleRow { cycle: 1, gamma: Some(0.5), adapter_hash: String::new(), tuning }).unwrap();
        for c in &all {
            store.put_elite(&elite(1, c)).unwrap();
        }
        let tuning = &tunings(&store, &RunConfig::default(), &all).unwrap()[0];
        assert_eq!(tuning.logged, Some(tuning.loss_before));
        let entropy = -weights.iter().map(|w: &f64| w * w.ln()).sum::<f64>();
        assert!((tuning.target - entropy).abs() < 1e-12, "{}", tuning.target);
    }
}
