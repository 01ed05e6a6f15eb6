//! Three products over a table of offsets: all the arithmetic of a convolution.
//!
//! A convolution with stride 1 reads, for each tap of its kernel, the padded image shifted by a constant. So no matrix of
//! patches is written: the taps are offsets into the padded image, and row `k` of the right factor starts at `offsets[k]`.
//!
//! - [`product`]: `out[m][p] = bias[m] + sum_k a[m][k] * b[offsets[k] + p]`
//! - [`correlate`]: `sums[m][k] += sum_i sum_p g[i][m][p] * b[i][offsets[k] + p]`
//! - [`outer`]: the same sums with the rows m of g side by side in a vector, so that nothing past an output map is read.
//!
//! All keep a tile of the result in registers. The order of each sum is fixed by the shapes alone.

mod correlate;
mod outer;
mod product;

pub(crate) use correlate::{Correlation, correlate};
pub(crate) use outer::{Outer, outer, transpose};
pub(crate) use product::{Packed, product};

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::base::processor::{self, Level};

    fn numbers(n: usize, salt: f32) -> Vec<f32> {
        (0..n).map(|i| ((i as f32 + salt) * 0.618_034).fract() - 0.5).collect()
    }

    /// With AVX2 and with AVX-512: whichever this machine has, a sum is that of one fused step after the other.
    #[test]
    fn sums_have_the_bits_of_fused_steps_in_order() {
        if processor::level() < Level::V3 {
            return;
        }
        let (b, offsets) = (numbers(400, 0.3), [0, 1, 2, 34, 35, 36, 68, 69, 70, 7, 9]);
        for (rows, len) in [(1, 5), (2, 33), (3, 24), (4, 51), (7, 8), (8, 17), (13, 100)] {
            let (weights, bias) = (numbers(rows * offsets.len(), 0.7), numbers(rows, 0.1));
            let packed = Packed::new(rows, offsets.len(), |row, k| weights[row * offsets.len() + k]);
            let mut out = vec![0f32; rows * len];
            product(&packed, &b, &offsets, len, &mut out, len, Some(&bias));
            for (m, p) in (0..rows).flat_map(|m| (0..len).map(move |p| (m, p))) {
                let step = |sum, (k, offset): (usize, &usize)| weights[m * offsets.len() + k].mul_add(b[offset + p], sum);
                assert_eq!(out[m * len + p], offsets.iter().enumerate().fold(bias[m], step), "{rows} rows, {len}");
            }
        }
        for (rows, len) in [(1, 5), (2, 16), (3, 33), (4, 48), (5, 51), (7, 100)] {
            let g = numbers(2 * rows * len, 0.2);
            let of = Correlation { g: &g, g_image: rows * len, g_row: len, b: &b, b_image: 150, offsets: &offsets, images: 2, rows, len };
            let mut sums = vec![0f32; rows * offsets.len()];
            correlate(&of, &mut sums);
            for (m, k) in (0..rows).flat_map(|m| (0..offsets.len()).map(move |k| (m, k))) {
                let mut lanes = [0f32; 16];
                for (i, p) in (0..2).flat_map(|i| (0..len).map(move |p| (i, p))) {
                    lanes[p % 16] = g[(i * rows + m) * len + p].mul_add(b[i * 150 + offsets[k] + p], lanes[p % 16]);
                }
                assert_eq!(sums[m * offsets.len() + k], crate::proxy::ops::tree(lanes), "{rows} rows, {len}");
            }
        }
        for (width, images, size) in [(16, 1, [3, 5]), (32, 2, [4, 4]), (48, 2, [2, 7]), (64, 1, [5, 3])] {
            let (positions, rows) = (size[0] * size[1], width - 3);
            let g = numbers(images * positions * width, 0.2);
            let outer_of = Outer { g: &g, width, b: &b, b_image: 150, b_row: 10, offsets: &offsets, images, size };
            let mut sums = vec![0f32; rows * offsets.len()];
            outer(&outer_of, &mut sums);
            for (m, k) in (0..rows).flat_map(|m| (0..offsets.len()).map(move |k| (m, k))) {
                let places = (0..images).flat_map(|i| (0..positions).map(move |p| (i, p)));
                let at = |i: usize, p: usize| b[i * 150 + offsets[k] + p / size[1] * 10 + p % size[1]];
                let sum = places.fold(0f32, |sum, (i, p)| at(i, p).mul_add(g[(i * positions + p) * width + m], sum));
                assert_eq!(sums[m * offsets.len() + k], sum, "{width}");
            }
        }
    }
}
