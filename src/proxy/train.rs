//! The recipe: seeded, the same for every candidate; nothing in it depends on threads, on the load of the machine or on a clock.

use std::time::Instant;

use candle_core::{Device, Tensor};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::augment::{self, Normal};
use super::dataset::{Format, Images, Split};
use super::estimate::Estimates;
use super::network::{Mode, Network};
use super::ops::loss::{Loss, cross_entropy};
use super::optimizer::Optimizer;
use super::{Epoch, Failure, Outcome, allocator, estimate, schedule};
use crate::base::device::Kernels;
use crate::base::seed;
use crate::proxy::settings::ProxyConfig;
use crate::tracer::graph::Graph;

/// Images evaluated at once.
const EVALUATION_BATCH: usize = 100;

/// Trains `graph` from fresh parameters through all epochs of the recipe; `on_epoch` sees each epoch as it ends.
///
/// # Errors
/// The loss is no longer a number, or an operation failed.
pub fn train(
    graph: &Graph,
    split: &Split,
    config: &ProxyConfig,
    seed: u64,
    on_epoch: impl FnMut(&Epoch),
) -> Result<(Outcome, Network), Failure> {
    let mut training = Training::start(graph, split, config, seed)?;
    training.until(config.epochs, on_epoch)?;
    Ok((training.outcome()?, training.network))
}

/// A training between two epochs.
pub(crate) struct Training<'a> {
    split: &'a Split,
    config: &'a ProxyConfig,
    seed: u64,
    normal: Normal,
    /// Of the images; each epoch shuffles the order of the one before.
    order: Vec<u32>,
    pub network: Network,
    pub(super) optimizer: Optimizer,
    pub(super) log: Log,
}

/// What a training has to tell so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Log {
    pub(crate) curve: Vec<Epoch>,
    pub(crate) estimates: Estimates,
    /// All of it, and the steps alone.
    pub(crate) seconds: f64,
    pub(crate) step_seconds: f64,
}

impl<'a> Training<'a> {
    /// Fresh parameters, nothing trained.
    ///
    /// # Errors
    /// An operation failed.
    pub(crate) fn start(graph: &Graph, split: &'a Split, config: &'a ProxyConfig, seed: u64) -> Result<Self, Failure> {
        let start = Instant::now();
        let _kept = allocator::keep();
        let estimates = estimate::estimate(graph, split, seed)?;
        let device = config.device.open().map_err(|error| Failure::Crash { message: error.to_string() })?;
        let network = Network::new(graph, seed, &device, Kernels::Own)?;
        let optimizer = Optimizer::new(config, graph.tensors.len());
        let log = Log { curve: Vec::new(), estimates, seconds: start.elapsed().as_secs_f64(), step_seconds: 0.0 };
        Ok(Self::at(split, config, seed, network, optimizer, log))
    }

    /// After the epochs that `log` tells of.
    pub(super) fn at(split: &'a Split, config: &'a ProxyConfig, seed: u64, network: Network, optimizer: Optimizer, log: Log) -> Self {
        let mut order: Vec<u32> = (0..split.train.len() as u32).collect();
        for epoch in 0..log.curve.len() {
            order.shuffle(&mut seed::rng(seed, "order", &[epoch as u64]));
        }
        Self { split, config, seed, normal: Normal::new(&split.format), order, network, optimizer, log }
    }

    /// Epochs that are done.
    pub(crate) fn epochs(&self) -> usize {
        self.log.curve.len()
    }

    /// Goes on until `epochs` are done.
    ///
    /// # Errors
    /// See [`train`].
    pub(crate) fn until(&mut self, epochs: usize, mut on_epoch: impl FnMut(&Epoch)) -> Result<(), Failure> {
        let _kept = allocator::keep();
        while self.epochs() < epochs {
            let start = Instant::now();
            let done = self.epoch()?;
            self.log.step_seconds += start.elapsed().as_secs_f64();
            let (valid_loss, valid_accuracy) = evaluate(&mut self.network, &self.split.valid, &self.split.format)?;
            if !valid_loss.is_finite() {
                return Err(Failure::Diverged { step: (self.epochs() + 1) * self.steps() });
            }
            self.log.curve.push(Epoch { valid_loss, valid_accuracy, ..done });
            self.log.seconds += start.elapsed().as_secs_f64();
            on_epoch(&self.log.curve[self.epochs() - 1]);
        }
        Ok(())
    }

    fn batch(&self) -> usize {
        self.config.batch.min(self.split.train.len()).max(1)
    }

    /// Steps of an epoch.
    fn steps(&self) -> usize {
        self.split.train.len() / self.batch()
    }

    /// The steps of one epoch; nothing of it is validated yet.
    fn epoch(&mut self) -> Result<Epoch, Failure> {
        let (split, config, seed) = (self.split, self.config, self.seed);
        let (epoch, batch, steps) = (self.epochs(), self.batch(), self.steps());
        self.order.shuffle(&mut seed::rng(seed, "order", &[epoch as u64]));
        let (mut loss_sum, mut correct) = (0f64, 0);
        for (i, indices) in self.order.chunks_exact(batch).enumerate() {
            let step = epoch * steps + i;
            let pixels = if config.augment {
                augment::varied(&split.train, indices, &split.format, &self.normal, &mut seed::rng(seed, "augment", &[step as u64]))
            } else {
                augment::plain(&split.train, indices, &split.format, &self.normal)
            };
            let images = to_tensor(pixels, indices.len(), &split.format, self.network.device())?;
            let labels: Vec<u8> = indices.iter().map(|&index| split.train.labels[index as usize]).collect();
            let dropout = seed::derive(seed, "step", &[step as u64]);
            let rate = schedule::rate(config.lr, step, steps * config.epochs, steps);
            let batch = Batch { images, labels: &labels, classes: split.format.classes };
            let (loss, norm) =
                crate::proxy::train::step(&mut self.network, &mut self.optimizer, &batch, config.label_smoothing, dropout, rate)?;
            if !norm.is_finite() {
                return Err(Failure::Diverged { step });
            }
            loss_sum += loss.value;
            correct += loss.correct;
        }
        Ok(Epoch {
            epoch: epoch + 1,
            train_loss: loss_sum / steps as f64,
            train_accuracy: correct as f64 / (steps * batch) as f64,
            valid_loss: f64::NAN,
            valid_accuracy: f64::NAN,
        })
    }

    /// What came of it so far.
    ///
    /// # Errors
    /// No epoch is done.
    pub(crate) fn outcome(&self) -> Result<Outcome, Failure> {
        let Log { curve, estimates, seconds, step_seconds } = self.log.clone();
        let last = curve.last().ok_or_else(|| Failure::Crash { message: "no epochs were asked for".into() })?;
        Ok(Outcome {
            accuracy: last.valid_accuracy,
            valid_loss: last.valid_loss,
            images_per_second: (curve.len() * self.steps() * self.batch()) as f64 / step_seconds,
            seconds,
            curve,
            estimates,
        })
    }
}

/// What one step learns from.
pub struct Batch<'a> {
    /// n, c, h, w; normalised.
    pub images: Tensor,
    /// The class of each image, from 0.
    pub labels: &'a [u8],
    /// How many outputs the network has to have.
    pub classes: usize,
}

/// One step: forward, loss, backward, optimiser. Gives the loss and the norm of the gradients; where either is not finite, the
/// training has diverged (and no step was made for a loss that is not).
///
/// # Errors
/// The network has another number of outputs, or an operation failed.
pub fn step(
    network: &mut Network,
    optimizer: &mut Optimizer,
    batch: &Batch,
    smoothing: f64,
    dropout: u64,
    rate: f64,
) -> Result<(Loss, f64), Failure> {
    let pass = network.forward(&batch.images, Mode::Train { dropout })?;
    let loss = classify(&pass.output, batch.labels, batch.classes, smoothing)?;
    if !loss.value.is_finite() {
        return Ok((loss, f64::NAN));
    }
    let gradients = network.backward(pass, loss.gradient.clone())?;
    let norm = optimizer.step(network, &gradients, rate)?;
    Ok((loss, norm))
}

/// Mean loss (no smoothing) and accuracy; of a set of uneven classes the mean of their accuracies.
///
/// # Errors
/// An operation failed.
pub fn evaluate(network: &mut Network, images: &Images, format: &Format) -> Result<(f64, f64), Failure> {
    let normal = Normal::new(format);
    let indices: Vec<u32> = (0..images.len() as u32).collect();
    let (mut loss_sum, mut correct) = (0f64, 0);
    let mut hits = vec![0; format.classes];
    for indices in indices.chunks(EVALUATION_BATCH) {
        let batch = to_tensor(augment::plain(images, indices, format, &normal), indices.len(), format, network.device())?;
        let labels: Vec<u8> = indices.iter().map(|&index| images.labels[index as usize]).collect();
        let logits = network.evaluate(&batch)?;
        let loss = classify(&logits, &labels, format.classes, 0.0)?;
        if format.uneven {
            for (row, label) in logits.to_vec2::<f32>()?.iter().zip(labels.iter().map(|&label| usize::from(label))) {
                let best = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                hits[label] += usize::from(row.iter().position(|&v| v == best) == Some(label));
            }
        }
        loss_sum += loss.value * indices.len() as f64;
        correct += loss.correct;
    }
    let count = images.len() as f64;
    if format.uneven {
        let counts = images.counts(format.classes);
        let shares: Vec<f64> =
            hits.iter().zip(&counts).filter(|(_, n)| **n > 0).map(|(hit, n)| f64::from(*hit as u32) / *n as f64).collect();
        return Ok((loss_sum / count, shares.iter().sum::<f64>() / shares.len() as f64));
    }
    Ok((loss_sum / count, correct as f64 / count))
}

fn to_tensor(pixels: Vec<f32>, count: usize, format: &Format, device: &Device) -> Result<Tensor, Failure> {
    let [channels, height, width] = format.shape;
    Ok(Tensor::from_vec(pixels, (count, channels, height, width), device)?)
}

fn classify(logits: &Tensor, labels: &[u8], classes: usize, smoothing: f64) -> Result<Loss, Failure> {
    if logits.dims() != [labels.len(), classes] {
        return Err(Failure::Unsupported { op: format!("an output of shape {:?} for {classes} classes", logits.dims()) });
    }
    Ok(cross_entropy(logits, labels, smoothing)?)
}
