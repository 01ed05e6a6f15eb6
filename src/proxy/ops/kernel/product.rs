//! A matrix by rows that lie at offsets: a convolution, and its gradient by the input.
// Loops over constant extents are unrolled; written with indices they read like the formulas.
#![allow(clippy::needless_range_loop)]

#[cfg(target_arch = "x86_64")]
use crate::base::processor::{self, Level};

/// The left factor of [`product`], packed so that the rows of a tile lie side by side.
pub(crate) struct Packed {
    values: Vec<f32>,
    rows: usize,
    depth: usize,
    tile: usize,
}

impl Packed {
    pub(crate) fn new(rows: usize, depth: usize, at: impl Fn(usize, usize) -> f32) -> Self {
        let tile = match rows {
            1 => 1,
            2 => 2,
            3 | 4 => 4,
            _ => 8,
        };
        let blocks = rows.div_ceil(tile);
        let mut values = vec![0f32; blocks * depth * tile];
        for row in 0..rows {
            for k in 0..depth {
                values[((row / tile) * depth + k) * tile + row % tile] = at(row, k);
            }
        }
        Self { values, rows, depth, tile }
    }
}

/// `out[m * stride + p] = bias[m] + sum_k a[m][k] * b[offsets[k] + p]` for p below `len`.
pub(crate) fn product(a: &Packed, b: &[f32], offsets: &[usize], len: usize, out: &mut [f32], stride: usize, bias: Option<&[f32]>) {
    assert_eq!(offsets.len(), a.depth);
    assert!(offsets.iter().all(|offset| offset + len <= b.len()));
    assert!((a.rows - 1) * stride + len <= out.len());
    assert!(bias.is_none_or(|bias| bias.len() == a.rows));
    for first in (0..a.rows).step_by(a.tile) {
        let rows = a.tile.min(a.rows - first);
        let block = &a.values[first * a.depth..][..a.depth * a.tile];
        let mut start = [0f32; 8];
        if let Some(bias) = bias {
            start[..rows].copy_from_slice(&bias[first..first + rows]);
        }
        let tile = Tile { a: block, b, offsets, start, rows, stride };
        match a.tile {
            1 => tile.row::<1>(len, &mut out[first * stride..]),
            2 => tile.row::<2>(len, &mut out[first * stride..]),
            4 => tile.row::<4>(len, &mut out[first * stride..]),
            _ => tile.row::<8>(len, &mut out[first * stride..]),
        }
    }
}

/// A block of `M` rows of the result.
struct Tile<'a> {
    a: &'a [f32],
    b: &'a [f32],
    offsets: &'a [usize],
    start: [f32; 8],
    rows: usize,
    stride: usize,
}

impl Tile<'_> {
    fn row<const M: usize>(&self, len: usize, out: &mut [f32]) {
        #[cfg(target_arch = "x86_64")]
        if processor::level() == Level::V4 {
            // SAFETY: the feature was just found; `product` checked every range that is read or written.
            unsafe { self.row_avx512::<M>(len, out.as_mut_ptr()) };
            return;
        }
        #[cfg(target_arch = "x86_64")]
        if processor::level() >= Level::V3 {
            // SAFETY: the features were just found; `product` checked every range that is read or written.
            unsafe { self.row_avx2::<M>(len, out.as_mut_ptr()) };
            return;
        }
        self.row_portable::<M>(len, out);
    }

    fn row_portable<const M: usize>(&self, len: usize, out: &mut [f32]) {
        const WIDTH: usize = 8;
        for p in (0..len).step_by(WIDTH) {
            let width = WIDTH.min(len - p);
            let mut sums = [[0f32; WIDTH]; M];
            for m in 0..M {
                sums[m] = [self.start[m]; WIDTH];
            }
            for (weights, &offset) in self.a.as_chunks::<M>().0.iter().zip(self.offsets) {
                let mut x = [0f32; WIDTH];
                x[..width].copy_from_slice(&self.b[offset + p..offset + p + width]);
                for m in 0..M {
                    for i in 0..WIDTH {
                        sums[m][i] += weights[m] * x[i];
                    }
                }
            }
            for m in 0..self.rows {
                out[m * self.stride + p..][..width].copy_from_slice(&sums[m][..width]);
            }
        }
    }

    /// The same bits as with AVX-512: each sum is one of its own, in the order of the offsets.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn row_avx2<const M: usize>(&self, len: usize, out: *mut f32) {
        // Of sixteen registers: the sums, the vectors of b, a weight.
        let most = match M {
            8 => 1,
            4 => 3,
            _ => 4,
        };
        let mut p = 0;
        while p < len {
            let left = len - p;
            let vectors = left.div_ceil(8).min(most);
            let last = (left - 8 * (vectors - 1)).min(8);
            // SAFETY: `p` plus the lanes that `last` allows is at most `len`.
            unsafe {
                match (vectors, last) {
                    (1, 8) => self.tile_avx2::<M, 1, true>(p, 8, out),
                    (1, _) => self.tile_avx2::<M, 1, false>(p, last, out),
                    (2, 8) => self.tile_avx2::<M, 2, true>(p, 8, out),
                    (2, _) => self.tile_avx2::<M, 2, false>(p, last, out),
                    (3, 8) => self.tile_avx2::<M, 3, true>(p, 8, out),
                    (3, _) => self.tile_avx2::<M, 3, false>(p, last, out),
                    (_, 8) => self.tile_avx2::<M, 4, true>(p, 8, out),
                    _ => self.tile_avx2::<M, 4, false>(p, last, out),
                }
            }
            p += 8 * vectors;
        }
    }

    /// `M` rows by `V` vectors of 8, of the last of which `last` lanes count: all, where it is `WHOLE`.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    unsafe fn tile_avx2<const M: usize, const V: usize, const WHOLE: bool>(&self, p: usize, last: usize, out: *mut f32) {
        use std::arch::x86_64::{
            _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_maskload_ps, _mm256_maskstore_ps, _mm256_set1_ps,
            _mm256_setzero_ps, _mm256_storeu_ps,
        };
        const LANES: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
        // SAFETY: `last` is 1 to 8, so the eight that are read lie within.
        let mask = unsafe { _mm256_loadu_si256(LANES.as_ptr().add(8 - last).cast()) };
        let mut sums = [[_mm256_setzero_ps(); V]; M];
        for m in 0..M {
            sums[m] = [_mm256_set1_ps(self.start[m]); V];
        }
        let mut a = self.a.as_ptr();
        for &offset in self.offsets {
            // SAFETY: `product` checked `offset + len <= b.len()`, and the packed factor has M values for each offset.
            unsafe {
                let b = self.b.as_ptr().add(offset + p);
                let mut x = [_mm256_setzero_ps(); V];
                for v in 0..V {
                    x[v] = if WHOLE || v + 1 < V { _mm256_loadu_ps(b.add(8 * v)) } else { _mm256_maskload_ps(b.add(8 * v), mask) };
                }
                for m in 0..M {
                    let weight = _mm256_set1_ps(*a.add(m));
                    for v in 0..V {
                        sums[m][v] = _mm256_fmadd_ps(weight, x[v], sums[m][v]);
                    }
                }
                a = a.add(M);
            }
        }
        for m in 0..M {
            if m == self.rows {
                break;
            }
            for v in 0..V {
                // SAFETY: `product` checked the range of every row below `rows`.
                unsafe {
                    let to = out.add(m * self.stride + p + 8 * v);
                    if WHOLE || v + 1 < V { _mm256_storeu_ps(to, sums[m][v]) } else { _mm256_maskstore_ps(to, mask, sums[m][v]) }
                }
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    unsafe fn row_avx512<const M: usize>(&self, len: usize, out: *mut f32) {
        let mut p = 0;
        while p < len {
            let left = len - p;
            let vectors = left.div_ceil(16).min(3);
            let last = (left - 16 * (vectors - 1)).min(16);
            let mask = (0xffff_u32 >> (16 - last)) as u16;
            // SAFETY: `p` plus the lanes that the mask allows is at most `len`.
            unsafe {
                match vectors {
                    1 => self.tile_avx512::<M, 1>(p, mask, out),
                    2 => self.tile_avx512::<M, 2>(p, mask, out),
                    _ => self.tile_avx512::<M, 3>(p, mask, out),
                }
            }
            p += 16 * vectors;
        }
    }

    /// `M` rows by `V` vectors of 16; `mask` is for the last vector.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    #[inline]
    unsafe fn tile_avx512<const M: usize, const V: usize>(&self, p: usize, mask: u16, out: *mut f32) {
        use std::arch::x86_64::{
            _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps,
        };
        let mut sums = [[_mm512_setzero_ps(); V]; M];
        for m in 0..M {
            sums[m] = [_mm512_set1_ps(self.start[m]); V];
        }
        let mut a = self.a.as_ptr();
        for &offset in self.offsets {
            // SAFETY: `product` checked `offset + len <= b.len()`, and the packed factor has M values for each offset.
            unsafe {
                let b = self.b.as_ptr().add(offset + p);
                let mut x = [_mm512_setzero_ps(); V];
                for v in 0..V - 1 {
                    x[v] = _mm512_loadu_ps(b.add(16 * v));
                }
                x[V - 1] = _mm512_maskz_loadu_ps(mask, b.add(16 * (V - 1)));
                for m in 0..M {
                    let weight = _mm512_set1_ps(*a.add(m));
                    for v in 0..V {
                        sums[m][v] = _mm512_fmadd_ps(weight, x[v], sums[m][v]);
                    }
                }
                a = a.add(M);
            }
        }
        for m in 0..M {
            if m == self.rows {
                break;
            }
            for v in 0..V {
                let lanes = if v + 1 == V { mask } else { 0xffff };
                // SAFETY: `product` checked the range of every row below `rows`.
                unsafe { _mm512_mask_storeu_ps(out.add(m * self.stride + p + 16 * v), lanes, sums[m][v]) };
            }
        }
    }
}
