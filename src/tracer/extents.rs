//! What shape rules are made of: extents, their products, windows, broadcasting. Errors say what `PyTorch` would refuse, in one line.

use super::graph::{Dim, TensorSpec};

/// More elements than this in one tensor is never a network we can train.
pub(crate) const MOST_ELEMENTS: usize = 1 << 31;

const TOO_LARGE: &str = "is too large";

/// Whether [`infer`]'s error is about size alone.
#[must_use]
pub(crate) fn is_too_large(error: &str) -> bool {
    error.ends_with(TOO_LARGE)
}

/// `[2, 16, 8, 8]`, with `N` for the batch.
#[must_use]
pub(crate) fn show(shape: &[Dim]) -> String {
    let parts: Vec<String> = shape
        .iter()
        .map(|d| match d {
            Dim::Fixed(n) => n.to_string(),
            Dim::Batch(1) => "N".to_owned(),
            Dim::Batch(k) => format!("{k}N"),
        })
        .collect();
    format!("[{}]", parts.join(", "))
}

pub(super) fn fixed(shape: &[usize]) -> Vec<Dim> {
    shape.iter().map(|&n| Dim::Fixed(n)).collect()
}

pub(super) fn expect_inputs(inputs: &[&[Dim]], n: usize) -> Result<(), String> {
    if inputs.len() == n { Ok(()) } else { Err(format!("{} inputs for an operation of {n}", inputs.len())) }
}

pub(super) fn one<'a>(inputs: &[&'a [Dim]]) -> Result<&'a [Dim], String> {
    expect_inputs(inputs, 1)?;
    Ok(inputs[0])
}

pub(super) fn two<'a>(inputs: &[&'a [Dim]]) -> Result<(&'a [Dim], &'a [Dim]), String> {
    expect_inputs(inputs, 2)?;
    Ok((inputs[0], inputs[1]))
}

pub(super) fn fixed_dim(dim: Dim, what: &str) -> Result<usize, String> {
    match dim {
        Dim::Fixed(n) => Ok(n),
        Dim::Batch(_) => Err(format!("the {what} depend on the batch size")),
    }
}

/// Batch, channels, height, width.
pub(super) fn map(x: &[Dim]) -> Result<(Dim, [usize; 3]), String> {
    let [n, c, h, w] = x else { return Err(format!("expected a 4-dimensional input (N, C, H, W), got shape {}", show(x))) };
    Ok((*n, [fixed_dim(*c, "channels")?, fixed_dim(*h, "height")?, fixed_dim(*w, "width")?]))
}

pub(super) fn own(what: &str, tensors: &[&TensorSpec], shapes: &[Vec<usize>]) -> Result<(), String> {
    if tensors.len() != shapes.len() {
        return Err(format!("a {what} owns {} tensors here, not {}", shapes.len(), tensors.len()));
    }
    match tensors.iter().zip(shapes).find(|(t, s)| t.shape != **s) {
        Some((tensor, shape)) => Err(format!("this {what} needs a tensor of shape {shape:?}, but has {:?}", tensor.shape)),
        None => Ok(()),
    }
}

/// The input in front of weights of these shapes: the node's own, or behind it among the inputs where `forward` computed them.
pub(super) fn weights<'a>(what: &str, inputs: &[&'a [Dim]], tensors: &[&TensorSpec], shapes: &[Vec<usize>]) -> Result<&'a [Dim], String> {
    let Some((x, computed)) = inputs.split_first() else { return Err(format!("a {what} of nothing")) };
    if computed.is_empty() {
        own(what, tensors, shapes)?;
        return Ok(x);
    }
    if !tensors.is_empty() || computed.len() != shapes.len() {
        return Err(format!("a {what} reads {} weights here, not {}", shapes.len(), computed.len() + tensors.len()));
    }
    match computed.iter().zip(shapes).find(|(found, shape)| ***found != *fixed(shape)) {
        Some((found, shape)) => Err(format!("this {what} needs a tensor of shape {shape:?}, but has {}", show(found))),
        None => Ok(x),
    }
}

pub(super) fn inside(dim: usize, x: &[Dim]) -> Result<(), String> {
    if dim < x.len() { Ok(()) } else { Err(format!("dimension {dim} of a {}-dimensional tensor", x.len())) }
}

pub(super) fn finite(values: &[f64]) -> Result<(), String> {
    if values.iter().all(|v| v.is_finite()) { Ok(()) } else { Err("a number is not finite".to_owned()) }
}

pub(super) fn positive(what: &str, value: f64) -> Result<(), String> {
    if value.is_finite() && value >= 0.0 { Ok(()) } else { Err(format!("{what} is {value}")) }
}

pub(super) fn half(padding: [usize; 2], kernel: [usize; 2]) -> Result<(), String> {
    if padding[0] <= kernel[0] / 2 && padding[1] <= kernel[1] / 2 {
        Ok(())
    } else {
        Err(format!("pooling padding {padding:?} is more than half the kernel {kernel:?}"))
    }
}

pub(super) fn too_large() -> String {
    format!("a shape {TOO_LARGE}")
}

pub(super) fn sum(terms: &[usize]) -> Result<usize, String> {
    terms.iter().try_fold(0_usize, |a, &b| a.checked_add(b)).ok_or_else(too_large)
}

pub(super) fn product(factors: &[usize]) -> Result<usize, String> {
    factors.iter().try_fold(1_usize, |a, &b| a.checked_mul(b)).ok_or_else(too_large)
}

/// Coefficient and power of the batch size.
pub(super) fn volume(shape: &[Dim]) -> Result<(usize, u32), String> {
    shape.iter().try_fold((1_usize, 0), |(n, power), d| match d {
        Dim::Fixed(k) => Ok((n.checked_mul(*k).ok_or_else(too_large)?, power)),
        Dim::Batch(k) => Ok((n.checked_mul(*k).ok_or_else(too_large)?, power + 1)),
    })
}

pub(super) fn bounded(shape: Vec<Dim>) -> Result<Vec<Dim>, String> {
    if shape.len() > 8 {
        return Err(format!("{} dimensions", shape.len()));
    }
    let (n, _) = volume(&shape)?;
    if n > MOST_ELEMENTS { Err(format!("a tensor of shape {} {TOO_LARGE}", show(&shape))) } else { Ok(shape) }
}

/// Extent after a sliding window; `ceil` keeps a last partial window that starts inside the input or its leading padding.
pub(super) fn window(
    extent: usize,
    kernel: usize,
    stride: usize,
    padding: [usize; 2],
    dilation: usize,
    ceil: bool,
) -> Result<usize, String> {
    if kernel == 0 || stride == 0 || dilation == 0 {
        return Err("kernel, stride and dilation must be at least 1".to_owned());
    }
    let padded = sum(&[extent, padding[0], padding[1]])?;
    let reach = sum(&[product(&[dilation, kernel - 1])?, 1])?;
    let within = if ceil { sum(&[padded, stride - 1])? } else { padded };
    if within < reach || extent == 0 {
        return Err(format!("a kernel that reaches {reach} does not fit an input of {padded} (padding included)"));
    }
    let out = (within - reach) / stride + 1;
    if !ceil {
        return Ok(out);
    }
    Ok(if (out - 1) * stride >= extent + padding[0] { out - 1 } else { out })
}

/// Extent before a sliding window that gives `extent`.
pub(super) fn transposed_window(
    extent: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    output_padding: usize,
    dilation: usize,
) -> Result<usize, String> {
    if kernel == 0 || stride == 0 || dilation == 0 || extent == 0 {
        return Err("extent, kernel, stride and dilation must be at least 1".to_owned());
    }
    if output_padding >= stride {
        return Err(format!("output padding {output_padding} is not smaller than the stride {stride}"));
    }
    let whole = sum(&[product(&[extent - 1, stride])?, product(&[dilation, kernel - 1])?, 1, output_padding])?;
    let cut = product(&[2, padding])?;
    if cut >= whole {
        return Err(format!("padding {padding} cuts off all of an output of {whole}"));
    }
    Ok(whole - cut)
}

pub(super) fn broadcast(a: &[Dim], b: &[Dim]) -> Result<Vec<Dim>, String> {
    let rank = a.len().max(b.len());
    let at = |s: &[Dim], i: usize| if i + s.len() < rank { Dim::Fixed(1) } else { s[i + s.len() - rank] };
    (0..rank)
        .map(|i| match (at(a, i), at(b, i)) {
            (x, y) if x == y => Ok(x),
            (Dim::Fixed(1), y) => Ok(y),
            (x, Dim::Fixed(1)) => Ok(x),
            _ => Err(format!("shapes {} and {} do not broadcast", show(a), show(b))),
        })
        .collect()
}
