//! Shapes of what is chosen by index, by size or by condition.

use super::extents::{broadcast, expect_inputs, inside, one, show, two};
use super::graph::{Dim, Op};

/// The shape of an operation of this file.
pub(super) fn infer(op: &Op, inputs: &[&[Dim]]) -> Result<Vec<Dim>, String> {
    match op {
        Op::Compare(_) => {
            let (a, b) = two(inputs)?;
            broadcast(a, b)
        }
        Op::Where => {
            expect_inputs(inputs, 3)?;
            broadcast(&broadcast(inputs[0], inputs[1])?, inputs[2])
        }
        Op::Index { dim } => {
            let (x, index) = two(inputs)?;
            chosen(*dim, x)?;
            Ok([&x[..*dim], index, &x[dim + 1..]].concat())
        }
        Op::Gather { dim } => {
            let (x, index) = two(inputs)?;
            alike(*dim, x, index)?;
            Ok(index.to_vec())
        }
        Op::Scatter { dim, .. } => {
            expect_inputs(inputs, 3)?;
            let (x, index, source) = (inputs[0], inputs[1], inputs[2]);
            alike(*dim, x, index)?;
            if index != source {
                return Err(format!("an index of shape {} for values of shape {}", show(index), show(source)));
            }
            Ok(x.to_vec())
        }
        Op::TopK { k, dim, .. } => {
            let x = one(inputs)?;
            let extent = chosen(*dim, x)?;
            if *k == 0 || *k > extent {
                return Err(format!("the {k} largest of {extent}"));
            }
            let mut shape = x.to_vec();
            shape[*dim] = Dim::Fixed(*k);
            Ok(shape)
        }
        Op::CumSum { dim } => {
            let x = one(inputs)?;
            chosen(*dim, x)?;
            Ok(x.to_vec())
        }
        Op::Switch => {
            let (a, b) = two(inputs)?;
            if a != b {
                return Err(format!("{} in training and {} in evaluation", show(a), show(b)));
            }
            Ok(a.to_vec())
        }
        _ => Err("not an operation that chooses".to_owned()),
    }
}

/// The extent that is chosen from: images do not mix.
fn chosen(dim: usize, x: &[Dim]) -> Result<usize, String> {
    inside(dim, x)?;
    match x[dim] {
        Dim::Fixed(extent) => Ok(extent),
        Dim::Batch(_) => Err("a choice along the batch dimension".to_owned()),
    }
}

/// Equal but for the extent of `dim`.
fn alike(dim: usize, x: &[Dim], index: &[Dim]) -> Result<(), String> {
    chosen(dim, x)?;
    let same = x.len() == index.len() && (0..x.len()).all(|d| d == dim || x[d] == index[d]);
    if same { Ok(()) } else { Err(format!("an index of shape {} for dimension {dim} of {}", show(index), show(x))) }
}
