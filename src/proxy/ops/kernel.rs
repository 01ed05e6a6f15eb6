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
// Loops over constant extents are unrolled; written with indices they read like the formulas.
#![allow(clippy::needless_range_loop)]

/// The left factor of [`product`], packed so that the rows of a tile lie side by side.
pub struct Packed {
    values: Vec<f32>,
    rows: usize,
    depth: usize,
    tile: usize,
}

impl Packed {
    pub fn new(rows: usize, depth: usize, at: impl Fn(usize, usize) -> f32) -> Self {
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
pub fn product(a: &Packed, b: &[f32], offsets: &[usize], len: usize, out: &mut [f32], stride: usize, bias: Option<&[f32]>) {
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
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the feature was just found; `product` checked every range that is read or written.
            unsafe { self.row_avx512::<M>(len, out.as_mut_ptr()) };
            return;
        }
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
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

/// The factors of [`correlate`] and where their rows and images lie.
pub struct Correlation<'a> {
    /// Row m of image i starts at `i * g_image + m * g_row`.
    pub g: &'a [f32],
    pub g_image: usize,
    pub g_row: usize,
    /// Row k of image i starts at `i * b_image + offsets[k]`.
    pub b: &'a [f32],
    pub b_image: usize,
    pub offsets: &'a [usize],
    pub images: usize,
    pub rows: usize,
    pub len: usize,
}

/// Offsets of a tile of [`correlate`].
const DEPTH: usize = 6;

/// `sums[m * offsets.len() + k] += sum_i sum_p g[i][m][p] * b[i][offsets[k] + p]`.
pub fn correlate(c: &Correlation, sums: &mut [f32]) {
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
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the feature was just found; `correlate` checked every range.
            return unsafe { self.tile_avx512(&g, &b) };
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

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    unsafe fn tile_avx512<const M: usize>(&self, g: &[usize; M], b: &[usize; DEPTH]) -> [[f32; DEPTH]; M] {
        use std::arch::x86_64::{_mm512_fmadd_ps, _mm512_maskz_loadu_ps, _mm512_reduce_add_ps, _mm512_setzero_ps};
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
        let mut result = [[0f32; DEPTH]; M];
        for i in 0..M {
            for j in 0..DEPTH {
                result[i][j] = _mm512_reduce_add_ps(sums[i][j]);
            }
        }
        result
    }
}

/// Offsets of a tile of [`outer`].
const SPAN: usize = 8;

/// The factors of [`outer`].
pub struct Outer<'a> {
    /// `[image][position][row]`, see [`transpose`]; `width` rows, a multiple of 16.
    pub g: &'a [f32],
    pub width: usize,
    /// Value k of image i at position (y, x) is at `i * b_image + offsets[k] + y * b_row + x`.
    pub b: &'a [f32],
    pub b_image: usize,
    pub b_row: usize,
    pub offsets: &'a [usize],
    pub images: usize,
    /// Rows and columns of the positions.
    pub size: [usize; 2],
}

/// `sums[m * offsets.len() + k] += sum_i sum_p g[i][p][m] * b[i][offsets[k] + p]` for the rows m that `sums` has.
pub fn outer(c: &Outer, sums: &mut [f32]) {
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
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the feature was just found; `outer` checked every range.
            unsafe { self.tile_avx512(m, &b, &mut tile) };
        } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
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

super::wide! {
    /// Maps of `len` elements as `[position][map]` with `width` maps, those past the last one zero.
    pub fn transpose(maps: &[f32], len: usize, width: usize, to: &mut [f32]) {
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

super::wide! {
    fn dot(left: &[f32], right: &[f32]) -> f32 {
        let mut lanes = [0f32; super::LANES];
        let (a, a_rest) = left.as_chunks::<{ super::LANES }>();
        let (b, b_rest) = right.as_chunks::<{ super::LANES }>();
        for (x, y) in a.iter().zip(b) {
            for i in 0..super::LANES {
                lanes[i] += x[i] * y[i];
            }
        }
        for ((lane, x), y) in lanes.iter_mut().zip(a_rest).zip(b_rest) {
            *lane += x * y;
        }
        super::tree(lanes)
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    fn numbers(n: usize, salt: f32) -> Vec<f32> {
        (0..n).map(|i| ((i as f32 + salt) * 0.618_034).fract() - 0.5).collect()
    }

    /// With AVX2 and with AVX-512: whichever this machine has, a sum is that of one fused step after the other.
    #[test]
    fn sums_have_the_bits_of_fused_steps_in_order() {
        if !is_x86_feature_detected!("fma") {
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
