//! Softmax attention over an explicit structure instead of a mask.
//!
//! Tokens of several sequences lie flat in one list. A [`Segment`] is a run of them that sees itself causally, one earlier
//! range (its parent: a prompt that several branches share), and everything in a cache of keys and values computed before.
//! `o_i = sum_j p_ij v_j`, `p_ij = exp(q_i k_j / sqrt(d) - lse_i)`; backward recomputes `p` from the kept `lse`.

use std::ops::Range;

use rayon::prelude::*;

use crate::decoder::ops::matmul::{Into, Threads, View, matmul};
use crate::decoder::ops::vector;

/// Query rows whose scores exist at one time.
const ROWS: usize = 64;

/// A row of `qkv` is `[query heads | key heads | value heads]`, `dim` elements a head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heads {
    pub(crate) query: usize,
    pub(crate) kv: usize,
    pub(crate) dim: usize,
}

impl Heads {
    pub(crate) fn stride(self) -> usize {
        (self.query + 2 * self.kv) * self.dim
    }

    /// Query heads that share one key head.
    pub(crate) fn group(self) -> usize {
        self.query / self.kv
    }

    pub(crate) fn key_at(self, kv: usize) -> usize {
        (self.query + kv) * self.dim
    }

    pub(crate) fn value_at(self, kv: usize) -> usize {
        (self.query + self.kv + kv) * self.dim
    }

    pub(crate) fn scale(self) -> f32 {
        (1.0 / (self.dim as f64).sqrt()) as f32
    }
}

/// Consecutive tokens of one sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) tokens: Range<usize>,
    /// Tokens (of an earlier segment) that all of these see; empty without a parent.
    pub(crate) parent: Range<usize>,
}

/// Keys and values of one layer computed before, `len * dim` elements a key head; every token sees them.
#[derive(Clone, Copy)]
pub(crate) struct Past<'a> {
    pub(crate) keys: &'a [Vec<f32>],
    pub(crate) values: &'a [Vec<f32>],
    pub(crate) len: usize,
}

/// What backward needs besides `qkv`.
pub(crate) struct Attended {
    /// `(n, query heads * dim)`
    pub(crate) out: Vec<f32>,
    /// `(query heads, n)`
    pub(crate) lse: Vec<f32>,
}

/// Keys one block of queries sees: where their scores start, and the keys and values.
struct Span<'a> {
    at: usize,
    len: usize,
    keys: View<'a>,
    values: View<'a>,
    /// The first token, for spans inside `qkv`.
    first: Option<usize>,
}

/// Up to [`ROWS`] queries of a segment and the spans they see; the last span is their own segment up to the last query.
struct Block<'a> {
    rows: Range<usize>,
    spans: Vec<Span<'a>>,
    keys: usize,
    /// Keys that the first query sees; each next one sees one more.
    first_sees: usize,
}

fn blocks<'a>(heads: Heads, qkv: &'a [f32], segments: &'a [Segment], past: Option<Past<'a>>, kv: usize) -> impl Iterator<Item = Block<'a>> {
    let (dim, stride) = (heads.dim, heads.stride());
    let inside = move |tokens: Range<usize>, at| {
        let rows = &qkv[tokens.start * stride..];
        let len = tokens.len();
        let view = |column| View::strided(&rows[column..], len, dim, stride);
        Span { at, len, keys: view(heads.key_at(kv)), values: view(heads.value_at(kv)), first: Some(tokens.start) }
    };
    segments.iter().flat_map(move |segment| {
        segment.tokens.clone().step_by(ROWS).map(move |start| {
            let rows = start..(start + ROWS).min(segment.tokens.end);
            let mut spans = Vec::with_capacity(3);
            let mut at = 0;
            if let Some(past) = past {
                let view = |heads: &'a [Vec<f32>]| View::new(&heads[kv], past.len, dim);
                spans.push(Span { at, len: past.len, keys: view(past.keys), values: view(past.values), first: None });
                at += past.len;
            }
            if !segment.parent.is_empty() {
                spans.push(inside(segment.parent.clone(), at));
                at += segment.parent.len();
            }
            spans.push(inside(segment.tokens.start..rows.end, at));
            Block { first_sees: at + start - segment.tokens.start + 1, keys: at + rows.end - segment.tokens.start, rows, spans }
        })
    })
}

/// `qkv (n, stride)`, already turned by its positions.
pub(crate) fn forward(heads: Heads, qkv: &[f32], segments: &[Segment], past: Option<Past>) -> Attended {
    let (dim, stride, scale) = (heads.dim, heads.stride(), heads.scale());
    let n = qkv.len() / stride;
    let mut by_head = vec![0.0; heads.query * n * dim];
    let mut lse = vec![0.0; heads.query * n];
    by_head.par_chunks_mut(n * dim).zip(lse.par_chunks_mut(n)).enumerate().for_each_init(Vec::new, |scores, (head, (out, lse))| {
        for block in blocks(heads, qkv, segments, past, head / heads.group()) {
            let (rows, keys) = (block.rows.len(), block.keys);
            scores.resize(rows * keys, 0.0);
            let query = View::strided(&qkv[block.rows.start * stride + head * dim..], rows, dim, stride);
            for span in &block.spans {
                matmul(&mut scores[span.at..], keys, Into::Overwrite, 1.0, query, span.keys.t(), Threads::One);
            }
            for (i, row) in scores.chunks_mut(keys).enumerate() {
                let (seen, hidden) = row.split_at_mut(block.first_sees + i);
                let shift = scale * vector::max(seen);
                let sum = vector::exp_sum(seen, scale, shift);
                vector::scale(seen, 1.0 / sum);
                hidden.fill(0.0);
                lse[block.rows.start + i] = shift + sum.ln();
            }
            let out = &mut out[block.rows.start * dim..][..rows * dim];
            for (i, span) in block.spans.iter().enumerate() {
                let into = if i == 0 { Into::Overwrite } else { Into::Add };
                matmul(out, dim, into, 1.0, View::strided(&scores[span.at..], rows, span.len, keys), span.values, Threads::One);
            }
        }
    });
    let mut out = vec![0.0; by_head.len()];
    out.par_chunks_mut(heads.query * dim).with_min_len(16).enumerate().for_each(|(i, row)| {
        for (head, row) in row.chunks_mut(dim).enumerate() {
            row.copy_from_slice(&by_head[(head * n + i) * dim..][..dim]);
        }
    });
    Attended { out, lse }
}

/// The gradient of `qkv` from `g`, that of `kept.out`.
pub(crate) fn backward(heads: Heads, qkv: &[f32], segments: &[Segment], kept: &Attended, g: &[f32]) -> Vec<f32> {
    let (dim, stride, scale) = (heads.dim, heads.stride(), heads.scale());
    let (n, width) = (qkv.len() / stride, heads.query * dim);
    // One query head a task; each has gradients of the query, key and value of its own, added up below in a fixed order.
    let mut by_head = vec![0.0; heads.query * 3 * n * dim];
    by_head.par_chunks_mut(3 * n * dim).enumerate().for_each_init(
        || (Vec::new(), Vec::new()),
        |(scores, slopes), (head, gradients)| {
            let (dq, rest) = gradients.split_at_mut(n * dim);
            let (dk, dv) = rest.split_at_mut(n * dim);
            for block in blocks(heads, qkv, segments, None, head / heads.group()) {
                let (start, rows, keys) = (block.rows.start, block.rows.len(), block.keys);
                scores.resize(rows * keys, 0.0);
                slopes.resize(rows * keys, 0.0);
                let query = View::strided(&qkv[start * stride + head * dim..], rows, dim, stride);
                let g_out = View::strided(&g[start * width + head * dim..], rows, dim, width);
                for span in &block.spans {
                    matmul(&mut scores[span.at..], keys, Into::Overwrite, 1.0, query, span.keys.t(), Threads::One);
                    matmul(&mut slopes[span.at..], keys, Into::Overwrite, 1.0, g_out, span.values.t(), Threads::One);
                }
                for (i, row) in scores.chunks_mut(keys).enumerate() {
                    let (seen, hidden) = row.split_at_mut(block.first_sees + i);
                    vector::exp_sum(seen, scale, kept.lse[head * n + start + i]);
                    hidden.fill(0.0);
                }
                for span in &block.spans {
                    let dv = &mut dv[span.first.expect("no cache in training") * dim..];
                    matmul(dv, dim, Into::Add, 1.0, View::strided(&scores[span.at..], rows, span.len, keys).t(), g_out, Threads::One);
                }
                for (i, (row, slope)) in scores.chunks_mut(keys).zip(slopes.chunks(keys)).enumerate() {
                    let at = (start + i) * width + head * dim;
                    let shift = vector::dot(&g[at..at + dim], &kept.out[at..at + dim]);
                    vector::softmax_backward(row, slope, shift, scale);
                }
                for (i, span) in block.spans.iter().enumerate() {
                    let weights = View::strided(&scores[span.at..], rows, span.len, keys);
                    let into = if i == 0 { Into::Overwrite } else { Into::Add };
                    matmul(&mut dq[start * dim..], dim, into, 1.0, weights, span.keys, Threads::One);
                    matmul(
                        &mut dk[span.first.expect("no cache in training") * dim..],
                        dim,
                        Into::Add,
                        1.0,
                        weights.t(),
                        query,
                        Threads::One,
                    );
                }
            }
        },
    );
    let mut out = vec![0.0; qkv.len()];
    out.par_chunks_mut(stride).with_min_len(16).enumerate().for_each(|(i, row)| {
        let part = |head: usize, which: usize| &by_head[((head * 3 + which) * n + i) * dim..][..dim];
        for head in 0..heads.query {
            let kv = head / heads.group();
            row[head * dim..][..dim].copy_from_slice(part(head, 0));
            vector::axpy(&mut row[heads.key_at(kv)..][..dim], 1.0, part(head, 1));
            vector::axpy(&mut row[heads.value_at(kv)..][..dim], 1.0, part(head, 2));
        }
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(n: usize, seed: f32) -> Vec<f32> {
        (0..n).map(|i| ((i as f32 + 1.0) * seed).sin()).collect()
    }

    /// Two prompts, the first with two branches, in double precision from the definition.
    fn naive(heads: Heads, qkv: &[f32], segments: &[Segment]) -> Vec<f64> {
        let (dim, stride) = (heads.dim, heads.stride());
        let n = qkv.len() / stride;
        let mut out = vec![0.0; n * heads.query * dim];
        for segment in segments {
            for i in segment.tokens.clone() {
                let seen: Vec<usize> = segment.parent.clone().chain(segment.tokens.start..=i).collect();
                for head in 0..heads.query {
                    let at = |token: usize, column: usize, e: usize| f64::from(qkv[token * stride + column + e]);
                    let kv = head / heads.group();
                    let weight =
                        |j: usize| (0..dim).map(|e| at(i, head * dim, e) * at(j, heads.key_at(kv), e)).sum::<f64>() / (dim as f64).sqrt();
                    let weights: Vec<f64> = seen.iter().map(|j| weight(*j).exp()).collect();
                    let sum: f64 = weights.iter().sum();
                    for e in 0..dim {
                        let value: f64 = seen.iter().zip(&weights).map(|(j, w)| w * at(*j, heads.value_at(kv), e)).sum();
                        out[(i * heads.query + head) * dim + e] = value / sum;
                    }
                }
            }
        }
        out
    }

    fn example() -> (Heads, Vec<f32>, Vec<Segment>) {
        let heads = Heads { query: 4, kv: 2, dim: 6 };
        let segments = vec![
            Segment { tokens: 0..70, parent: 0..0 },
            Segment { tokens: 70..75, parent: 0..70 },
            Segment { tokens: 75..145, parent: 0..70 },
            Segment { tokens: 145..150, parent: 0..0 },
        ];
        (heads, numbers(150 * heads.stride(), 0.713), segments)
    }

    #[test]
    fn forward_equals_the_definition() {
        let (heads, qkv, segments) = example();
        let kept = forward(heads, &qkv, &segments, None);
        for (a, b) in kept.out.iter().zip(naive(heads, &qkv, &segments)) {
            assert!((f64::from(*a) - b).abs() < 1e-5);
        }
    }

    #[test]
    fn a_past_equals_the_same_tokens_in_front() {
        let (heads, qkv, _) = example();
        let (dim, stride) = (heads.dim, heads.stride());
        let whole = forward(heads, &qkv, &[Segment { tokens: 0..150, parent: 0..0 }], None);
        let column = |at: usize| (0..100).flat_map(|i| qkv[i * stride + at..][..dim].to_vec()).collect::<Vec<f32>>();
        let keys: Vec<_> = (0..2).map(|kv| column(heads.key_at(kv))).collect();
        let values: Vec<_> = (0..2).map(|kv| column(heads.value_at(kv))).collect();
        let past = Past { keys: &keys, values: &values, len: 100 };
        let rest = forward(heads, &qkv[100 * stride..], &[Segment { tokens: 0..50, parent: 0..0 }], Some(past));
        for (a, b) in rest.out.iter().zip(&whole.out[100 * heads.query * dim..]) {
            assert!((a - b).abs() < 1e-5);
        }
    }

    #[test]
    fn backward_equals_finite_differences() {
        let (heads, mut qkv, segments) = example();
        let kept = forward(heads, &qkv, &segments, None);
        let g = numbers(kept.out.len(), 0.391);
        let gradient = backward(heads, &qkv, &segments, &kept, &g);
        let loss = |qkv: &[f32]| naive(heads, qkv, &segments).iter().zip(&g).map(|(o, g)| o * f64::from(*g)).sum::<f64>();
        for at in (0..qkv.len()).step_by(577) {
            let value = qkv[at];
            qkv[at] = value + 1e-2;
            let up = loss(&qkv);
            qkv[at] = value - 1e-2;
            let down = loss(&qkv);
            qkv[at] = value;
            let numeric = (up - down) / 2e-2;
            assert!(
                (numeric - f64::from(gradient[at])).abs() < 2e-3 * (1.0 + numeric.abs()),
                "at {at}: {numeric} against {}",
                gradient[at]
            );
        }
    }
}
