//! How fast this machine trains what a run begins with, measured, and what follows for the length of a cycle.

use std::sync::atomic::AtomicBool;

use crate::base::error::{Error, Result};
use crate::base::home;
use crate::config::RunConfig;
use crate::method::{limits, starts};
use crate::proxy::dataset::{self, Part};
use crate::proxy::pool::{Event, Pool};
use crate::proxy::settings::ProxyConfig;
use crate::proxy::worker::{Job, Setup};
use crate::theory::statistics::mean;
use crate::tracer::novelty::Filter;

/// Images of a measurement; more of them change little of the rate.
const IMAGES: [usize; 2] = [1024, 256];
/// A validation image passes forward only.
const FORWARD: f64 = 1.0 / 3.0;

/// What was measured.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Of each start network: its name, its parameters, and the training images that one worker takes in a second while all are at work.
    pub networks: Vec<(String, usize, f64)>,
    /// Seconds of one training by the recipe, in the mean over the start networks.
    pub training: f64,
    /// Seconds of a cycle's trainings, were every candidate trained. What the LLM takes comes on top.
    pub cycle: f64,
}

/// Trains each start network for an epoch of few images, in as many workers as a run has.
///
/// # Errors
/// The data set or a start network is one that a run would refuse, or a training fails.
pub fn measure(config: &RunConfig) -> Result<Pace> {
    let data = dataset::load(&config.proxy.dataset, &home::data(), Part::Train)?;
    let networks = starts::trace(
        &starts::sources(config, &data.format)?,
        &limits::gates(config, &data.format),
        &mut Filter::new(&config.novelty, config.seed),
    )?;
    let few = |wanted: usize, most: usize| (wanted.min(most) / data.format.classes).max(1) * data.format.classes;
    let recipe = ProxyConfig {
        train_images: few(config.proxy.train_images, IMAGES[0].max(config.proxy.batch)),
        valid_images: few(config.proxy.valid_images, IMAGES[1]),
        epochs: 1,
        ..config.proxy.clone()
    };
    let images = recipe.draw(&data, config.seed)?.scratch()?;
    let pool = Pool::new(Setup { split: images.path().to_owned(), hash: None, config: recipe, writes: Vec::new() })?;
    // Workers slow each other down, so each of them has something to do.
    let jobs = networks.iter().cycle().take(networks.len().max(config.proxy.workers)).zip(0..);
    let jobs: Vec<Job> = jobs.map(|(network, id)| Job::new(id, network.graph.clone(), 0)).collect();
    let mut rates: Vec<Option<f64>> = vec![None; jobs.len()];
    let mut failure = None;
    pool.run(jobs, &AtomicBool::new(false), |event| match event {
        Event::Done { id, result: Ok(outcome), .. } => rates[id as usize] = Some(outcome.images_per_second),
        Event::Done { id, result: Err(why), .. } => failure = Some((networks[id as usize % networks.len()].id.clone(), why)),
        Event::Epoch { .. } => {}
    })?;
    if let Some((network, why)) = failure {
        return Err(Error::input(format!("{network} cannot be trained: {why}")));
    }
    let rates: Vec<f64> = rates.into_iter().flatten().collect();
    let proxy = &config.proxy;
    let images = proxy.epochs as f64 * (proxy.train_images as f64 + FORWARD * proxy.valid_images as f64);
    let training = mean(&rates.iter().map(|rate| images / rate).collect::<Vec<_>>());
    // The last of them leaves the other workers idle for half a training in the mean.
    let trainings = config.candidates as f64 * proxy.seeds as f64 / proxy.workers as f64;
    let names = networks.iter().zip(&rates).map(|(network, rate)| (network.id.to_string(), network.graph.parameters(), *rate));
    Ok(Pace { networks: names.collect(), training, cycle: training * (trainings + 0.5) })
}
