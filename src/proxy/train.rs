//! The recipe: seeded, the same for every candidate; nothing in it depends on threads or on the load of the machine, but
//! the deadline, which fails a training and never changes one.

use std::time::{Duration, Instant};

use candle_core::{Device, Tensor};
use rand::seq::SliceRandom;

use super::augment::{self, Normal};
use super::dataset::{Format, Images, Split};
use super::network::{Kernels, Mode, Network};
use super::ops::loss::{Loss, cross_entropy};
use super::optimizer::Optimizer;
use super::{Epoch, Failure, Outcome, estimate, schedule};
use crate::allocator;
use crate::config::ProxyConfig;
use crate::network::graph::Graph;
use crate::seed;

/// Images evaluated at once.
const EVALUATION_BATCH: usize = 100;

/// Trains `graph` from fresh parameters; `on_epoch` sees each epoch as it ends.
///
/// # Errors
/// The loss is no longer a number, the deadline has passed, or an operation failed.
pub fn train(
    graph: &Graph,
    split: &Split,
    config: &ProxyConfig,
    seed: u64,
    deadline: Duration,
    mut on_epoch: impl FnMut(&Epoch),
) -> Result<(Outcome, Network), Failure> {
    let start = Instant::now();
    let _kept = allocator::keep();
    let device = config.device.open().map_err(|error| Failure::Crash { message: error.to_string() })?;
    let normal = Normal::new(&split.format);
    let estimates = estimate::estimate(graph, split, seed)?;
    let mut network = Network::new(graph, seed, &device, Kernels::Own)?;
    let mut optimizer = Optimizer::new(config, graph.tensors.len());
    let batch = config.batch.min(split.train.len()).max(1);
    let steps = split.train.len() / batch;
    let total = steps * config.epochs;
    let mut order: Vec<u32> = (0..split.train.len() as u32).collect();
    let mut curve = Vec::new();
    let mut training = Duration::ZERO;
    for epoch in 0..config.epochs {
        let epoch_start = Instant::now();
        order.shuffle(&mut seed::rng(seed, "order", &[epoch as u64]));
        let (mut loss_sum, mut correct) = (0f64, 0);
        for (i, indices) in order.chunks_exact(batch).enumerate() {
            let step = epoch * steps + i;
            if start.elapsed() > deadline {
                return Err(Failure::Deadline { seconds: deadline.as_secs_f64() });
            }
            let pixels = if config.augment {
                augment::varied(&split.train, indices, &split.format, &normal, &mut seed::rng(seed, "augment", &[step as u64]))
            } else {
                augment::plain(&split.train, indices, &split.format, &normal)
            };
            let images = to_tensor(pixels, indices.len(), &split.format, &device)?;
            let labels: Vec<u8> = indices.iter().map(|&index| split.train.labels[index as usize]).collect();
            let dropout = seed::derive(seed, "step", &[step as u64]);
            let rate = schedule::rate(config.lr, step, total, steps);
            let batch = Batch { images, labels: &labels, classes: split.format.classes };
            let (loss, norm) = self::step(&mut network, &mut optimizer, &batch, config.label_smoothing, dropout, rate)?;
            if !norm.is_finite() {
                return Err(Failure::Diverged { step });
            }
            loss_sum += loss.value;
            correct += loss.correct;
        }
        training += epoch_start.elapsed();
        let left = deadline.saturating_sub(start.elapsed());
        let Some((valid_loss, valid_accuracy)) = evaluate(&mut network, &split.valid, &split.format, left)? else {
            return Err(Failure::Deadline { seconds: deadline.as_secs_f64() });
        };
        if !valid_loss.is_finite() {
            return Err(Failure::Diverged { step: (epoch + 1) * steps });
        }
        let done = Epoch {
            epoch: epoch + 1,
            train_loss: loss_sum / steps as f64,
            train_accuracy: correct as f64 / (steps * batch) as f64,
            valid_loss,
            valid_accuracy,
        };
        on_epoch(&done);
        curve.push(done);
    }
    let last = curve.last().ok_or_else(|| Failure::Crash { message: "no epochs were asked for".into() })?;
    let outcome = Outcome {
        accuracy: last.valid_accuracy,
        valid_loss: last.valid_loss,
        images_per_second: (total * batch) as f64 / training.as_secs_f64(),
        seconds: start.elapsed().as_secs_f64(),
        curve,
        estimates,
    };
    Ok((outcome, network))
}

/// What one step learns from.
pub struct Batch<'a> {
    /// n, c, h, w; normalised.
    pub images: Tensor,
    pub labels: &'a [u8],
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

/// Mean loss (no smoothing) and accuracy; `None` where `deadline` passes first.
///
/// # Errors
/// An operation failed.
pub fn evaluate(network: &mut Network, images: &Images, format: &Format, deadline: Duration) -> Result<Option<(f64, f64)>, Failure> {
    let start = Instant::now();
    let normal = Normal::new(format);
    let indices: Vec<u32> = (0..images.len() as u32).collect();
    let (mut loss_sum, mut correct) = (0f64, 0);
    for indices in indices.chunks(EVALUATION_BATCH) {
        if start.elapsed() > deadline {
            return Ok(None);
        }
        let batch = to_tensor(augment::plain(images, indices, format, &normal), indices.len(), format, network.device())?;
        let labels: Vec<u8> = indices.iter().map(|&index| images.labels[index as usize]).collect();
        let loss = classify(&network.evaluate(&batch)?, &labels, format.classes, 0.0)?;
        loss_sum += loss.value * indices.len() as f64;
        correct += loss.correct;
    }
    let count = images.len() as f64;
    Ok(Some((loss_sum / count, correct as f64 / count)))
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
