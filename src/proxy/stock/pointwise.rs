//! Activations and arithmetic, element by element; softmax.

use candle_core::{Result, Tensor};

use crate::tracer::graph::{Activation, Binary, Unary};

pub fn sigmoid(x: &Tensor) -> Result<Tensor> {
    // Through tanh, whose gradient stays finite; 1 / (1 + exp(-x)) gives 0 * infinity.
    x.affine(0.5, 0.0)?.tanh()?.affine(0.5, 0.5)
}

fn softplus(x: &Tensor) -> Result<Tensor> {
    let linear = x.gt(20f64)?;
    let small = linear.where_cond(&x.zeros_like()?, x)?;
    linear.where_cond(x, &small.exp()?.affine(1.0, 1.0)?.log()?)
}

pub fn activation(x: &Tensor, kind: Activation) -> Result<Tensor> {
    let positive = |other: Tensor| x.gt(0f64)?.where_cond(x, &other);
    match kind {
        Activation::Relu => positive(x.zeros_like()?),
        Activation::Relu6 => {
            let inside = (x.gt(0f64)? * x.lt(6f64)?)?;
            inside.where_cond(x, &x.detach().clamp(0f64, 6f64)?)
        }
        Activation::LeakyRelu { slope } => positive(x.affine(slope, 0.0)?),
        Activation::Elu { alpha } => {
            let negative = x.gt(0f64)?.where_cond(&x.zeros_like()?, x)?;
            positive(negative.exp()?.affine(alpha, -alpha)?)
        }
        Activation::Gelu => x.gelu_erf(),
        Activation::GeluTanh => {
            let inner = (x + (x.sqr()? * x)?.affine(0.044_715, 0.0)?)?.affine((2.0 / std::f64::consts::PI).sqrt(), 0.0)?;
            x * inner.tanh()?.affine(0.5, 0.5)?
        }
        Activation::Silu => x * sigmoid(x)?,
        Activation::Mish => x * softplus(x)?.tanh()?,
        Activation::Softplus => softplus(x),
        Activation::Hardswish => x * clamp(&x.affine(1.0 / 6.0, 0.5)?, Some(0.0), Some(1.0))?,
        Activation::Hardsigmoid => clamp(&x.affine(1.0 / 6.0, 0.5)?, Some(0.0), Some(1.0)),
        Activation::Sigmoid => sigmoid(x),
        Activation::Tanh => x.tanh(),
    }
}

pub fn softmax(x: &Tensor, dim: usize) -> Result<Tensor> {
    let e = x.broadcast_sub(&x.detach().max_keepdim(dim)?)?.exp()?;
    e.broadcast_div(&e.sum_keepdim(dim)?)
}

pub fn log_softmax(x: &Tensor, dim: usize) -> Result<Tensor> {
    let shifted = x.broadcast_sub(&x.detach().max_keepdim(dim)?)?;
    shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(dim)?.log()?)
}

pub fn binary(kind: Binary, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    match kind {
        Binary::Add => a.broadcast_add(b),
        Binary::Sub => a.broadcast_sub(b),
        Binary::Mul => a.broadcast_mul(b),
        Binary::Div => a.broadcast_div(b),
        Binary::Maximum => extremum(a, b, 1.0),
        Binary::Minimum => extremum(a, b, -1.0),
    }
}

/// Larger (sign 1) or smaller (-1) of the two; where they are equal each gets half of the gradient.
fn extremum(a: &Tensor, b: &Tensor, sign: f64) -> Result<Tensor> {
    let shape = a.shape().broadcast_shape_binary_op(b.shape(), "extremum")?;
    let (a, b) = (a.broadcast_as(&shape)?.contiguous()?, b.broadcast_as(&shape)?.contiguous()?);
    let ahead = (&a - &b)?.detach().affine(sign, 0.0)?;
    let apart = ahead.gt(0f64)?.where_cond(&a, &b)?;
    ahead.eq(0f64)?.where_cond(&((&a + &b)? * 0.5)?, &apart)
}

pub fn unary(x: &Tensor, kind: Unary) -> Result<Tensor> {
    match kind {
        Unary::Neg => x.neg(),
        Unary::Exp => x.exp(),
        Unary::Log => x.log(),
        Unary::Sqrt => x.sqrt(),
        Unary::Rsqrt => x.sqrt()?.recip(),
        Unary::Abs => x * x.detach().sign()?,
        Unary::Square => x.sqr(),
    }
}

pub fn power(x: &Tensor, exponent: f64) -> Result<Tensor> {
    if exponent == 2.0 {
        return x.sqr();
    }
    if exponent == 0.0 {
        return x.affine(0.0, 1.0);
    }
    x.powf(exponent)
}

/// The gradient passes at both limits.
pub fn clamp(x: &Tensor, low: Option<f64>, high: Option<f64>) -> Result<Tensor> {
    let mut y = x.clone();
    if let Some(low) = low {
        y = x.lt(low)?.where_cond(&(x.zeros_like()? + low)?, &y)?;
    }
    if let Some(high) = high {
        y = y.gt(high)?.where_cond(&(x.zeros_like()? + high)?, &y)?;
    }
    Ok(y)
}
