//! Products of few rows, as decoding has them: `out (n, output) = [out +] x (n, input) W`, at most [`TILE`] rows at a time.
//!
//! `W` lies in panels of sixteen outputs, in the integers of its file where it has some, and is widened in registers: a step of
//! decoding reads each weight once, and reading f32 ones from memory is what would bound it. One row's sums run over the inputs
//! in one order with fused multiply-adds whatever `n`, the number of threads and the processor, so they are the same to the bit.

use half::bf16;
use rayon::prelude::*;

use super::matmul::Into;
use super::panel_block::{Eight, Four, Sums, WIDE};
use super::panel_kernel as kernel;

/// Rows that share one reading of a panel.
pub(crate) const TILE: usize = 16;

/// Panels one after the other, each from its first input to its last.
#[derive(Clone)]
pub(crate) enum Data {
    Four(Vec<Four>),
    Eight(Vec<Eight>),
    Half(Vec<[bf16; WIDE]>),
    Full(Vec<[f32; WIDE]>),
}

/// A matrix (input, output) in panels, the last one filled up with zeros.
#[derive(Clone)]
pub(crate) struct Panels {
    pub(crate) input: usize,
    pub(crate) output: usize,
    pub(crate) data: Data,
}

impl Panels {
    fn count(&self) -> usize {
        self.output.div_ceil(WIDE)
    }

    fn tile<const R: usize>(&self, panel: usize, x: &[f32], sums: &mut Sums<R>) {
        let span = |each: usize| panel * self.input / each..(panel + 1) * self.input / each;
        match &self.data {
            Data::Four(blocks) => kernel::four(&blocks[span(32)], x, sums),
            Data::Eight(blocks) => kernel::eight(&blocks[span(16)], x, sums),
            Data::Half(lines) => kernel::half(&lines[span(1)], x, sums),
            Data::Full(lines) => kernel::full(&lines[span(1)], x, sums),
        }
    }
}

/// A low-rank addition: `s (x A^T) B^T`, with `A^T` in panels and for each part of the output its `s B^T`.
#[derive(Clone)]
pub(crate) struct LowRankPanels {
    pub(crate) a: Panels,
    /// First output, inputs as `a`'s outputs from this one on.
    pub(crate) b: Vec<(usize, Panels)>,
}

/// `parts` side by side make the output; `low` is added to it. Rows of `x` and of `out` lie one after the other.
pub(crate) fn product(parts: &[Panels], low: Option<&LowRankPanels>, x: &[f32], out: &mut [f32], into: Into) {
    let (input, output) = (parts[0].input, parts.iter().map(|part| part.output).sum::<usize>());
    for (x, out) in x.chunks(TILE * input).zip(out.chunks_mut(TILE * output)) {
        match x.len() / input {
            1 => rows::<1>(parts, low, x, out, into),
            2 => rows::<2>(parts, low, x, out, into),
            3..=4 => rows::<4>(parts, low, x, out, into),
            5..=8 => rows::<8>(parts, low, x, out, into),
            _ => rows::<16>(parts, low, x, out, into),
        }
    }
}

/// `x (n, input)` as (input, R), filled up with zeros.
fn turned<const R: usize>(x: &[f32], input: usize) -> Vec<f32> {
    let mut turned = vec![0.0; input * R];
    for (r, row) in x.chunks(input).enumerate() {
        for (turned, x) in turned.chunks_exact_mut(R).zip(row) {
            turned[r] = *x;
        }
    }
    turned
}

fn rows<const R: usize>(parts: &[Panels], low: Option<&LowRankPanels>, x: &[f32], out: &mut [f32], into: Into) {
    let x = turned::<R>(x, parts[0].input);
    let inner = low.map(|low| {
        let mut inner = vec![0.0; low.a.count() * WIDE * R];
        inner.par_chunks_mut(WIDE * R).enumerate().for_each(|(panel, inner)| {
            let mut sums = [[0.0; WIDE]; R];
            low.a.tile(panel, &x, &mut sums);
            for (lane, inner) in inner.chunks_exact_mut(R).enumerate() {
                inner.iter_mut().zip(&sums).for_each(|(inner, sums)| *inner = sums[lane]);
            }
        });
        inner
    });
    let output = parts.iter().map(|part| part.output).sum();
    let out = Columns { data: out.as_mut_ptr(), output, rows: out.len() / output };
    let mut first = 0;
    for (index, part) in parts.iter().enumerate() {
        let added = low.zip(inner.as_ref()).map(|(low, inner)| (&low.b[index], inner));
        (0..part.count()).into_par_iter().with_min_len(4).for_each(|panel| {
            let mut sums = [[0.0; WIDE]; R];
            part.tile(panel, &x, &mut sums);
            if let Some(((from, b), inner)) = added {
                b.tile(panel, &inner[from * R..], &mut sums);
            }
            let width = WIDE.min(part.output - panel * WIDE);
            // SAFETY: no other task has these columns.
            unsafe { out.write(first + panel * WIDE, width, &sums, into) };
        });
        first += part.output;
    }
}

/// Rows of a matrix whose columns are shared out among tasks.
struct Columns {
    data: *mut f32,
    output: usize,
    rows: usize,
}

// SAFETY: `write` is called for columns that no other task has.
unsafe impl Sync for Columns {}

impl Columns {
    /// # Safety
    /// Nobody else has these columns.
    unsafe fn write<const R: usize>(&self, column: usize, width: usize, sums: &Sums<R>, into: Into) {
        assert!(column + width <= self.output && width <= WIDE);
        for (row, sums) in sums.iter().enumerate().take(self.rows) {
            // SAFETY: by the caller.
            let out = unsafe { std::slice::from_raw_parts_mut(self.data.add(row * self.output + column), width) };
            match into {
                Into::Overwrite => out.copy_from_slice(&sums[..width]),
                Into::Add => out.iter_mut().zip(sums).for_each(|(out, sum)| *out += sum),
            }
        }
    }
}
