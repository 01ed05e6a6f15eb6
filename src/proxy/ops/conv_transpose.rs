//! Transposed convolution, with the kernels of the convolution whose adjoint it is: the one from y (n, out, H, W) to x (n, in, h, w)
//! with weight (in, out/groups, kh, kw), which has the same stride, padding, dilation and groups.
//!
//! y is that convolution's gradient of its input for x as the gradient of its output; so dx is the convolution of dy, and dw its gradient
//! of the weight, with dy as its input and x as the gradient of its output.

use candle_core::{Result, Tensor};

use super::conv::{self, Gradients, Needs, Spec};
use super::{each_chunk, sum, tensor, with};

/// Height and width of y.
pub(crate) fn extents(x: &Tensor, weight: &Tensor, spec: Spec, output_padding: [usize; 2]) -> Result<[usize; 2]> {
    let (_, _, height, width) = x.dims4()?;
    let (_, _, rows, columns) = weight.dims4()?;
    let extent = |axis: usize, from: usize, kernel: usize| {
        let whole = (from.max(1) - 1) * spec.stride[axis] + spec.dilation[axis] * (kernel - 1) + 1 + output_padding[axis];
        whole.checked_sub(spec.padding[2 * axis] + spec.padding[2 * axis + 1]).filter(|&extent| extent > 0)
    };
    match (extent(0, height, rows), extent(1, width, columns)) {
        (Some(height), Some(width)) => Ok([height, width]),
        _ => candle_core::bail!("padding {:?} leaves nothing of a transposed convolution", spec.padding),
    }
}

/// y of x (n, in, h, w), weight (in, out/groups, kh, kw) and bias (out).
pub(crate) fn forward(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, spec: Spec, output_padding: [usize; 2]) -> Result<Tensor> {
    let [height, width] = extents(x, weight, spec, output_padding)?;
    let (batch, out) = (x.dim(0)?, weight.dim(1)? * spec.groups);
    let shape = [batch, out, height, width];
    // Its values are not read.
    let blank = tensor(vec![0f32; shape.iter().product()], &shape)?;
    let needs = Needs { x: true, weight: false, bias: false };
    let y = conv::backward(&blank, weight, x, spec, needs)?.x.expect("it was asked for");
    let Some(bias) = bias else { return Ok(y) };
    let mut values = with(&y, <[f32]>::to_vec)?;
    with(bias, |bias| {
        each_chunk(&mut values, height * width, |map, values| values.iter_mut().for_each(|value| *value += bias[map % out]));
    })?;
    tensor(values, &shape)
}

/// Gradients of x, weight and bias for the gradient of y.
pub(crate) fn backward(x: &Tensor, weight: &Tensor, gradient: &Tensor, spec: Spec, needs: Needs) -> Result<Gradients> {
    let dx = needs.x.then(|| conv::forward(gradient, weight, None, spec)).transpose()?;
    let only_weight = Needs { x: false, weight: true, bias: false };
    let dw = if needs.weight { conv::backward(gradient, weight, x, spec, only_weight)?.weight } else { None };
    let (_, out, height, width) = gradient.dims4()?;
    let db = needs.bias.then(|| {
        let mut sums = vec![0f32; out];
        with(gradient, |gradient| {
            for (map, values) in gradient.chunks_exact(height * width).enumerate() {
                sums[map % out] += sum(values);
            }
        })?;
        tensor(sums, &[out])
    });
    Ok(Gradients { x: dx, weight: dw, bias: db.transpose()? })
}
