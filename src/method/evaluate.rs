//! A network trained with several seeds and, where it is asked for, tested: each trained network sees the test part once, after its
//! last epoch. Nothing else in the program reads a test part but the check of its files: `eval --test` and studies that `retrain` ask here.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use serde::Serialize;

use crate::base::device::Kernels;
use crate::base::error::{Error, Result};
use crate::base::home;
use crate::config::RunConfig;
use crate::gates::over_training;
use crate::proxy::dataset::{self, Part, Split};
use crate::proxy::network::Network;
use crate::proxy::pool::{Event, Pool};
use crate::proxy::settings::ProxyConfig;
use crate::proxy::worker::{Job, Setup};
use crate::proxy::{Epoch, Failure, Outcome, train};
use crate::theory::Estimate;
use crate::theory::statistics::{few_interval, mean};
use crate::tracer::cost::cost;
use crate::tracer::graph::Graph;

/// What a full training changes in a recipe, as settings: the same, but longer, and however long it takes.
pub const FULL: [&str; 3] = ["proxy.epochs=30", "proxy.max_training_macs=0", "proxy.cpu_seconds=0"];
/// Share of the training part that a full training keeps to validate with.
const FULL_VALID: f64 = 0.1;

/// The images of an evaluation; a full one takes the whole training part.
pub fn split(config: &RunConfig, full: bool) -> Result<Split> {
    let data = dataset::load(&config.proxy.dataset, &home::data(), Part::Train)?;
    if full {
        return Split::whole(&data, config.seed, FULL_VALID);
    }
    config.proxy.draw(&data, config.seed)
}

/// One training of an evaluation.
#[derive(Clone, Debug, Serialize)]
pub struct Trained {
    pub(crate) seed: u64,
    /// What the training came to, by the validation images.
    pub outcome: Outcome,
    /// None where it was not asked for.
    pub test: Option<Tested>,
}

/// What a trained network makes of the test part.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Tested {
    pub(crate) loss: f64,
    /// Share of the images it gets right; where a set's classes are uneven, the mean of that over the classes.
    pub accuracy: f64,
}

/// What is to be trained.
pub struct Evaluation<'a> {
    /// The network.
    pub graph: &'a Graph,
    /// The images it is trained and validated on.
    pub split: &'a Split,
    /// How it is trained.
    pub config: &'a ProxyConfig,
    /// One training each.
    pub seeds: &'a [u64],
    /// Whether each trained network sees the test part.
    pub test: bool,
    /// Where the state dict of the first training goes.
    pub weights: Option<&'a Path>,
}

impl Evaluation<'_> {
    /// Trains with each seed; `on_epoch` sees the seed and the epoch that ends.
    ///
    /// # Errors
    /// A training would take more than its budget, failed or was stopped, or the test part cannot be read.
    pub fn run(&self, stop: &AtomicBool, on_epoch: impl FnMut(u64, &Epoch)) -> Result<Vec<Trained>> {
        if let Some(over) = over_training(&cost(self.graph), self.config, self.split.train.len(), self.split.valid.len()) {
            return Err(Error::input(over.to_string()).hint("--set max_training_macs=0 takes the limit away"));
        }
        // Before hours of training, not after.
        let test = if self.test { Some(dataset::load(&self.config.dataset, &home::data(), Part::Test)?) } else { None };
        let trained = match self.seeds {
            [seed] => vec![self.alone(*seed, on_epoch)?],
            _ => self.side_by_side(stop, on_epoch)?,
        };
        let mut all = Vec::new();
        for (number, (&seed, (outcome, mut network))) in self.seeds.iter().zip(trained).enumerate() {
            let tested = match &test {
                Some(data) => Some(train::evaluate(&mut network, &data.images, &data.format).map_err(|f| failed(seed, &f))?),
                None => None,
            };
            if let (0, Some(path)) = (number, self.weights) {
                network.save(path)?;
            }
            all.push(Trained { seed, outcome, test: tested.map(|(loss, accuracy)| Tested { loss, accuracy }) });
        }
        Ok(all)
    }

    /// One training, in this process with all its threads.
    fn alone(&self, seed: u64, mut on_epoch: impl FnMut(u64, &Epoch)) -> Result<(Outcome, Network)> {
        let trained = train::train(self.graph, self.split, self.config, seed, |epoch| on_epoch(seed, epoch));
        trained.map_err(|failure| failed(seed, &failure))
    }

    /// Several trainings, in worker processes.
    fn side_by_side(&self, stop: &AtomicBool, mut on_epoch: impl FnMut(u64, &Epoch)) -> Result<Vec<(Outcome, Network)>> {
        let folder = tempfile::tempdir()?;
        let images = self.split.scratch()?;
        let pool = Pool::new(Setup { split: images.path().to_owned(), hash: None, config: self.config.clone(), writes: Vec::new() })?;
        let weights = |id: u64| folder.path().join(format!("{id}.safetensors"));
        let job = |(id, &seed): (u64, &u64)| Job { weights: Some(weights(id)), ..Job::new(id, self.graph.clone(), seed) };
        let mut results: Vec<Option<Result<Outcome, Failure>>> = self.seeds.iter().map(|_| None).collect();
        pool.run((0..).zip(self.seeds).map(job).collect(), stop, |event| match event {
            Event::Epoch { id, epoch } => on_epoch(self.seeds[id as usize], &epoch),
            Event::Done { id, result, .. } => results[id as usize] = Some(result),
        })?;
        let mut trained = Vec::new();
        for (id, (&seed, result)) in (0..).zip(self.seeds.iter().zip(results)) {
            let result = result.ok_or_else(|| Error::stopped("stopped before all seeds were trained"))?;
            let outcome = result.map_err(|failure| failed(seed, &failure))?;
            let mut network = Network::new(self.graph, seed, &self.config.device.open()?, Kernels::Own)?;
            network.load(&weights(id))?;
            trained.push((outcome, network));
        }
        Ok(trained)
    }
}

fn failed(seed: u64, failure: &Failure) -> Error {
    Error::input(format!("the training with seed {seed} failed: {failure}"))
}

/// Mean over the seeds, and the interval of it where there are several, as far as there are accuracies.
pub fn summary(accuracies: &[f64]) -> (f64, Option<Estimate>) {
    let within = |end: f64| end.clamp(0.0, 1.0);
    let interval = few_interval(accuracies, 0).map(|i| Estimate { low: within(i.low), high: within(i.high), ..i });
    (mean(accuracies), interval)
}
