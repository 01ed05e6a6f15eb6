//! Value and gradients of single operations: which kernel of [`super::ops`] runs, and the backwards that are a line each.

use std::borrow::Borrow;

use candle_core::{Result, Tensor};

use super::ops::pool::Axis;
use super::ops::{activation, arithmetic, conv, conv_transpose, linear, norm, pool};
use super::stock;
use crate::tracer::graph::{Binary, Op, Reduction};

/// What a forward keeps of a node for its backward.
pub(crate) enum Saved {
    Nothing,
    Norm(norm::Saved),
    Places(Vec<u32>),
    Mask(Tensor),
    Tape { inputs: Vec<Tensor>, tensors: Vec<Tensor>, output: Tensor },
}

/// Gradients of a node's inputs and own tensors.
pub(crate) struct Step {
    pub(crate) inputs: Vec<Option<Tensor>>,
    pub(crate) tensors: Vec<Option<Tensor>>,
}

impl Step {
    pub(crate) fn of_input(gradient: Tensor) -> Self {
        Self { inputs: vec![Some(gradient)], tensors: Vec::new() }
    }

    /// Of a layer whose weights are inputs where `computed`, else its own.
    fn of_weights(x: Option<Tensor>, weight: Option<Tensor>, bias: Option<Tensor>, computed: bool) -> Self {
        if computed {
            return Self { inputs: vec![x, weight, bias], tensors: Vec::new() };
        }
        Self { inputs: vec![x], tensors: vec![weight, bias] }
    }
}

/// Weight and bias of a layer: its own, or inputs where `forward` computed them.
pub(crate) fn weights<'a, T: Borrow<Tensor>>(inputs: &'a [T], tensors: &'a [T]) -> Result<(&'a Tensor, Option<&'a Tensor>)> {
    let from = if tensors.is_empty() { &inputs[1.min(inputs.len())..] } else { tensors };
    let weight = from.first().ok_or_else(|| candle_core::Error::Msg("a layer without a weight".into()))?;
    Ok((weight.borrow(), from.get(1).map(Borrow::borrow)))
}

/// Value and what the backward needs, for operations with a kernel.
pub(crate) fn forward(op: &Op, inputs: &[Tensor], tensors: &[Tensor]) -> Result<Option<(Tensor, Saved)>> {
    let plain = |value: Tensor| Ok(Some((value, Saved::Nothing)));
    match op {
        Op::Conv2d { stride, padding, dilation, groups, .. } => {
            let spec = conv::Spec { stride: *stride, padding: *padding, dilation: *dilation, groups: *groups };
            let (weight, bias) = weights(inputs, tensors)?;
            plain(conv::forward(&inputs[0], weight, bias, spec)?)
        }
        Op::ConvTranspose2d { stride, padding: [rows, columns], output_padding, dilation, groups, .. } => {
            let spec = conv::Spec { stride: *stride, padding: [*rows, *rows, *columns, *columns], dilation: *dilation, groups: *groups };
            let (weight, bias) = weights(inputs, tensors)?;
            plain(conv_transpose::forward(&inputs[0], weight, bias, spec, *output_padding)?)
        }
        Op::Linear { .. } => plain(linear::forward(&inputs[0], &tensors[0], tensors.get(1))?),
        Op::Activation(kind) => plain(activation::forward(&inputs[0], *kind)?),
        Op::MaxPool2d { .. } | Op::AdaptiveMaxPool2d { .. } => {
            let (rows, columns) = max_windows(op, &inputs[0])?;
            let (value, places) = pool::max_forward(&inputs[0], &rows, &columns)?;
            Ok(Some((value, Saved::Places(places))))
        }
        Op::AvgPool2d { .. } | Op::AdaptiveAvgPool2d { .. } => {
            let (rows, columns, divisors) = mean_windows(op, &inputs[0])?;
            plain(pool::mean_forward(&inputs[0], &rows, &columns, &divisors)?)
        }
        Op::Reduce { kind: Reduction::Mean, dims, keep } if is_trailing(dims, inputs[0].rank()) => {
            let (rows, columns, divisors) = mean_windows(op, &inputs[0])?;
            let x = inputs[0].reshape(map_shape(op, &inputs[0]))?;
            let value = pool::mean_forward(&x, &rows, &columns, &divisors)?;
            let mut shape = inputs[0].dims()[..inputs[0].rank() - dims.len()].to_vec();
            if *keep {
                shape.extend(std::iter::repeat_n(1, dims.len()));
            }
            plain(value.reshape(shape)?)
        }
        Op::Binary(Binary::Add) if inputs[0].dims() == inputs[1].dims() => plain(arithmetic::add(&inputs[0], &inputs[1])?),
        Op::Cat { dim } => plain(arithmetic::cat(inputs, *dim)?),
        _ => Ok(None),
    }
}

/// Gradients for the gradient of the value, of operations that kept nothing else than their inputs.
pub(crate) fn backward(op: &Op, inputs: &[&Tensor], tensors: &[&Tensor], dy: &Tensor, needs: conv::Needs) -> Result<Step> {
    match op {
        Op::Conv2d { stride, padding, dilation, groups, .. } => {
            let spec = conv::Spec { stride: *stride, padding: *padding, dilation: *dilation, groups: *groups };
            let g = conv::backward(inputs[0], weights(inputs, tensors)?.0, dy, spec, needs)?;
            Ok(Step::of_weights(g.x, g.weight, g.bias, tensors.is_empty()))
        }
        Op::ConvTranspose2d { stride, padding: [rows, columns], dilation, groups, .. } => {
            let spec = conv::Spec { stride: *stride, padding: [*rows, *rows, *columns, *columns], dilation: *dilation, groups: *groups };
            let g = conv_transpose::backward(inputs[0], weights(inputs, tensors)?.0, dy, spec, needs)?;
            Ok(Step::of_weights(g.x, g.weight, g.bias, tensors.is_empty()))
        }
        Op::Linear { .. } => {
            let (dx, dw, db) = linear::backward(inputs[0], tensors[0], dy, needs.x)?;
            Ok(Step { inputs: vec![dx], tensors: vec![Some(dw), Some(db)] })
        }
        Op::Activation(kind) => Ok(Step::of_input(activation::backward(inputs[0], *kind, dy)?)),
        op => formula(op, inputs, dy),
    }
}

/// Operations whose backward is written down in [`formula`], whatever the device.
pub(crate) fn has_formula(op: &Op) -> bool {
    match op {
        Op::Binary(kind) => matches!(kind, Binary::Add | Binary::Sub | Binary::Mul | Binary::Power),
        Op::Unary(kind) => stock::slope(*kind).is_some(),
        Op::Tensor
        | Op::Reshape { .. }
        | Op::Affine { .. }
        | Op::Cat { .. }
        | Op::Where
        | Op::Index { .. }
        | Op::Gather { .. }
        | Op::Scatter { .. }
        | Op::CumSum { .. } => true,
        _ => false,
    }
}

/// Backward of what [`has_formula`].
fn formula(op: &Op, inputs: &[&Tensor], dy: &Tensor) -> Result<Step> {
    match op {
        Op::Tensor => Ok(Step { inputs: Vec::new(), tensors: vec![Some(dy.clone())] }),
        Op::Dropout { .. } => Ok(Step::of_input(dy.clone())),
        Op::Reshape { .. } => Ok(Step::of_input(dy.reshape(inputs[0].shape())?)),
        Op::Affine { scale, .. } => Ok(Step::of_input(dy.affine(*scale, 0.0)?)),
        Op::Unary(kind) => {
            let slope = stock::slope(*kind).ok_or_else(|| candle_core::Error::Msg(format!("{kind:?} has no slope here")))?;
            Ok(Step::of_input(stock::zipped(inputs[0], dy, |x, dy| if dy == 0.0 { 0.0 } else { dy * slope(x) })?))
        }
        Op::Where | Op::Index { .. } | Op::Gather { .. } | Op::Scatter { .. } | Op::CumSum { .. } => {
            Ok(Step { inputs: stock::choice_gradients(op, inputs, dy)?, tensors: Vec::new() })
        }
        Op::Binary(kind) => {
            let (a, b) = (inputs[0], inputs[1]);
            let (da, db) = match kind {
                Binary::Add => (dy.clone(), dy.clone()),
                Binary::Sub => (dy.clone(), dy.neg()?),
                Binary::Power => stock::power_gradients(a, b, dy)?,
                _ => (dy.broadcast_mul(b)?, dy.broadcast_mul(a)?),
            };
            let gradients = [arithmetic::reduce_to(&da, a.dims())?, arithmetic::reduce_to(&db, b.dims())?];
            Ok(Step { inputs: gradients.into_iter().map(Some).collect(), tensors: Vec::new() })
        }
        Op::Cat { dim } => {
            let extents = inputs.iter().map(|input| input.dims()[*dim]);
            let parts = arithmetic::split(dy, *dim, extents)?;
            Ok(Step { inputs: parts.into_iter().map(Some).collect(), tensors: Vec::new() })
        }
        Op::AvgPool2d { .. } | Op::AdaptiveAvgPool2d { .. } | Op::Reduce { .. } => {
            let (rows, columns, divisors) = mean_windows(op, inputs[0])?;
            let shape = map_shape(op, inputs[0]);
            Ok(Step::of_input(pool::mean_backward(&shape, &rows, &columns, &divisors, dy)?.reshape(inputs[0].shape())?))
        }
        op => candle_core::bail!("{op:?} kept nothing for its backward"),
    }
}

fn is_trailing(dims: &[usize], rank: usize) -> bool {
    !dims.is_empty() && dims.iter().rev().enumerate().all(|(i, &d)| d + 1 + i == rank)
}

/// The shape as maps whose whole extent a mean over trailing dimensions takes; other operations have maps already.
fn map_shape(op: &Op, x: &Tensor) -> Vec<usize> {
    match op {
        Op::Reduce { dims, .. } => {
            let inner: usize = dims.iter().map(|&d| x.dims()[d]).product();
            vec![x.elem_count() / inner, 1, inner]
        }
        _ => x.dims().to_vec(),
    }
}

fn max_windows(op: &Op, x: &Tensor) -> Result<(Axis, Axis)> {
    let (_, _, height, width) = x.dims4()?;
    match op {
        Op::MaxPool2d { kernel, stride, padding, dilation, ceil } => Ok((
            Axis::sliding(height, kernel[0], stride[0], padding[0], dilation[0], *ceil)?,
            Axis::sliding(width, kernel[1], stride[1], padding[1], dilation[1], *ceil)?,
        )),
        Op::AdaptiveMaxPool2d { out } => Ok((Axis::adaptive(height, out[0]), Axis::adaptive(width, out[1]))),
        op => candle_core::bail!("{op:?} takes no maximum"),
    }
}

fn mean_windows(op: &Op, x: &Tensor) -> Result<(Axis, Axis, Vec<f32>)> {
    if let Op::Reduce { .. } = op {
        let inner = map_shape(op, x)[2];
        return Ok((Axis::adaptive(1, 1), Axis::adaptive(inner, 1), vec![inner as f32]));
    }
    let (_, _, height, width) = x.dims4()?;
    match op {
        Op::AvgPool2d { kernel, stride, padding, ceil, count_pad, divisor } => {
            let rows = Axis::sliding(height, kernel[0], stride[0], padding[0], 1, *ceil)?;
            let columns = Axis::sliding(width, kernel[1], stride[1], padding[1], 1, *ceil)?;
            let divisors = pool::divisors(&rows, &columns, *count_pad, *divisor);
            Ok((rows, columns, divisors))
        }
        Op::AdaptiveAvgPool2d { out } => {
            let (rows, columns) = (Axis::adaptive(height, out[0]), Axis::adaptive(width, out[1]));
            let divisors = pool::divisors(&rows, &columns, false, None);
            Ok((rows, columns, divisors))
        }
        op => candle_core::bail!("{op:?} takes no mean"),
    }
}
