//! The same sums with the rows side by side: the gradient of a convolution by a wide kernel.
// Loops over constant extents are unrolled; written with indices they read like the formulas.
#![allow(clippy::needless_range_loop)]

#[cfg(target_arch = "x86_64")]
use crate::base::processor::{self, Level};
use crate::proxy::ops::wide;

/// Offsets of a tile of [`outer`].
const SPAN: usize = 8;

/// The factors of [`outer`].
pub(crate) struct Outer<'a> {
    /// `[image][position][row]`, see [`transpose`]; `width` rows, a multiple of 16.
    pub(crate) g: &'a [f32],
    pub(crate) width: usize,
    /// Value k of image i at position (y, x) is at `i * b_image + offsets[k] + y * b_row + x`.
    pub(crate) b: &'a [f32],
    pub(crate) b_image: usize,
    pub(crate) b_row: usize,
    pub(crate) offsets: &'a [usize],
    pub(crate) images: usize,
    /// Rows and columns of the positions.
    pub(crate) size: [usize; 2],
}

/// `sums[m * offsets.len() + k] += sum_i sum_p g[i][p][m] * b[i][offsets[k] + p]` for the rows m that `sums` has.
pub(crate) fn outer(c: &Outer, sums: &mut [f32]) {
    let positions = c.size[0] * c.size[1];
    let reach = (c.size[0] - 1) * c.b_row + c.size[1];
    let depth = c.offsets.len();
    assert!(c.width.is_multiple_of(16) && c.images > 0 && sums.len().is_multiple_of(depth) && sums.len() / depth <= c.width);
    assert!(c.images * positions * c.width <= c.g.len());
    assert!(c.offsets.iter().all(|offset| (c.images - 1) * c.b_image + offset + reach <= c.b.len()));
    for k in (0..depth).step_by(SPAN) {
        let mut m = 0;
        while m < c.width {
            let left = (c.width - m) / 16;
            // Four vectors are two tiles of two: one of a single vector has too few sums to hide an addition's latency.
            m += match left {
                1 => c.tile::<1>(m, k, sums),
                2 | 4 => c.tile::<2>(m, k, sums),
                _ => c.tile::<3>(m, k, sums),
            };
        }
    }
}

impl Outer<'_> {
    /// `V` vectors of rows from m on; gives how many rows that was. Offsets past the end repeat the last one.
    fn tile<const V: usize>(&self, m: usize, k: usize, sums: &mut [f32]) -> usize {
        let depth = self.offsets.len();
        let b: [usize; SPAN] = std::array::from_fn(|j| self.offsets[(k + j).min(depth - 1)]);
        let mut tile = [[[0f32; 16]; V]; SPAN];
        #[cfg(target_arch = "x86_64")]
        if processor::level() == Level::V4 {
            // SAFETY: the feature was just found; `outer` checked every range.
            unsafe { self.tile_avx512(m, &b, &mut tile) };
        } else if processor::level() >= Level::V3 {
            // SAFETY: the features were just found; `outer` checked every range.
            unsafe { self.tile_avx2(m, &b, &mut tile) };
        } else {
            self.tile_portable(m, &b, &mut tile);
        }
        #[cfg(not(target_arch = "x86_64"))]
        self.tile_portable(m, &b, &mut tile);
        for j in 0..SPAN.min(depth - k) {
            for i in 0..(16 * V).min((sums.len() / depth).saturating_sub(m)) {
                sums[(m + i) * depth + k + j] += tile[j][i / 16][i % 16];
            }
        }
        16 * V
    }

    fn tile_portable<const V: usize>(&self, m: usize, b: &[usize; SPAN], tile: &mut [[[f32; 16]; V]; SPAN]) {
        let positions = self.size[0] * self.size[1];
        for image in 0..self.images {
            for p in 0..positions {
                let at = image * self.b_image + p / self.size[1] * self.b_row + p % self.size[1];
                let g = &self.g[(image * positions + p) * self.width + m..][..16 * V];
                for j in 0..SPAN {
                    let value = self.b[at + b[j]];
                    for i in 0..16 * V {
                        tile[j][i / 16][i % 16] += value * g[i];
                    }
                }
            }
        }
    }

    /// The same bits as with AVX-512, a part of the tile at a time: it has twice as many sums as there are registers, or more.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn tile_avx2<const V: usize>(&self, m: usize, b: &[usize; SPAN], tile: &mut [[[f32; 16]; V]; SPAN]) {
        use std::arch::x86_64::{_mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps};
        const PART: usize = SPAN / 2;
        let [height, width] = self.size;
        for v in 0..V {
            for first in [0, PART] {
                let mut sums = [[_mm256_setzero_ps(); 2]; PART];
                for image in 0..self.images {
                    for y in 0..height {
                        // SAFETY: `outer` checked the first and the last element that each pointer reads.
                        unsafe {
                            let mut g = self.g.as_ptr().add((image * height + y) * width * self.width + m + 16 * v);
                            let row = self.b.as_ptr().add(image * self.b_image + y * self.b_row);
                            let values: [*const f32; PART] = std::array::from_fn(|j| row.add(b[first + j]));
                            for x in 0..width {
                                let rows = [_mm256_loadu_ps(g), _mm256_loadu_ps(g.add(8))];
                                for j in 0..PART {
                                    let value = _mm256_set1_ps(*values[j].add(x));
                                    for half in 0..2 {
                                        sums[j][half] = _mm256_fmadd_ps(value, rows[half], sums[j][half]);
                                    }
                                }
                                g = g.wrapping_add(self.width);
                            }
                        }
                    }
                }
                for j in 0..PART {
                    for half in 0..2 {
                        // SAFETY: each array has room for 16 values.
                        unsafe { _mm256_storeu_ps(tile[first + j][v].as_mut_ptr().add(8 * half), sums[j][half]) };
                    }
                }
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    unsafe fn tile_avx512<const V: usize>(&self, m: usize, b: &[usize; SPAN], tile: &mut [[[f32; 16]; V]; SPAN]) {
        use std::arch::x86_64::{_mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps};
        let mut sums = [[_mm512_setzero_ps(); V]; SPAN];
        let [height, width] = self.size;
        for image in 0..self.images {
            for y in 0..height {
                // SAFETY: `outer` checked the first and the last element that each pointer reads.
                unsafe {
                    let mut g = self.g.as_ptr().add((image * height + y) * width * self.width + m);
                    let row = self.b.as_ptr().add(image * self.b_image + y * self.b_row);
                    let values: [*const f32; SPAN] = std::array::from_fn(|j| row.add(b[j]));
                    for x in 0..width {
                        let mut rows = [_mm512_setzero_ps(); V];
                        for v in 0..V {
                            rows[v] = _mm512_loadu_ps(g.add(16 * v));
                        }
                        for j in 0..SPAN {
                            let value = _mm512_set1_ps(*values[j].add(x));
                            for v in 0..V {
                                sums[j][v] = _mm512_fmadd_ps(value, rows[v], sums[j][v]);
                            }
                        }
                        g = g.add(self.width);
                    }
                }
            }
        }
        for j in 0..SPAN {
            for v in 0..V {
                // SAFETY: each array has room for 16 values.
                unsafe { _mm512_storeu_ps(tile[j][v].as_mut_ptr(), sums[j][v]) };
            }
        }
    }
}

wide! {
    /// Maps of `len` elements as `[position][map]` with `width` maps, those past the last one zero.
    pub(crate) fn transpose(maps: &[f32], len: usize, width: usize, to: &mut [f32]) {
        let count = maps.len() / len;
        for first in (0..width).step_by(16) {
            for p in 0..len {
                let block = &mut to[p * width + first..][..16];
                for (i, value) in block.iter_mut().enumerate() {
                    *value = if first + i < count { maps[(first + i) * len + p] } else { 0.0 };
                }
            }
        }
    }
}
