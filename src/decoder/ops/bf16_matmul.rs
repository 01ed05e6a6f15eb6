//! Strided matrix product of factors rounded to bf16, summed in f32: `out (m, n) = [out +] a (m, k) b (k, n)`.
//!
//! With AVX512-BF16 a processor multiplies twice as many bf16 numbers a cycle as f32 ones. Both factors are packed as pairs of
//! neighbours along `k`, which its instruction adds up: `a` in tiles of rows, `b` in panels of columns, as many pairs at a time as the
//! nearest cache holds. An element's sum runs over `k` in one order, so it does not depend on the number of threads. Without
//! AVX512-BF16 the rounded factors go through the f32 product: the same but for the rounding of the sums.

use half::bf16;

use super::matmul::{Into, Threads, View, matmul};
use crate::decoder::settings::llm::TuningDtype;

/// The product in the type that is asked for, on all threads; `out` has rows `stride` apart.
pub(crate) fn matmul_in(dtype: TuningDtype, out: &mut [f32], stride: usize, into: Into, a: View, b: View) {
    match dtype {
        TuningDtype::F32 => matmul(out, stride, into, 1.0, a, b, Threads::All),
        TuningDtype::Bf16 => bf16_matmul(out, stride, into, a, b),
    }
}

fn bf16_matmul(out: &mut [f32], stride: usize, into: Into, a: View, b: View) {
    let ([m, k], [inner, n]) = (a.size(), b.size());
    assert_eq!(k, inner, "inner sizes of a matrix product");
    if m == 0 || n == 0 {
        return;
    }
    assert!((m - 1) * stride + n <= out.len(), "a {m} x {n} product outside its slice");
    #[cfg(target_arch = "x86_64")]
    if wide::is_there() && k > 0 {
        return wide::product(out, stride, into, a, b);
    }
    by_f32(out, stride, into, a, b);
}

/// Some columns at a time: `b` can be large.
fn by_f32(out: &mut [f32], stride: usize, into: Into, a: View, b: View) {
    let ([m, k], [_, n]) = (a.size(), b.size());
    let round = |view: View, first: usize, columns: usize| -> Vec<f32> {
        let number = |i: usize| view.at(i / columns, first + i % columns);
        (0..view.size()[0] * columns).map(|i| bf16::from_f32(number(i)).to_f32()).collect()
    };
    let left = round(a, 0, k);
    let together = ((1 << 20) / k.max(1)).clamp(1, n);
    for first in (0..n).step_by(together) {
        let columns = together.min(n - first);
        let right = round(b, first, columns);
        matmul(&mut out[first..], stride, into, 1.0, View::new(&left, m, k), View::new(&right, k, columns), Threads::All);
    }
}

#[cfg(target_arch = "x86_64")]
mod wide {
    use std::arch::x86_64::{
        __m512, __m512bh, __m512i, _mm512_cvtne2ps_pbh, _mm512_dpbf16_ps, _mm512_loadu_si512, _mm512_mask_storeu_epi32,
        _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps, _mm512_permutexvar_epi16, _mm512_set1_epi32, _mm512_setzero_ps, _mm512_storeu_si512,
    };

    use rayon::prelude::*;

    use super::{Into, View};
    use crate::base::processor::{self, Level};

    /// Of a tile: with two registers a row, and three for the factors, what the 32 registers hold.
    const ROWS: usize = 14;
    /// Of a panel.
    const COLUMNS: usize = 32;
    /// A tile and a panel of so many pairs lie in the first-level cache together.
    const PAIRS: usize = 128;
    /// Panels of a task, at most.
    const TOGETHER: usize = 8;

    pub(crate) fn is_there() -> bool {
        processor::level() == Level::V4 && std::arch::is_x86_feature_detected!("avx512bf16")
    }

    /// [`is_there`] holds, and there is something to multiply.
    pub(crate) fn product(out: &mut [f32], stride: usize, into: Into, a: View, b: View) {
        let ([m, k], [_, n]) = (a.size(), b.size());
        let (pairs, tiles, panels) = (k.div_ceil(2), m.div_ceil(ROWS), n.div_ceil(COLUMNS));
        // Block after block of pairs, in it tile after tile.
        let mut packed = vec![0_u32; tiles * ROWS * pairs];
        packed.par_chunks_mut(tiles * ROWS * PAIRS).enumerate().for_each(|(block, packed)| {
            // SAFETY: the features are there.
            unsafe { pack::<ROWS>(a, 0, block * PAIRS, packed.len() / (tiles * ROWS), packed) };
        });
        let out = Out { data: out.as_mut_ptr(), stride };
        let each = panels.div_ceil(4 * rayon::current_num_threads()).clamp(1, TOGETHER);
        (0..panels.div_ceil(each)).into_par_iter().for_each(|task| {
            let (first, count) = (task * each, each.min(panels - task * each));
            let mut b_packed = vec![0_u32; count * COLUMNS * PAIRS.min(pairs)];
            for (block, packed) in packed.chunks(tiles * ROWS * PAIRS).enumerate() {
                let depth = packed.len() / (tiles * ROWS);
                let b_packed = &mut b_packed[..count * COLUMNS * depth];
                // SAFETY: the features are there.
                unsafe { pack::<COLUMNS>(b.t(), first * COLUMNS, block * PAIRS, depth, b_packed) };
                let fresh = block == 0 && into == Into::Overwrite;
                for (panel, b_packed) in b_packed.chunks_exact(COLUMNS * depth).enumerate() {
                    for (tile, packed) in packed.chunks_exact(ROWS * depth).enumerate() {
                        let corner = [tile * ROWS, (first + panel) * COLUMNS];
                        let size = [ROWS.min(m - corner[0]), COLUMNS.min(n - corner[1])];
                        // SAFETY: the features are there; the tile lies inside `out`, and no other task has its columns.
                        unsafe { multiply(packed, b_packed, &out, corner, size, fresh) };
                    }
                }
            }
        });
    }

    /// A matrix whose columns are shared out among tasks.
    struct Out {
        data: *mut f32,
        stride: usize,
    }

    // SAFETY: a task touches only columns that no other task has.
    unsafe impl Sync for Out {}

    /// Up to sixteen numbers of each, rounded: those of `low`, then those of `high`; zero where there are none.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    fn rounded(low: &[f32], high: &[f32]) -> __m512i {
        // SAFETY: as many numbers are read as there are.
        let [low, high] = [low, high].map(|from| unsafe { _mm512_maskz_loadu_ps(lanes(from.len()), from.as_ptr()) });
        // SAFETY: both are bits.
        unsafe { std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low)) }
    }

    /// The first `n` of sixteen.
    fn lanes(n: usize) -> u16 {
        if n < 16 { (1 << n) - 1 } else { u16::MAX }
    }

    /// Groups of `WIDTH` rows of `from`, from row `first` on as many as there is room for: `depth` pairs of each from `pair` on, as
    /// (group, pair, row); zero where `from` has ended.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    fn pack<const WIDTH: usize>(from: View, first: usize, pair: usize, depth: usize, into: &mut [u32]) {
        if from.row_from(0, 0).is_none() {
            return pack_across::<WIDTH>(from.t(), first, pair, depth, into);
        }
        for (group, into) in into.chunks_exact_mut(WIDTH * depth).enumerate() {
            let start = first + group * WIDTH;
            let rows = WIDTH.min(from.size()[0] - start);
            if rows < WIDTH {
                into.fill(0);
            }
            for row in 0..rows {
                let numbers = from.row_from(start + row, 2 * pair).unwrap_or_default();
                for (numbers, into) in numbers.chunks(32).zip(into.chunks_mut(16 * WIDTH)) {
                    let (low, high) = numbers.split_at(numbers.len().min(16));
                    let mut twos = [0_u32; 16];
                    // SAFETY: sixteen pairs.
                    unsafe { _mm512_storeu_si512(twos.as_mut_ptr().cast(), rounded(low, high)) };
                    into[row..].iter_mut().step_by(WIDTH).zip(twos).for_each(|(into, two)| *into = two);
                }
            }
        }
    }

    /// The same for columns of `from`, whose lines are read along all groups: memory likes that.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    fn pack_across<const WIDTH: usize>(from: View, first: usize, pair: usize, depth: usize, into: &mut [u32]) {
        let [k, columns] = from.size();
        let in_turn: [u16; 32] = std::array::from_fn(|i| (i / 2 + i % 2 * 16) as u16);
        // SAFETY: thirty-two numbers.
        let in_turn = unsafe { _mm512_loadu_si512(in_turn.as_ptr().cast()) };
        for index in 0..depth {
            let at = 2 * (pair + index);
            let line = |at: usize| if at < k { from.row_from(at, 0).unwrap_or_default() } else { &[] };
            let (even, odd) = (line(at), line(at + 1));
            for (group, into) in into.chunks_exact_mut(WIDTH * depth).enumerate() {
                let start = first + group * WIDTH;
                for (part, into) in into[index * WIDTH..][..WIDTH].chunks_mut(16).enumerate() {
                    let (from, to) = (start + 16 * part, columns.min(start + 16 * part + into.len()));
                    let [even, odd] = [even, odd].map(|line| line.get(from..to).unwrap_or_default());
                    let twos = _mm512_permutexvar_epi16(in_turn, rounded(even, odd));
                    // SAFETY: as many as there is room for.
                    unsafe { _mm512_mask_storeu_epi32(into.as_mut_ptr().cast(), lanes(into.len()), twos) };
                }
            }
        }
    }

    /// Adds one block's products to a tile of the output, or writes them there.
    ///
    /// # Safety
    /// The tile lies inside `out`, and nobody else has it.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn multiply(a: &[u32], b: &[u32], out: &Out, [row, column]: [usize; 2], [rows, columns]: [usize; 2], fresh: bool) {
        let masks = [lanes(columns), lanes(columns.saturating_sub(16))];
        let place = |r: usize, half: usize| out.data.wrapping_add((row + r) * out.stride + column + 16 * half);
        let mut sums: [[__m512; 2]; ROWS] = [[_mm512_setzero_ps(); 2]; ROWS];
        if !fresh {
            for (r, sums) in sums.iter_mut().enumerate().take(rows) {
                for half in 0..2 {
                    // SAFETY: by the caller and the mask.
                    sums[half] = unsafe { _mm512_maskz_loadu_ps(masks[half], place(r, half)) };
                }
            }
        }
        for (a, b) in a.as_chunks::<ROWS>().0.iter().zip(b.as_chunks::<COLUMNS>().0) {
            // SAFETY: thirty-two pairs, which are bits.
            let b: [__m512bh; 2] = [0, 16].map(|half| unsafe { std::mem::transmute(_mm512_loadu_si512(b[half..].as_ptr().cast())) });
            for r in 0..ROWS {
                // SAFETY: bits.
                let a: __m512bh = unsafe { std::mem::transmute(_mm512_set1_epi32(a[r].cast_signed())) };
                sums[r][0] = _mm512_dpbf16_ps(sums[r][0], a, b[0]);
                sums[r][1] = _mm512_dpbf16_ps(sums[r][1], a, b[1]);
            }
        }
        for (r, sums) in sums.iter().enumerate().take(rows) {
            for half in 0..2 {
                // SAFETY: by the caller and the mask.
                unsafe { _mm512_mask_storeu_ps(place(r, half), masks[half], sums[half]) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(n: usize, by: f32) -> Vec<f32> {
        (0..n).map(|i| (i as f32 * by).sin()).collect()
    }

    fn half(x: f32) -> f64 {
        f64::from(bf16::from_f32(x).to_f32())
    }

    /// Sizes around every edge of tiles, panels and blocks, both orders of both factors.
    #[test]
    fn equals_the_sum_of_rounded_products() {
        for (m, k, n) in [(1, 1, 1), (14, 2, 32), (15, 33, 33), (3, 255, 47), (29, 257, 16), (2, 600, 70), (43, 515, 31)] {
            let (a, b) = (values(m * k, 0.37), values(k * n, 0.11));
            for (a, b) in [
                (View::new(&a, m, k), View::new(&b, k, n)),
                (View::new(&a, k, m).t(), View::new(&b, k, n)),
                (View::new(&a, m, k), View::new(&b, n, k).t()),
            ] {
                let stride = n + 3;
                let mut out = vec![0.5; m * stride];
                let mut without = out.clone();
                bf16_matmul(&mut out, stride, Into::Add, a, b);
                by_f32(&mut without, stride, Into::Add, a, b);
                let mut over = vec![f32::NAN; m * stride];
                bf16_matmul(&mut over, stride, Into::Overwrite, a, b);
                for i in 0..m {
                    for j in 0..stride {
                        let at = i * stride + j;
                        if j >= n {
                            assert!(out[at] == 0.5 && over[at].is_nan(), "wrote outside at {i}, {j}");
                            continue;
                        }
                        let sum: f64 = (0..k).map(|l| half(a.at(i, l)) * half(b.at(l, j))).sum();
                        let exact: f64 = (0..k).map(|l| f64::from(a.at(i, l)) * f64::from(b.at(l, j))).sum();
                        let near = 1e-6 * (k as f64).sqrt() * 4.0;
                        assert!((f64::from(out[at]) - 0.5 - sum).abs() < near, "{m} {k} {n} at {i}, {j}");
                        assert!((f64::from(over[at]) - sum).abs() < near && (f64::from(without[at]) - 0.5 - sum).abs() < near);
                        assert!((sum - exact).abs() < 8e-3 * (k as f64).sqrt());
                    }
                }
            }
        }
    }

    #[test]
    fn a_wrong_number_stays_one() {
        let (mut a, b) = (values(70, 0.37), values(70, 0.11));
        a[40] = f32::NAN;
        let mut out = vec![0.0; 4];
        bf16_matmul(&mut out, 2, Into::Overwrite, View::new(&a, 2, 35), View::new(&b, 35, 2));
        assert!(out[..2].iter().all(|v| v.is_finite()) && out[2..].iter().all(|v| v.is_nan()));
    }
}
