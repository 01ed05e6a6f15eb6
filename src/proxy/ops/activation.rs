//! Elementwise activations and their derivatives, in the conventions of `PyTorch` (`ReLU` has derivative 0 at 0).

use candle_core::{Result, Tensor};

use super::{tensor, wide, with, zip_map};
use crate::tracer::graph::Activation;

pub(crate) fn forward(x: &Tensor, kind: Activation) -> Result<Tensor> {
    tensor(with(x, |x| zip_map([x], |[x], y| values(x, kind, y)))?, x.dims())
}

/// dx for the gradient of y = f(x).
pub(crate) fn backward(x: &Tensor, kind: Activation, gradient: &Tensor) -> Result<Tensor> {
    tensor(with(x, |x| with(gradient, |dy| zip_map([x, dy], |[x, dy], dx| gradients(x, dy, kind, dx))))??, x.dims())
}

#[inline(always)]
#[allow(clippy::inline_always)]
fn map(x: &[f32], y: &mut [f32], f: impl Fn(f32) -> f32) {
    x.iter().zip(y).for_each(|(&x, y)| *y = f(x));
}

#[inline(always)]
#[allow(clippy::inline_always)]
fn chain(x: &[f32], dy: &[f32], dx: &mut [f32], derivative: impl Fn(f32) -> f32) {
    x.iter().zip(dy).zip(dx).for_each(|((&x, dy), dx)| *dx = derivative(x) * dy);
}

wide! {
    fn values(x: &[f32], kind: Activation, y: &mut [f32]) {
        match kind {
            Activation::Relu => map(x, y, |x| if x < 0.0 { 0.0 } else { x }),
            Activation::Relu6 => map(x, y, |x| x.clamp(0.0, 6.0)),
            Activation::LeakyRelu { slope } => map(x, y, |x| if x > 0.0 { x } else { x * slope as f32 }),
            Activation::Elu { alpha } => map(x, y, |x| if x > 0.0 { x } else { alpha as f32 * exp_m1(x) }),
            Activation::Gelu => map(x, y, |x| x * normal_cdf(x)),
            Activation::GeluTanh => map(x, y, |x| 0.5 * x * (1.0 + tanh(gelu_inner(x)))),
            Activation::Silu => map(x, y, |x| x * sigmoid(x)),
            Activation::Mish => map(x, y, |x| x * mish_gate(x)),
            Activation::Softplus => map(x, y, |x| if x > 20.0 { x } else { x.exp().ln_1p() }),
            Activation::Hardswish => map(x, y, |x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0),
            Activation::Hardsigmoid => map(x, y, |x| (x + 3.0).clamp(0.0, 6.0) / 6.0),
            Activation::Sigmoid => map(x, y, sigmoid),
            Activation::Tanh => map(x, y, tanh),
        }
    }
}

wide! {
    fn gradients(x: &[f32], dy: &[f32], kind: Activation, dx: &mut [f32]) {
        match kind {
            Activation::Relu => chain(x, dy, dx, |x| if x > 0.0 { 1.0 } else { 0.0 }),
            Activation::Relu6 => chain(x, dy, dx, |x| if x > 0.0 && x < 6.0 { 1.0 } else { 0.0 }),
            Activation::LeakyRelu { slope } => chain(x, dy, dx, |x| if x > 0.0 { 1.0 } else { slope as f32 }),
            Activation::Elu { alpha } => chain(x, dy, dx, |x| if x > 0.0 { 1.0 } else { alpha as f32 * exp(x) }),
            Activation::Gelu => chain(x, dy, dx, |x| normal_cdf(x) + x * 0.398_942_3 * exp(-0.5 * x * x)),
            Activation::GeluTanh => chain(x, dy, dx, |x| {
                let t = tanh(gelu_inner(x));
                let inner = GELU * (1.0 + 3.0 * 0.044_715 * x * x);
                0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * inner
            }),
            Activation::Silu => chain(x, dy, dx, |x| {
                let s = sigmoid(x);
                s * (1.0 + x * (1.0 - s))
            }),
            Activation::Mish => chain(x, dy, dx, |x| {
                let t = mish_gate(x);
                t + x * sigmoid(x) * (1.0 - t * t)
            }),
            Activation::Softplus => chain(x, dy, dx, |x| if x > 20.0 { 1.0 } else { sigmoid(x) }),
            Activation::Hardswish => chain(x, dy, dx, |x| if x <= -3.0 { 0.0 } else if x < 3.0 { x / 3.0 + 0.5 } else { 1.0 }),
            Activation::Hardsigmoid => chain(x, dy, dx, |x| if x > -3.0 && x < 3.0 { 1.0 / 6.0 } else { 0.0 }),
            Activation::Sigmoid => chain(x, dy, dx, |x| {
                let s = sigmoid(x);
                s * (1.0 - s)
            }),
            Activation::Tanh => chain(x, dy, dx, |x| {
                let t = tanh(x);
                1.0 - t * t
            }),
        }
    }
}

/// sqrt(2 / pi).
const GELU: f32 = 0.797_884_6;

#[inline(always)]
#[allow(clippy::inline_always)]
fn gelu_inner(x: f32) -> f32 {
    GELU * (x + 0.044_715 * x * x * x)
}

/// e^x without a branch, so that loops over it vectorise: 2^n times a polynomial of the rest, within 2 units in the last place.
#[inline(always)]
#[allow(clippy::inline_always)]
fn exp(x: f32) -> f32 {
    // NaN passes through both comparisons.
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    // Adding 1.5 * 2^23 rounds to a whole number, which is then in the low bits.
    let shifted = x * std::f32::consts::LOG2_E + 12_582_912.0;
    let n = shifted - 12_582_912.0;
    let rest = x - n * 0.693_359_4 - n * -2.121_944_4e-4;
    let polynomial =
        1.0 + rest * (1.0 + rest * (0.5 + rest * (0.166_666_67 + rest * (0.041_666_64 + rest * (0.008_333_37 + rest * 0.001_393_7)))));
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    polynomial * power
}

#[inline(always)]
#[allow(clippy::inline_always)]
fn exp_m1(x: f32) -> f32 {
    let series = x * (1.0 + x * (0.5 + x * (0.166_666_67 + x * (0.041_666_67 + x * 0.008_333_33))));
    if x > -0.25 { series } else { exp(x) - 1.0 }
}

#[inline(always)]
#[allow(clippy::inline_always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[inline(always)]
#[allow(clippy::inline_always)]
fn tanh(x: f32) -> f32 {
    let s = x * x;
    let series = x * (1.0 + s * (-0.333_333_34 + s * (0.133_333_34 + s * (-0.053_968_255 + s * 0.021_869_488))));
    let whole = 1.0 - 2.0 / (exp(2.0 * x) + 1.0);
    if s < 0.04 { series } else { whole }
}

/// tanh(softplus(x)) = e(e + 2) / (e(e + 2) + 2) with e = exp(x).
#[inline(always)]
#[allow(clippy::inline_always)]
fn mish_gate(x: f32) -> f32 {
    let e = exp(if x > 20.0 { 20.0 } else { x });
    let n = e * (e + 2.0);
    n / (n + 2.0)
}

/// Abramowitz and Stegun 7.1.26: erf within 1.5e-7.
#[inline(always)]
#[allow(clippy::inline_always)]
fn normal_cdf(x: f32) -> f32 {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let tail = t * (0.254_829_6 + t * (-0.284_496_72 + t * (1.421_413_8 + t * (-1.453_152 + t * 1.061_405_4)))) * exp(-z * z);
    if x < 0.0 { 0.5 * tail } else { 1.0 - 0.5 * tail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_exact_to_two_units() {
        for i in -8700..8800 {
            let x = i as f32 / 100.0;
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) - exact).abs() <= exact * 2.5e-7, "exp({x}) = {}, not {exact}", exp(x));
        }
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn tanh_and_expm1_keep_their_relative_precision_near_zero() {
        for i in 1..4000 {
            let x = f64::from(i) / 1000.0;
            for x in [x, -x, x / 1000.0] {
                let x32 = x as f32;
                let (t, e) = (f64::from(tanh(x32)), f64::from(exp_m1(-x32.abs())));
                let (exact_t, exact_e) = (f64::from(x32).tanh(), (-f64::from(x32.abs())).exp_m1());
                assert!((t - exact_t).abs() < 2e-6 * exact_t.abs(), "tanh({x})");
                assert!((e - exact_e).abs() < 2e-6 * exact_e.abs(), "expm1({x})");
            }
        }
    }
}
