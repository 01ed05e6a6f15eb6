//! SGD with momentum and `AdamW`, as `PyTorch` defines them, and clipping by the global norm.
//!
//! SGD: `g += decay * p; m = momentum * m + g` (m = g at first); `p -= lr * m`.
//! `AdamW`: `p *= 1 - lr * decay; m = .9 m + .1 g; v = .999 v + .001 g^2; p -= lr * m' / (sqrt(v') + 1e-8)` with corrected m', v'.

use candle_core::{DType, Result, Tensor};

use super::network::Network;
use super::ops::arithmetic::is_flat;
use super::ops::sgd;
use crate::proxy::settings::{Optimizer as Kind, ProxyConfig};

const BETAS: [f64; 2] = [0.9, 0.999];
const EPS: f64 = 1e-8;

/// The state that the optimiser keeps of each tensor.
pub struct Optimizer {
    kind: Kind,
    momentum: f64,
    weight_decay: f64,
    clip: f64,
    step: i32,
    first: Vec<Option<Tensor>>,
    second: Vec<Option<Tensor>>,
}

impl Optimizer {
    /// Of a network with so many tensors, at its first step.
    pub fn new(config: &ProxyConfig, tensors: usize) -> Self {
        Self {
            kind: config.optimizer,
            momentum: config.momentum,
            weight_decay: config.weight_decay,
            clip: config.clip,
            step: 0,
            first: vec![None; tensors],
            second: vec![None; tensors],
        }
    }

    /// Steps made, and what is kept of each tensor: with them and [`Optimizer::set_state`] a training can go on elsewhere.
    pub(crate) fn state(&self) -> (i32, [&[Option<Tensor>]; 2]) {
        (self.step, [&self.first, &self.second])
    }

    pub(crate) fn set_state(&mut self, step: i32, [first, second]: [Vec<Option<Tensor>>; 2]) {
        (self.step, self.first, self.second) = (step, first, second);
    }

    /// Moves the trained tensors; gives the norm of the gradients before clipping.
    pub fn step(&mut self, network: &mut Network, gradients: &[Option<Tensor>], lr: f64) -> Result<f64> {
        self.step += 1;
        let norm = norm(gradients)?;
        let scale = if self.clip > 0.0 { (self.clip / (norm + 1e-6)).min(1.0) } else { 1.0 };
        for (index, gradient) in gradients.iter().enumerate() {
            let Some(gradient) = gradient else { continue };
            let weight = network.tensors()[index].clone();
            if self.kind == Kind::Sgd && is_flat(gradient) && is_flat(&weight) {
                let (decay, momentum) = (self.weight_decay as f32, self.momentum as f32);
                let factors = sgd::Factors { scale: scale as f32, decay, momentum, lr: lr as f32 };
                let old = self.first[index].take().filter(|_| momentum != 0.0);
                let (direction, moved) = sgd::step(&weight, gradient, old.as_ref(), factors)?;
                self.first[index] = Some(direction);
                network.set(index, moved)?;
                continue;
            }
            let gradient = if scale < 1.0 { gradient.affine(scale, 0.0)? } else { gradient.clone() };
            let moved = match self.kind {
                Kind::Sgd => self.sgd(index, &weight, gradient, lr)?,
                Kind::Adamw => self.adamw(index, &weight, &gradient, lr)?,
            };
            network.set(index, moved)?;
        }
        Ok(norm)
    }

    fn sgd(&mut self, index: usize, weight: &Tensor, gradient: Tensor, lr: f64) -> Result<Tensor> {
        let gradient = if self.weight_decay == 0.0 { gradient } else { (gradient + weight.affine(self.weight_decay, 0.0)?)? };
        let direction = match self.first[index].take() {
            Some(old) if self.momentum != 0.0 => (old.affine(self.momentum, 0.0)? + gradient)?,
            _ => gradient,
        };
        let moved = (weight - direction.affine(lr, 0.0)?)?;
        self.first[index] = Some(direction);
        Ok(moved)
    }

    fn adamw(&mut self, index: usize, weight: &Tensor, gradient: &Tensor, lr: f64) -> Result<Tensor> {
        let blend = |old: Option<Tensor>, new: Tensor, beta: f64| -> Result<Tensor> {
            let share = new.affine(1.0 - beta, 0.0)?;
            match old {
                Some(old) => old.affine(beta, 0.0)? + share,
                None => Ok(share),
            }
        };
        let m = blend(self.first[index].take(), gradient.clone(), BETAS[0])?;
        let v = blend(self.second[index].take(), gradient.sqr()?, BETAS[1])?;
        let [first, second] = BETAS.map(|beta| 1.0 - beta.powi(self.step));
        let denominator = v.sqrt()?.affine(1.0 / second.sqrt(), EPS)?;
        let moved = (weight.affine(1.0 - lr * self.weight_decay, 0.0)? - (&m / denominator)?.affine(lr / first, 0.0)?)?;
        (self.first[index], self.second[index]) = (Some(m), Some(v));
        Ok(moved)
    }
}

fn norm(gradients: &[Option<Tensor>]) -> Result<f64> {
    let (mut total, mut elsewhere) = (0f64, Vec::new());
    for gradient in gradients.iter().flatten() {
        if is_flat(gradient) {
            total += sgd::squares(gradient)?;
        } else if gradient.device().is_cpu() {
            total += gradient.sqr()?.sum_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
        } else {
            elsewhere.push(gradient.sqr()?.sum_all()?);
        }
    }
    // One number is fetched from a card, not one a tensor.
    if !elsewhere.is_empty() {
        total += f64::from(Tensor::stack(&elsewhere, 0)?.sum_all()?.to_scalar::<f32>()?);
    }
    Ok(total.sqrt())
}
