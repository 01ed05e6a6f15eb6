//! What is chosen by a condition, by index or by size, with the gradients of the choices.

use candle_core::{DType, Device, Result, Tensor};

use crate::proxy::ops::arithmetic::reduce_to;
use crate::tracer::graph::{Comparison, Op};

pub(crate) fn compare(kind: Comparison, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let holds = match kind {
        Comparison::Lt => a.broadcast_lt(b),
        Comparison::Le => a.broadcast_le(b),
        Comparison::Gt => a.broadcast_gt(b),
        Comparison::Ge => a.broadcast_ge(b),
        Comparison::Eq => a.broadcast_eq(b),
        Comparison::Ne => a.broadcast_ne(b),
    };
    holds?.to_dtype(DType::F32)
}

/// `a` where the condition is not 0, else `b`.
pub(crate) fn choose(condition: &Tensor, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let shape = a.shape().broadcast_shape_binary_op(b.shape(), "where")?.broadcast_shape_binary_op(condition.shape(), "where")?;
    let whole = |x: &Tensor| x.broadcast_as(&shape)?.contiguous();
    whole(condition)?.ne(0f64)?.where_cond(&whole(a)?, &whole(b)?)
}

/// Places below `extent` of numbers that may count from the end.
fn places(index: &Tensor, extent: usize) -> Result<Tensor> {
    let numbers = index.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
    let place = |number: f32| {
        let from_end = if number < 0.0 { number + extent as f32 } else { number };
        if number.fract() == 0.0 && from_end >= 0.0 && from_end < extent as f32 {
            Ok(from_end as u32)
        } else {
            candle_core::bail!("index {number} is out of bounds for an extent of {extent}")
        }
    };
    let places = numbers.into_iter().map(place).collect::<Result<Vec<u32>>>()?;
    Tensor::from_vec(places, index.shape(), &Device::Cpu)?.to_device(index.device())
}

pub(crate) fn index(x: &Tensor, index: &Tensor, dim: usize) -> Result<Tensor> {
    let shape = [&x.dims()[..dim], index.dims(), &x.dims()[dim + 1..]].concat();
    x.contiguous()?.index_select(&places(index, x.dim(dim)?)?.flatten_all()?, dim)?.reshape(shape)
}

pub(crate) fn gather(x: &Tensor, index: &Tensor, dim: usize) -> Result<Tensor> {
    x.contiguous()?.gather(&places(index, x.dim(dim)?)?, dim)
}

pub(crate) fn scatter(x: &Tensor, index: &Tensor, source: &Tensor, dim: usize, add: bool) -> Result<Tensor> {
    let (x, index, source) = (x.contiguous()?, places(index, x.dim(dim)?)?, source.contiguous()?);
    if add { x.scatter_add(&index, &source, dim) } else { x.scatter(&index, &source, dim) }
}

/// Places of the `k` largest or smallest along `dim`, in order, the first of equals first; what is not a number is the largest.
pub(crate) fn top(x: &Tensor, k: usize, dim: usize, largest: bool) -> Result<Tensor> {
    let rows = rows(x, dim)?;
    let mut found = Vec::with_capacity(rows.len() * k);
    let order = |a: f32, b: f32| a.is_nan().cmp(&b.is_nan()).then(a.partial_cmp(&b).unwrap_or(std::cmp::Ordering::Equal));
    for row in &rows {
        let mut places: Vec<usize> = (0..row.len()).collect();
        // Stable: equals stay in their order.
        places.sort_by(|&i, &j| if largest { order(row[j], row[i]) } else { order(row[i], row[j]) });
        found.extend(places[..k].iter().map(|&place| place as f32));
    }
    unrows(found, x, dim, k)
}

/// Running sums along `dim`, from the last where `reverse`.
pub(crate) fn cumulated(x: &Tensor, dim: usize, reverse: bool) -> Result<Tensor> {
    let mut sums = Vec::with_capacity(x.elem_count());
    for mut row in rows(x, dim)? {
        let mut sum = 0f64;
        let step = |value: &mut f32| {
            sum += f64::from(*value);
            *value = sum as f32;
        };
        if reverse {
            row.iter_mut().rev().for_each(step);
        } else {
            row.iter_mut().for_each(step);
        }
        sums.extend(row);
    }
    unrows(sums, x, dim, x.dim(dim)?)
}

/// The lines along `dim`, in the order of the other dimensions.
fn rows(x: &Tensor, dim: usize) -> Result<Vec<Vec<f32>>> {
    let extent = x.dim(dim)?;
    let last = x.to_device(&Device::Cpu)?.transpose(dim, x.rank() - 1)?.flatten_all()?.to_vec1::<f32>()?;
    Ok(last.chunks(extent.max(1)).map(<[f32]>::to_vec).collect())
}

fn unrows(values: Vec<f32>, x: &Tensor, dim: usize, extent: usize) -> Result<Tensor> {
    let mut shape = x.dims().to_vec();
    shape[dim] = extent;
    let last = shape.len() - 1;
    shape.swap(dim, last);
    Tensor::from_vec(values, shape, &Device::Cpu)?.transpose(dim, last)?.contiguous()?.to_device(x.device())
}

/// Gradients of the inputs of an operation of this file.
pub(crate) fn choice_gradients(op: &Op, inputs: &[&Tensor], dy: &Tensor) -> Result<Vec<Option<Tensor>>> {
    match op {
        Op::Where => {
            let zero = dy.zeros_like()?;
            let of = |a: &Tensor, b: &Tensor, to: &Tensor| reduce_to(&choose(inputs[0], a, b)?, to.dims()).map(Some);
            Ok(vec![None, of(dy, &zero, inputs[1])?, of(&zero, dy, inputs[2])?])
        }
        Op::Index { dim } => {
            let (x, index) = (inputs[0], places(inputs[1], inputs[0].dim(*dim)?)?.flatten_all()?);
            let shape = [&x.dims()[..*dim], &[index.elem_count()], &x.dims()[dim + 1..]].concat();
            Ok(vec![Some(x.zeros_like()?.index_add(&index, &dy.reshape(shape)?.contiguous()?, *dim)?), None])
        }
        Op::Gather { dim } => {
            let (x, index) = (inputs[0], places(inputs[1], inputs[0].dim(*dim)?)?);
            Ok(vec![Some(x.zeros_like()?.scatter_add(&index, &dy.contiguous()?, *dim)?), None])
        }
        Op::Scatter { dim, add } => {
            let index = places(inputs[1], inputs[0].dim(*dim)?)?;
            let dy = dy.contiguous()?;
            let of_source = dy.gather(&index, *dim)?;
            let of_x = if *add { dy } else { dy.scatter(&index, &of_source.zeros_like()?, *dim)? };
            Ok(vec![Some(of_x), None, Some(of_source)])
        }
        Op::CumSum { dim } => Ok(vec![Some(cumulated(dy, *dim, true)?)]),
        op => candle_core::bail!("{op:?} chooses nothing"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(x: &Tensor) -> Vec<f32> {
        x.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn the_largest_come_in_order_with_the_first_of_equals_first() {
        let x = Tensor::new(&[[1f32, 3., 3., f32::NAN, 2.], [0., -1., 5., -1., 4.]], &Device::Cpu).unwrap();
        assert_eq!(values(&top(&x, 3, 1, true).unwrap()), [3., 1., 2., 2., 4., 0.]);
        assert_eq!(values(&top(&x, 2, 1, false).unwrap()), [0., 4., 1., 3.]);
        let across = top(&x, 1, 0, true).unwrap();
        assert_eq!((across.dims(), values(&across)), (&[1, 5][..], vec![0., 0., 1., 0., 1.]));
    }

    #[test]
    fn an_index_counts_from_both_ends_and_not_beyond() {
        let x = Tensor::new(&[10f32, 20., 30.], &Device::Cpu).unwrap();
        let at = |places: &[f32]| index(&x, &Tensor::new(places, &Device::Cpu).unwrap(), 0);
        assert_eq!(values(&at(&[2., -3., -1.]).unwrap()), [30., 10., 30.]);
        for wrong in [3.0, -4.0, 0.5, f32::NAN] {
            assert!(at(&[wrong]).is_err(), "{wrong}");
        }
    }
}
