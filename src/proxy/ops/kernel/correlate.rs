//! Sums over the positions of a map: the gradient of a convolution by a narrow kernel.
// Loops over constant extents are unrolled; written with indices they read like the formulas.
#![allow(clippy::needless_range_loop)]

#[cfg(target_arch = "x86_64")]
use crate::base::processor::{self, Level};
use crate::proxy::ops::{LANES, tree, wide};

/// The factors of [`correlate`] and where their rows and images lie.
pub(crate) struct Correlation<'a> {
    /// Row m of image i starts at `i * g_image + m * g_row`.
    pub(crate) g: &'a [f32],
    pub(crate) g_image: usize,
    pub(crate) g_row: usize,
    /// Row k of image i starts at `i * b_image + offsets[k]`.
    pub(crate) b: &'a [f32],
    pub(crate) b_image: usize,
    pub(crate) offsets: &'a [usize],
    pub(crate) images: usize,
    pub(crate) rows: usize,
    pub(crate) len: usize,
}

/// Offsets of a tile of [`correlate`].
const DEPTH: usize = 6;

/// Offsets of a part of it.
#[cfg(target_arch = "x86_64")]
const PART: usize = DEPTH / 2;

/// `sums[m * offsets.len() + k] += sum_i sum_p g[i][m][p] * b[i][offsets[k] + p]`.
pub(crate) fn correlate(c: &Correlation, sums: &mut [f32]) {
    let last = c.images - 1;
    assert_eq!(sums.len(), c.rows * c.offsets.len());
    assert!(last * c.g_image + (c.rows - 1) * c.g_row + c.len <= c.g.len());
    assert!(c.offsets.iter().all(|offset| last * c.b_image + offset + c.len <= c.b.len()));
    match c.rows {
        1 => c.tiles::<1>(sums),
        2 => c.tiles::<2>(sums),
        _ => c.tiles::<4>(sums),
    }
}

impl Correlation<'_> {
    fn tiles<const M: usize>(&self, sums: &mut [f32]) {
        let depth = self.offsets.len();
        for k in (0..depth).step_by(DEPTH) {
            for m in (0..self.rows).step_by(M) {
                let tile = self.tile::<M>(m, k);
                for i in 0..M.min(self.rows - m) {
                    for j in 0..DEPTH.min(depth - k) {
                        sums[(m + i) * depth + k + j] += tile[i][j];
                    }
                }
            }
        }
    }

    /// Rows and offsets past the end repeat the last one; their sums are not used.
    fn tile<const M: usize>(&self, m: usize, k: usize) -> [[f32; DEPTH]; M] {
        let g: [usize; M] = std::array::from_fn(|i| (m + i).min(self.rows - 1) * self.g_row);
        let b: [usize; DEPTH] = std::array::from_fn(|j| self.offsets[(k + j).min(self.offsets.len() - 1)]);
        #[cfg(target_arch = "x86_64")]
        if processor::level() == Level::V4 {
            // SAFETY: the feature was just found; `correlate` checked every range.
            return unsafe { self.tile_avx512(&g, &b) };
        }
        #[cfg(target_arch = "x86_64")]
        if processor::level() >= Level::V3 {
            // SAFETY: the features were just found; `correlate` checked every range.
            return unsafe { self.tile_avx2(&g, &b) };
        }
        self.tile_portable(&g, &b)
    }

    fn tile_portable<const M: usize>(&self, g: &[usize; M], b: &[usize; DEPTH]) -> [[f32; DEPTH]; M] {
        let mut sums = [[0f32; DEPTH]; M];
        for image in 0..self.images {
            for (i, &row) in g.iter().enumerate() {
                let left = &self.g[image * self.g_image + row..][..self.len];
                for (j, &offset) in b.iter().enumerate() {
                    sums[i][j] += dot(left, &self.b[image * self.b_image + offset..][..self.len]);
                }
            }
        }
        sums
    }

    /// The same bits as with AVX-512, a part of the tile at a time: it has more sums than there are registers.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn tile_avx2<const M: usize>(&self, g: &[usize; M], b: &[usize; DEPTH]) -> [[f32; DEPTH]; M] {
        let mut sums = [[0f32; DEPTH]; M];
        for j in (0..DEPTH).step_by(PART) {
            let offsets: [usize; PART] = std::array::from_fn(|place| b[j + place]);
            for i in (0..M).step_by(2) {
                let mut take = |row: usize, part: [f32; PART]| sums[row][j..j + PART].copy_from_slice(&part);
                // SAFETY: `correlate` checked every range.
                unsafe {
                    if i + 1 < M {
                        let [first, second] = self.part_avx2([g[i], g[i + 1]], offsets);
                        take(i, first);
                        take(i + 1, second);
                    } else {
                        let [alone] = self.part_avx2([g[i]], offsets);
                        take(i, alone);
                    }
                }
            }
        }
        sums
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    unsafe fn part_avx2<const R: usize>(&self, g: [usize; R], b: [usize; PART]) -> [[f32; PART]; R] {
        use std::arch::x86_64::{_mm256_fmadd_ps, _mm256_loadu_ps, _mm256_setzero_ps, _mm256_storeu_ps};
        let mut sums = [[[_mm256_setzero_ps(); 2]; PART]; R];
        let whole = self.len - self.len % LANES;
        // What is left of each image, of which the sums of the lanes past its end stay what they are.
        let (mut left, mut right) = ([[0f32; LANES]; R], [[0f32; LANES]; PART]);
        for image in 0..self.images {
            let (from_g, from_b) = (&self.g[image * self.g_image..], &self.b[image * self.b_image..]);
            // SAFETY: `correlate` checked that `len` elements can be read from each start, and what is left was copied.
            unsafe {
                let mut p = 0;
                while p < whole {
                    for half in 0..2 {
                        let mut x = [_mm256_setzero_ps(); R];
                        for i in 0..R {
                            x[i] = _mm256_loadu_ps(from_g.as_ptr().add(g[i] + p + 8 * half));
                        }
                        for j in 0..PART {
                            let y = _mm256_loadu_ps(from_b.as_ptr().add(b[j] + p + 8 * half));
                            for i in 0..R {
                                sums[i][j][half] = _mm256_fmadd_ps(x[i], y, sums[i][j][half]);
                            }
                        }
                    }
                    p += LANES;
                }
                if whole == self.len {
                    continue;
                }
                let rest = self.len - whole;
                for i in 0..R {
                    left[i][..rest].copy_from_slice(&from_g[g[i] + whole..][..rest]);
                }
                for j in 0..PART {
                    right[j][..rest].copy_from_slice(&from_b[b[j] + whole..][..rest]);
                }
                for half in 0..2 {
                    for j in 0..PART {
                        let y = _mm256_loadu_ps(right[j].as_ptr().add(8 * half));
                        for i in 0..R {
                            let x = _mm256_loadu_ps(left[i].as_ptr().add(8 * half));
                            sums[i][j][half] = _mm256_fmadd_ps(x, y, sums[i][j][half]);
                        }
                    }
                }
            }
        }
        std::array::from_fn(|i| {
            std::array::from_fn(|j| {
                let mut lanes = [0f32; LANES];
                for half in 0..2 {
                    // SAFETY: there is room for 16 values.
                    unsafe { _mm256_storeu_ps(lanes.as_mut_ptr().add(8 * half), sums[i][j][half]) };
                }
                tree(lanes)
            })
        })
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    unsafe fn tile_avx512<const M: usize>(&self, g: &[usize; M], b: &[usize; DEPTH]) -> [[f32; DEPTH]; M] {
        use std::arch::x86_64::{_mm512_fmadd_ps, _mm512_maskz_loadu_ps, _mm512_setzero_ps, _mm512_storeu_ps};
        let mut sums = [[_mm512_setzero_ps(); DEPTH]; M];
        for image in 0..self.images {
            let mut p = 0;
            while p < self.len {
                let lanes = (self.len - p).min(16);
                let mask = (0xffff_u32 >> (16 - lanes)) as u16;
                // SAFETY: `correlate` checked that `len` elements can be read from each start; the mask stops there.
                unsafe {
                    let left = self.g.as_ptr().add(image * self.g_image + p);
                    let right = self.b.as_ptr().add(image * self.b_image + p);
                    let mut x = [_mm512_setzero_ps(); M];
                    for i in 0..M {
                        x[i] = _mm512_maskz_loadu_ps(mask, left.add(g[i]));
                    }
                    for j in 0..DEPTH {
                        let y = _mm512_maskz_loadu_ps(mask, right.add(b[j]));
                        for i in 0..M {
                            sums[i][j] = _mm512_fmadd_ps(x[i], y, sums[i][j]);
                        }
                    }
                }
                p += 16;
            }
        }
        sums.map(|row| {
            row.map(|sum| {
                let mut lanes = [0f32; LANES];
                // SAFETY: there is room for 16 values.
                unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), sum) };
                tree(lanes)
            })
        })
    }
}

wide! {
    fn dot(left: &[f32], right: &[f32]) -> f32 {
        let mut lanes = [0f32; LANES];
        let (a, a_rest) = left.as_chunks::<{ LANES }>();
        let (b, b_rest) = right.as_chunks::<{ LANES }>();
        for (x, y) in a.iter().zip(b) {
            for i in 0..LANES {
                lanes[i] += x[i] * y[i];
            }
        }
        for ((lane, x), y) in lanes.iter_mut().zip(a_rest).zip(b_rest) {
            *lane += x * y;
        }
        tree(lanes)
    }
}
