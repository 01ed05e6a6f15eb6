//! Activations and arithmetic, element by element; softmax.

use candle_core::{Device, Result, Tensor};

use crate::tracer::graph::{Activation, Binary, Unary};

pub(crate) fn sigmoid(x: &Tensor) -> Result<Tensor> {
    // Through tanh, whose gradient stays finite; 1 / (1 + exp(-x)) gives 0 * infinity.
    x.affine(0.5, 0.0)?.tanh()?.affine(0.5, 0.5)
}

fn softplus(x: &Tensor) -> Result<Tensor> {
    let linear = x.gt(20f64)?;
    let small = linear.where_cond(&x.zeros_like()?, x)?;
    linear.where_cond(x, &small.exp()?.affine(1.0, 1.0)?.log()?)
}

pub(crate) fn activation(x: &Tensor, kind: Activation) -> Result<Tensor> {
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

pub(crate) fn softmax(x: &Tensor, dim: usize) -> Result<Tensor> {
    let e = x.broadcast_sub(&x.detach().max_keepdim(dim)?)?.exp()?;
    e.broadcast_div(&e.sum_keepdim(dim)?)
}

pub(crate) fn log_softmax(x: &Tensor, dim: usize) -> Result<Tensor> {
    let shifted = x.broadcast_sub(&x.detach().max_keepdim(dim)?)?;
    shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(dim)?.log()?)
}

pub(crate) fn binary(kind: Binary, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    match kind {
        Binary::Add => a.broadcast_add(b),
        Binary::Sub => a.broadcast_sub(b),
        Binary::Mul => a.broadcast_mul(b),
        Binary::Div => a.broadcast_div(b),
        Binary::Maximum => extremum(a, b, 1.0),
        Binary::Minimum => extremum(a, b, -1.0),
        Binary::Power => {
            let shape = a.shape().broadcast_shape_binary_op(b.shape(), "power")?;
            zipped(&a.broadcast_as(&shape)?, &b.broadcast_as(&shape)?, f32::powf)
        }
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

pub(crate) fn unary(x: &Tensor, kind: Unary) -> Result<Tensor> {
    match kind {
        Unary::Neg => x.neg(),
        Unary::Exp => x.exp(),
        Unary::Log => x.log(),
        Unary::Sqrt | Unary::Root => x.sqrt(),
        Unary::Rsqrt => x.sqrt()?.recip(),
        Unary::Abs => x * x.detach().sign()?,
        Unary::Square => x.sqr(),
        Unary::Sin => x.sin(),
        Unary::Cos => x.cos(),
        Unary::Erf => x.erf(),
        Unary::Floor => x.floor(),
        Unary::Ceil => x.ceil(),
        Unary::Sign => mapped(x, |x| {
            if x > 0.0 {
                1.0
            } else if x < 0.0 {
                -1.0
            } else {
                x
            }
        }),
        Unary::Log1p => mapped(x, f32::ln_1p),
        Unary::Expm1 => mapped(x, f32::exp_m1),
        Unary::Tan => mapped(x, f32::tan),
        Unary::Atan => mapped(x, f32::atan),
        Unary::Sinh => mapped(x, f32::sinh),
        Unary::Cosh => mapped(x, f32::cosh),
        Unary::Round => mapped(x, f32::round_ties_even),
        Unary::Trunc => mapped(x, f32::trunc),
    }
}

/// The derivative of functions that candle has none for.
pub(crate) fn slope(kind: Unary) -> Option<fn(f32) -> f32> {
    Some(match kind {
        Unary::Root => |x| if x == 0.0 { 0.0 } else { 0.5 / x.sqrt() },
        Unary::Log1p => |x| 1.0 / (1.0 + x),
        Unary::Expm1 => f32::exp,
        Unary::Sin => f32::cos,
        Unary::Cos => |x| -x.sin(),
        Unary::Tan => |x| 1.0 + x.tan() * x.tan(),
        Unary::Atan => |x| 1.0 / (1.0 + x * x),
        Unary::Sinh => f32::cosh,
        Unary::Cosh => f32::sinh,
        Unary::Erf => |x| std::f32::consts::FRAC_2_SQRT_PI * (-x * x).exp(),
        _ => return None,
    })
}

/// An element at a time, on the processor; other devices take it there and back.
fn mapped(x: &Tensor, f: impl Fn(f32) -> f32) -> Result<Tensor> {
    let values: Vec<f32> = x.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f).collect();
    Tensor::from_vec(values, x.shape(), &Device::Cpu)?.to_device(x.device())
}

/// The same of two tensors of one shape.
pub(crate) fn zipped(a: &Tensor, b: &Tensor, f: impl Fn(f32, f32) -> f32) -> Result<Tensor> {
    let flat = |x: &Tensor| x.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>();
    let values: Vec<f32> = flat(a)?.into_iter().zip(flat(b)?).map(|(a, b)| f(a, b)).collect();
    Tensor::from_vec(values, a.shape(), &Device::Cpu)?.to_device(a.device())
}

/// Gradients of a to the power of b, in the broadcast shape; `PyTorch`'s where the base is 0.
pub(crate) fn power_gradients(a: &Tensor, b: &Tensor, dy: &Tensor) -> Result<(Tensor, Tensor)> {
    let (a, b) = (a.broadcast_as(dy.shape())?, b.broadcast_as(dy.shape())?);
    let of_base = zipped(&a, &b, |a, b| if b == 0.0 { 0.0 } else { b * a.powf(b - 1.0) })?;
    let of_exponent = zipped(&a, &b, |a, b| if a == 0.0 && b >= 0.0 { 0.0 } else { a.powf(b) * a.ln() })?;
    Ok(((dy * of_base)?, (dy * of_exponent)?))
}

pub(crate) fn power(x: &Tensor, exponent: f64) -> Result<Tensor> {
    if exponent == 2.0 {
        return x.sqr();
    }
    if exponent == 0.0 {
        return x.affine(0.0, 1.0);
    }
    x.powf(exponent)
}

/// The gradient passes at both limits.
pub(crate) fn clamp(x: &Tensor, low: Option<f64>, high: Option<f64>) -> Result<Tensor> {
    let mut y = x.clone();
    if let Some(low) = low {
        y = x.lt(low)?.where_cond(&(x.zeros_like()? + low)?, &y)?;
    }
    if let Some(high) = high {
        y = y.gt(high)?.where_cond(&(x.zeros_like()? + high)?, &y)?;
    }
    Ok(y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_where_a_function_is_not_defined_everywhere_are_those_of_differences() {
        for (kind, f) in [(Unary::Log1p, f64::ln_1p as fn(f64) -> f64), (Unary::Root, f64::sqrt)] {
            for x in [0.2, 1.0, 7.0] {
                let difference = (f(x + 1e-6) - f(x - 1e-6)) / 2e-6;
                assert!((f64::from(slope(kind).unwrap()(x as f32)) - difference).abs() < 1e-5, "{kind:?} at {x}");
            }
        }
        assert_eq!(slope(Unary::Root).unwrap()(0.0), 0.0);
    }

    #[test]
    fn a_power_of_zero_has_pytorchs_gradients() {
        let of = |a: f32, b: f32| {
            let [a, b] = [a, b].map(|v| Tensor::new(&[v], &Device::Cpu).unwrap());
            let (da, db) = power_gradients(&a, &b, &a.ones_like().unwrap()).unwrap();
            [da, db].map(|t| t.to_vec1::<f32>().unwrap()[0])
        };
        assert_eq!(of(0.0, 2.0), [0.0, 0.0]);
        assert_eq!(of(0.0, 0.0), [0.0, 0.0]);
        let [da, db] = of(2.0, 3.0);
        assert!((da - 12.0).abs() < 1e-5 && (db - 8.0 * 2f32.ln()).abs() < 1e-5, "{da} {db}");
    }
}
