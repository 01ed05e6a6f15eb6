//! Trainings of a run done again: the same seed on the same images gives the same curve to the bit, on the same kind of processor.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use rand::seq::IndexedRandom;

use crate::base::error::{Error, Result};
use crate::base::progress::Phase;
use crate::base::{processor, seed};
use crate::config::RunConfig;
use crate::method::check::{Check, Train};
use crate::proxy::dataset::Split;
use crate::proxy::pool::{Event, Pool};
use crate::proxy::settings::ProxyConfig;
use crate::proxy::worker::{Job, Setup};
use crate::proxy::{Failure, Outcome};
use crate::record::{NetworkId, Store, Training, chain};

/// Nobody stops a verification but by ending it.
static GO_ON: AtomicBool = AtomicBool::new(false);

/// How a training came out the second time.
enum Again {
    Same,
    Other {
        why: String,
        /// Between the accuracies; infinite where one of the two has none.
        apart: f64,
    },
    /// It had failed at a limit of the machine, and such a limit is not the same everywhere.
    Limit(String),
}

/// Trains what was asked for again and holds accuracy, curve and estimates against the stored ones.
///
/// # Errors
/// The machine has no worker.
pub(crate) fn trained_again(store: &Store, config: &RunConfig, split: &Split, asked: Train) -> Result<Check> {
    const NAME: &str = "trained again";
    let trainings = store.trainings()?;
    let chosen = choose(&trainings, config, asked, chain::head(store)?.unwrap_or_default().as_str());
    let of_all = format!("of {} trainings", trainings.len());
    if chosen.is_empty() {
        return Ok(Check::not_recomputed(NAME, format!("0 {of_all}: `verify --train K` trains K of them again, --train all does all")));
    }
    let images = split.scratch()?;
    // What went through once does so again, however long it takes here.
    let proxy = ProxyConfig { cpu_seconds: 0, ..config.proxy.clone() };
    let pool = Pool::new(Setup { split: images.path().to_owned(), hash: None, config: proxy, writes: Vec::new() })?;
    let mut jobs = Vec::new();
    for (id, training) in (0..).zip(&chosen) {
        let graph = store.network(&training.network)?.graph;
        // Halving may have ended it early; one that failed went as far as it could.
        let until = if training.failure.is_some() { config.proxy.epochs } else { training.epochs()?.len() };
        jobs.push(Job { until: Some(until), ..Job::new(id, graph, training.seed) });
    }
    let phase = Phase::begin(0, "train again", jobs.len() as u64);
    let mut results: Vec<Option<Result<Outcome, Failure>>> = chosen.iter().map(|_| None).collect();
    pool.run(jobs, &GO_ON, |event| {
        if let Event::Done { id, result, .. } = event {
            phase.step();
            results[id as usize] = Some(result);
        }
    })?;
    drop(phase.finish());
    let here = processor::kind();
    let kinds = chain::processors_of(store)?;
    let (mut same, mut limits, mut other, mut elsewhere) = (0, Vec::new(), Vec::new(), Elsewhere::default());
    for (stored, result) in chosen.iter().zip(results) {
        let result = result.ok_or_else(|| Error::machine(format!("{} was not trained again", stored.network)))?;
        let kind = kinds.get(&stored.network.cycle()).filter(|kind| **kind != here);
        match (compare(stored, result)?, kind) {
            (Again::Same, _) => same += 1,
            (Again::Limit(why), _) => limits.push(why),
            (Again::Other { apart, .. }, Some(kind)) => elsewhere.add(kind, &stored.network, apart),
            (Again::Other { why, .. }, None) => other.push(why),
        }
    }
    let done = format!("{same} {of_all} to the bit");
    if let Some(why) = other.into_iter().next() {
        return Ok(Check::new(NAME, Some(why), String::new()));
    }
    // What comes out otherwise on another kind of processor is no claim against the run.
    let notes: Vec<String> = elsewhere.told(&here).into_iter().chain(limits.into_iter().next()).collect();
    Ok(if notes.is_empty() { Check::new(NAME, None, done) } else { Check::not_recomputed(NAME, format!("{done}; {}", notes.join("; "))) })
}

/// Trainings that another kind of processor did and that come out otherwise here.
#[derive(Default)]
struct Elsewhere {
    kinds: BTreeSet<String>,
    trainings: usize,
    /// The largest difference of an accuracy, infinite where one of the two has none; and whose it is.
    apart: f64,
    whose: String,
}

impl Elsewhere {
    fn add(&mut self, kind: &str, network: &NetworkId, apart: f64) {
        self.kinds.insert(kind.to_owned());
        self.trainings += 1;
        if self.whose.is_empty() || apart > self.apart {
            (self.apart, self.whose) = (apart, network.to_string());
        }
    }

    fn told(&self, here: &str) -> Option<String> {
        let apart = match self.apart {
            apart if apart.is_finite() => format!("accuracies up to {:.2} points apart ({})", 100.0 * apart, self.whose),
            _ => format!("{} failing here or there", self.whose),
        };
        let kinds = || self.kinds.iter().map(String::as_str).collect::<Vec<_>>().join("; ");
        (self.trainings > 0).then(|| {
            format!("{} differ, {apart}: they were trained on another kind of processor ({}; here it is {here})", self.trainings, kinds())
        })
    }
}

/// All, or so many, drawn: which ones hangs on every row by the chain, so that nobody can change others.
fn choose(trainings: &[Training], config: &RunConfig, asked: Train, head: &str) -> Vec<Training> {
    match asked {
        Train::Nothing => Vec::new(),
        Train::All => trainings.to_vec(),
        Train::Some(count) => {
            let mut rng = seed::rng(config.seed, &format!("verify {head}"), &[]);
            trainings.choose_multiple(&mut rng, count).cloned().collect()
        }
    }
}

fn compare(stored: &Training, again: Result<Outcome, Failure>) -> Result<Again> {
    let of = format!("{}, training {}", stored.network, stored.seed_index);
    let (accuracy, curve, estimates, failure) = match again {
        Ok(done) => (Some(done.accuracy), serde_json::to_string(&done.curve)?, Some(serde_json::to_string(&done.estimates)?), None),
        Err(failure) => (None, stored.curve.clone(), None, Some(failure.to_string())),
    };
    let bits = |accuracy: Option<f64>| accuracy.map(f64::to_bits);
    let same =
        bits(accuracy) == bits(stored.accuracy) && (&curve, &estimates, &failure) == (&stored.curve, &stored.estimates, &stored.failure);
    if same {
        return Ok(Again::Same);
    }
    let apart = accuracy.zip(stored.accuracy).map_or(f64::INFINITY, |(here, there)| (here - there).abs());
    let why = match (&stored.failure, failure) {
        (Some(stored), _) if !stored.starts_with(DIVERGED) => {
            return Ok(Again::Limit(format!("{of} had failed ({stored}), and comes out otherwise here")));
        }
        (Some(stored), None) => format!("{of} failed ({stored}), and now it does not"),
        (_, Some(found)) => format!("{of}: {found}"),
        (_, None) if bits(accuracy) != bits(stored.accuracy) => {
            let shown = |accuracy: Option<f64>| accuracy.map_or_else(|| "none".into(), |a| a.to_string());
            format!("{of}: its accuracy is {}, stored is {}", shown(accuracy), shown(stored.accuracy))
        }
        (_, None) => format!("{of}: its curve or its estimates are others"),
    };
    Ok(Again::Other { why, apart })
}

/// How the one failure begins that is the network's alone: see [`Failure::Diverged`].
const DIVERGED: &str = "the loss was no longer a number";

#[cfg(test)]
mod tests {
    use super::*;

    fn training(index: u64) -> Training {
        Training {
            network: NetworkId::Candidate { cycle: 1, index },
            seed_index: 0,
            seed: 0,
            repeat: false,
            accuracy: None,
            curve: "[]".into(),
            failure: Some(Failure::Diverged { step: 3 }.to_string()),
            seconds: 0.0,
            estimates: None,
        }
    }

    #[test]
    fn which_are_drawn_hangs_on_the_chain_and_all_are_all() {
        let all: Vec<Training> = (0..40).map(training).collect();
        let config = RunConfig::default();
        let drawn = |asked, head| choose(&all, &config, asked, head);
        assert_eq!(drawn(Train::Some(5), "a"), drawn(Train::Some(5), "a"));
        assert_ne!(drawn(Train::Some(5), "a"), drawn(Train::Some(5), "b"));
        let lengths = [Train::Nothing, Train::Some(5), Train::Some(99), Train::All].map(|asked| drawn(asked, "a").len());
        assert_eq!(lengths, [0, 5, 40, 40]);
    }

    #[test]
    fn a_failure_of_the_network_has_to_come_again_and_one_at_a_limit_of_the_machine_need_not() {
        let diverged = |step| Err(Failure::Diverged { step });
        assert!(matches!(compare(&training(0), diverged(3)).unwrap(), Again::Same));
        assert!(matches!(compare(&training(0), diverged(4)).unwrap(), Again::Other { .. }));
        let full = Training { failure: Some(Failure::Memory.to_string()), ..training(0) };
        assert!(matches!(compare(&full, Err(Failure::Memory)).unwrap(), Again::Same));
        assert!(matches!(compare(&full, diverged(3)).unwrap(), Again::Limit(_)));
        let went = Training { failure: None, accuracy: Some(0.5), ..training(0) };
        assert!(matches!(compare(&went, Err(Failure::Memory)).unwrap(), Again::Other { .. }));
        assert!(Failure::Diverged { step: 0 }.to_string().starts_with(DIVERGED));
    }

    #[test]
    fn what_another_kind_of_processor_trained_is_told_with_how_far_it_is_apart() {
        let mut elsewhere = Elsewhere::default();
        assert_eq!(elsewhere.told("here"), None);
        let network = |index| NetworkId::Candidate { cycle: 1, index };
        for (kind, index, apart) in [("b", 0, 0.004), ("a", 1, 0.0125), ("b", 2, 0.0)] {
            elsewhere.add(kind, &network(index), apart);
        }
        let told = elsewhere.told("here").unwrap();
        assert!(
            told.starts_with("3 differ, accuracies up to 1.25 points apart (1/1)") && told.contains("(a; b; here it is here)"),
            "{told}"
        );
        elsewhere.add("b", &network(3), f64::INFINITY);
        assert!(elsewhere.told("here").unwrap().contains("1/3 failing here or there"));
    }
}
