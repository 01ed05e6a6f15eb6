//! Shape inference: the one place where shapes are computed.
//!
//! The tracer asks it while a source runs (every extent is then [`Dim::Fixed`]), and [`super::check`] asks it again for a
//! graph whose leading extents are multiples of the batch. Errors say what `PyTorch` would refuse, in one line.

use super::extents::{
    bounded, broadcast, expect_inputs, finite, fixed, fixed_dim, half, inside, map, one, own, positive, product, sum, transposed_window,
    two, volume, weights, window,
};
pub(crate) use super::extents::{is_too_large, show};
use super::graph::{Dim, Law, Op, TensorSpec};
use super::picking;

/// The shape of what `op` gives, or why it cannot be. `tensors` are the ones it owns, in the order [`Op`] documents.
pub fn infer(op: &Op, inputs: &[&[Dim]], tensors: &[&TensorSpec]) -> Result<Vec<Dim>, String> {
    let shape = match op {
        Op::Input => return Err("only the first node is the input".to_owned()),
        Op::Tensor => {
            expect_inputs(inputs, 0)?;
            let [tensor] = tensors else { return Err(format!("a tensor node owns 1 tensor, not {}", tensors.len())) };
            return bounded(fixed(&tensor.shape));
        }
        Op::Constant { values, shape } => {
            expect_inputs(inputs, 0)?;
            if product(shape)? != values.len() {
                return Err(format!("a constant of shape {shape:?} does not have {} values", values.len()));
            }
            fixed(shape)
        }
        Op::Conv2d { out, kernel, stride, padding, dilation, groups, bias } => {
            let (n, [c, h, w]) = map(first(inputs)?)?;
            let (groups, out) = (*groups, *out);
            if groups == 0 || out == 0 || c == 0 || c % groups != 0 || out % groups != 0 {
                return Err(format!("groups={groups} does not divide {c} input and {out} output channels"));
            }
            let mut owned = vec![vec![out, c / groups, kernel[0], kernel[1]]];
            if *bias {
                owned.push(vec![out]);
            }
            weights("convolution", inputs, tensors, &owned)?;
            let height = window(h, kernel[0], stride[0], [padding[0], padding[1]], dilation[0], false)?;
            let width = window(w, kernel[1], stride[1], [padding[2], padding[3]], dilation[1], false)?;
            return bounded(vec![n, Dim::Fixed(out), Dim::Fixed(height), Dim::Fixed(width)]);
        }
        Op::ConvTranspose2d { out, kernel, stride, padding, output_padding, dilation, groups, bias } => {
            let (n, [c, h, w]) = map(first(inputs)?)?;
            let (groups, out) = (*groups, *out);
            if groups == 0 || out == 0 || c == 0 || c % groups != 0 || out % groups != 0 {
                return Err(format!("groups={groups} does not divide {c} input and {out} output channels"));
            }
            let mut owned = vec![vec![c, out / groups, kernel[0], kernel[1]]];
            if *bias {
                owned.push(vec![out]);
            }
            weights("transposed convolution", inputs, tensors, &owned)?;
            let extent = |axis: usize, from| {
                transposed_window(from, kernel[axis], stride[axis], padding[axis], output_padding[axis], dilation[axis])
            };
            return bounded(vec![n, Dim::Fixed(out), Dim::Fixed(extent(0, h)?), Dim::Fixed(extent(1, w)?)]);
        }
        Op::BatchNorm { eps, momentum, affine, track } => {
            let x = one(inputs)?;
            if !(2..=4).contains(&x.len()) {
                return Err(format!("batch normalisation of a {}-dimensional tensor", x.len()));
            }
            positive("eps", *eps)?;
            if !(0.0..=1.0).contains(momentum) {
                return Err(format!("momentum {momentum} is not between 0 and 1"));
            }
            let c = fixed_dim(x[1], "channels")?;
            let mut owned = Vec::new();
            if *affine {
                owned.extend([vec![c], vec![c]]);
            }
            if *track {
                owned.extend([vec![c], vec![c]]);
                // The count of batches; not everybody keeps one.
                if tensors.len() > owned.len() {
                    owned.push(vec![]);
                }
            }
            own("batch normalisation", tensors, &owned)?;
            x.to_vec()
        }
        Op::GroupNorm { groups, eps, affine } => {
            let x = one(inputs)?;
            if x.len() < 2 {
                return Err(format!("group normalisation of a {}-dimensional tensor", x.len()));
            }
            positive("eps", *eps)?;
            let c = fixed_dim(x[1], "channels")?;
            if *groups == 0 || c % groups != 0 {
                return Err(format!("{groups} groups do not divide {c} channels"));
            }
            own("group normalisation", tensors, &if *affine { vec![vec![c], vec![c]] } else { vec![] })?;
            x.to_vec()
        }
        Op::LayerNorm { dims, eps, weight, bias } => {
            let x = one(inputs)?;
            positive("eps", *eps)?;
            if *dims == 0 || *dims > x.len() {
                return Err(format!("layer normalisation over {dims} of {} dimensions", x.len()));
            }
            let last = x[x.len() - dims..].iter().map(|d| fixed_dim(*d, "normalised extent")).collect::<Result<Vec<_>, _>>()?;
            let owned = usize::from(*weight) + usize::from(*bias);
            own("layer normalisation", tensors, &vec![last; owned])?;
            x.to_vec()
        }
        Op::Linear { out, bias } => {
            let x = one(inputs)?;
            let Some(last) = x.last() else { return Err("linear layer of a scalar".to_owned()) };
            let width = fixed_dim(*last, "features")?;
            let mut owned = vec![vec![*out, width]];
            if *bias {
                owned.push(vec![*out]);
            }
            own("linear layer", tensors, &owned)?;
            let mut shape = x.to_vec();
            *shape.last_mut().expect("not a scalar") = Dim::Fixed(*out);
            return bounded(shape);
        }
        Op::Activation(_) | Op::Unary(_) | Op::Detach => one(inputs)?.to_vec(),
        Op::Compare(_)
        | Op::Where
        | Op::Index { .. }
        | Op::Gather { .. }
        | Op::Scatter { .. }
        | Op::TopK { .. }
        | Op::CumSum { .. }
        | Op::Switch => picking::infer(op, inputs)?,
        Op::Random { law, shape } => {
            expect_inputs(inputs, 0)?;
            possible(law)?;
            shape.clone()
        }
        Op::Affine { scale, shift } => {
            finite(&[*scale, *shift])?;
            one(inputs)?.to_vec()
        }
        Op::Power { exponent } => {
            finite(&[*exponent])?;
            one(inputs)?.to_vec()
        }
        Op::Clamp { low, high } => {
            finite(&[low.unwrap_or(0.0), high.unwrap_or(0.0)])?;
            one(inputs)?.to_vec()
        }
        Op::Dropout { p, .. } => {
            if !(0.0..=1.0).contains(p) {
                return Err(format!("dropout probability {p} is not between 0 and 1"));
            }
            one(inputs)?.to_vec()
        }
        Op::Prelu => {
            let x = one(inputs)?;
            let [weight] = tensors else { return Err("prelu owns one weight".to_owned()) };
            let channels = if x.len() > 1 { fixed_dim(x[1], "channels").ok() } else { Some(1) };
            if weight.shape != [1] && channels.is_none_or(|c| weight.shape != [c]) {
                return Err(format!("prelu weight {:?} for input {}", weight.shape, show(x)));
            }
            return Ok(x.to_vec());
        }
        Op::Softmax { dim } | Op::LogSoftmax { dim } => {
            let x = one(inputs)?;
            inside(*dim, x)?;
            x.to_vec()
        }
        Op::MaxPool2d { kernel, stride, padding, dilation, ceil } => {
            let (n, [c, h, w]) = map(one(inputs)?)?;
            half(*padding, *kernel)?;
            let height = window(h, kernel[0], stride[0], [padding[0]; 2], dilation[0], *ceil)?;
            let width = window(w, kernel[1], stride[1], [padding[1]; 2], dilation[1], *ceil)?;
            vec![n, Dim::Fixed(c), Dim::Fixed(height), Dim::Fixed(width)]
        }
        Op::AvgPool2d { kernel, stride, padding, ceil, divisor, .. } => {
            let (n, [c, h, w]) = map(one(inputs)?)?;
            half(*padding, *kernel)?;
            if *divisor == Some(0) {
                return Err("divisor_override is 0".to_owned());
            }
            let height = window(h, kernel[0], stride[0], [padding[0]; 2], 1, *ceil)?;
            let width = window(w, kernel[1], stride[1], [padding[1]; 2], 1, *ceil)?;
            vec![n, Dim::Fixed(c), Dim::Fixed(height), Dim::Fixed(width)]
        }
        Op::AdaptiveAvgPool2d { out } | Op::AdaptiveMaxPool2d { out } => {
            let (n, [c, h, w]) = map(one(inputs)?)?;
            if h == 0 || w == 0 || out.contains(&0) {
                return Err(format!("adaptive pooling of {h}x{w} to {}x{}", out[0], out[1]));
            }
            vec![n, Dim::Fixed(c), Dim::Fixed(out[0]), Dim::Fixed(out[1])]
        }
        Op::Binary(_) => {
            let (a, b) = two(inputs)?;
            broadcast(a, b)?
        }
        Op::MatMul => {
            let (a, b) = two(inputs)?;
            let ([lead_a @ .., m, k], [lead_b @ .., l, n]) = (a, b) else {
                return Err(format!("matrix product of {} and {}", show(a), show(b)));
            };
            if k != l {
                return Err(format!("matrix product of {} and {}: inner extents differ", show(a), show(b)));
            }
            let mut shape = broadcast(lead_a, lead_b)?;
            shape.extend([*m, *n]);
            shape
        }
        Op::Cat { dim } => cat(*dim, inputs)?,
        Op::Reduce { dims, keep, .. } => reduce(one(inputs)?, dims, *keep)?,
        Op::Variance { dims, keep, correction } => {
            if *correction > 1 {
                return Err(format!("variance with correction {correction}"));
            }
            reduce(one(inputs)?, dims, *keep)?
        }
        Op::Reshape { shape } => {
            let x = one(inputs)?;
            if volume(x)? != volume(shape)? {
                return Err(format!("shape {} is invalid for input of shape {}", show(shape), show(x)));
            }
            shape.clone()
        }
        Op::Permute { dims } => {
            let x = one(inputs)?;
            let mut seen = vec![false; x.len()];
            for &d in dims {
                inside(d, x)?;
                seen[d] = true;
            }
            if dims.len() != x.len() || seen.contains(&false) {
                return Err(format!("permutation {dims:?} of a {}-dimensional tensor", x.len()));
            }
            dims.iter().map(|&d| x[d]).collect()
        }
        Op::Expand { shape } => {
            let x = one(inputs)?;
            let fits =
                x.len() <= shape.len() && x.iter().rev().zip(shape.iter().rev()).all(|(from, to)| from == to || *from == Dim::Fixed(1));
            if !fits {
                return Err(format!("{} cannot be expanded to {}", show(x), show(shape)));
            }
            shape.clone()
        }
        Op::Slice { dim, start, end, step } => {
            let x = one(inputs)?;
            inside(*dim, x)?;
            let Dim::Fixed(extent) = x[*dim] else { return Err("a slice of the batch dimension".to_owned()) };
            if *step == 0 || *end > extent || start > end {
                return Err(format!("slice {start}:{end}:{step} of an extent of {extent}"));
            }
            let mut shape = x.to_vec();
            shape[*dim] = Dim::Fixed((end - start).div_ceil(*step));
            shape
        }
        Op::Pad { padding, border } => {
            let x = one(inputs)?;
            let [lead @ .., h, w] = x else { return Err(format!("padding of a {}-dimensional tensor", x.len())) };
            let (h, w) = (fixed_dim(*h, "height")?, fixed_dim(*w, "width")?);
            pad_fits(*padding, border, [h, w])?;
            let mut shape = lead.to_vec();
            shape.push(Dim::Fixed(sum(&[h, padding[0], padding[1]])?));
            shape.push(Dim::Fixed(sum(&[w, padding[2], padding[3]])?));
            shape
        }
        Op::UpsampleNearest { factor } => {
            let (n, [c, h, w]) = map(one(inputs)?)?;
            vec![n, Dim::Fixed(c), Dim::Fixed(product(&[h, factor[0]])?), Dim::Fixed(product(&[w, factor[1]])?)]
        }
        Op::UpsampleBilinear { out, .. } => {
            let (n, [c, h, w]) = map(one(inputs)?)?;
            if h == 0 || w == 0 || out.contains(&0) {
                return Err(format!("resizing {h}x{w} to {}x{}", out[0], out[1]));
            }
            vec![n, Dim::Fixed(c), Dim::Fixed(out[0]), Dim::Fixed(out[1])]
        }
        Op::Lstm { hidden, bias, .. } => return bounded(recurrent(inputs, tensors, *hidden, *bias, 4)?),
        Op::Gru { hidden, bias, .. } => return bounded(recurrent(inputs, tensors, *hidden, *bias, 3)?),
    };
    if !owns_tensors(op) && !tensors.is_empty() {
        return Err(format!("{} tensors for an operation that owns none", tensors.len()));
    }
    bounded(shape)
}

fn owns_tensors(op: &Op) -> bool {
    matches!(op, Op::BatchNorm { .. } | Op::GroupNorm { .. } | Op::LayerNorm { .. })
}

fn first<'a>(inputs: &[&'a [Dim]]) -> Result<&'a [Dim], String> {
    inputs.first().copied().ok_or_else(|| "an operation of no input".to_owned())
}

fn possible(law: &Law) -> Result<(), String> {
    let fine = match *law {
        Law::Uniform { low, high } => low.is_finite() && high.is_finite() && low <= high,
        Law::Normal { mean, std } => mean.is_finite() && std.is_finite() && std >= 0.0,
        Law::Bernoulli { p } => (0.0..=1.0).contains(&p),
    };
    if fine { Ok(()) } else { Err(format!("random numbers of {law:?}")) }
}

fn cat(dim: usize, inputs: &[&[Dim]]) -> Result<Vec<Dim>, String> {
    let Some(first) = inputs.first() else { return Err("concatenation of nothing".to_owned()) };
    inside(dim, first)?;
    let mut shape = first.to_vec();
    for other in &inputs[1..] {
        let same = other.len() == shape.len() && (0..shape.len()).all(|d| d == dim || other[d] == shape[d]);
        if !same {
            return Err(format!("concatenation of {} and {} along dimension {dim}", show(first), show(other)));
        }
        shape[dim] = match (shape[dim], other[dim]) {
            (Dim::Fixed(a), Dim::Fixed(b)) => Dim::Fixed(sum(&[a, b])?),
            (Dim::Batch(a), Dim::Batch(b)) => Dim::Batch(sum(&[a, b])?),
            _ => return Err("concatenation of a fixed and a batch extent".to_owned()),
        };
    }
    Ok(shape)
}

fn reduce(x: &[Dim], dims: &[usize], keep: bool) -> Result<Vec<Dim>, String> {
    if !dims.windows(2).all(|w| w[0] < w[1]) {
        return Err(format!("reduction over {dims:?}"));
    }
    for &d in dims {
        inside(d, x)?;
        if x[d] == Dim::Fixed(0) {
            return Err("reduction over no elements".to_owned());
        }
    }
    let kept = |(i, d): (usize, &Dim)| match (dims.contains(&i), keep) {
        (false, _) => Some(*d),
        (true, true) => Some(Dim::Fixed(1)),
        (true, false) => None,
    };
    Ok(x.iter().enumerate().filter_map(kept).collect())
}

fn pad_fits(padding: [usize; 4], border: &super::graph::Border, extent: [usize; 2]) -> Result<(), String> {
    use super::graph::Border;
    let most = |limit: [usize; 2]| padding[..2].iter().all(|&p| p <= limit[0]) && padding[2..].iter().all(|&p| p <= limit[1]);
    let fits = match border {
        Border::Constant(value) => value.is_finite(),
        Border::Reflect => extent[0] > 0 && extent[1] > 0 && most([extent[0] - 1, extent[1] - 1]),
        Border::Circular => most(extent),
        Border::Replicate => !extent.contains(&0),
    };
    if fits { Ok(()) } else { Err(format!("{border:?} padding {padding:?} of a {}x{} map", extent[0], extent[1])) }
}

fn recurrent(inputs: &[&[Dim]], tensors: &[&TensorSpec], hidden: usize, bias: bool, gates: usize) -> Result<Vec<Dim>, String> {
    let x = one(inputs)?;
    let [n, steps, features] = x else { return Err(format!("a recurrent layer over {}", show(x))) };
    let rows = product(&[gates, hidden])?;
    if rows == 0 {
        return Err("a recurrent layer of no units".to_owned());
    }
    let mut owned = vec![vec![rows, fixed_dim(*features, "features")?], vec![rows, hidden]];
    if bias {
        owned.extend([vec![rows], vec![rows]]);
    }
    own("recurrent layer", tensors, &owned)?;
    Ok(vec![*n, *steps, Dim::Fixed(hidden)])
}
