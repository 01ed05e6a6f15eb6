//! Sums of one panel: `sums[r][lane] += w[input][lane] x[input][r]` over the panel's inputs, in their order.
//!
//! Each kernel is written for AVX-512 and once in plain Rust, which is compiled for AVX2 too. All use fused multiply-adds in
//! the same order, so they agree to the bit.

use half::bf16;

use super::panel_block::{Eight, Four, Sums, WIDE};
#[cfg(target_arch = "x86_64")]
use crate::base::processor::{self, Level};

/// Defines `pub fn name(data, x, sums)` that runs the widest of the two versions the machine can.
macro_rules! dispatch {
    ($(#[$meta:meta])* $name:ident, $data:ty) => {
        $(#[$meta])*
        pub(crate) fn $name<const R: usize>(data: $data, x: &[f32], sums: &mut Sums<R>) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                fn avx2<const R: usize>(data: $data, x: &[f32], sums: &mut Sums<R>) {
                    plain::$name(data, x, sums);
                }
                match processor::level() {
                    // SAFETY: that level has the features.
                    Level::V4 => return unsafe { wide::$name(data, x, sums) },
                    // SAFETY: that level has the features.
                    Level::V3 => return unsafe { avx2(data, x, sums) },
                    Level::V2 => {}
                }
            }
            plain::$name(data, x, sums);
        }
    };
}

dispatch!(
    /// Thirty-two inputs a block.
    four,
    &[Four]
);
dispatch!(
    /// Sixteen inputs a block.
    eight,
    &[Eight]
);
dispatch!(half, &[[bf16; WIDE]]);
dispatch!(full, &[[f32; WIDE]]);

#[cfg(target_arch = "x86_64")]
mod wide {
    use std::arch::x86_64::{
        __m128i, __m512, __m512i, _mm_loadu_si128, _mm256_loadu_si256, _mm512_and_si512, _mm512_castsi512_ps, _mm512_cvtepi8_epi32,
        _mm512_cvtepi32_ps, _mm512_cvtepu8_epi32, _mm512_cvtepu16_epi32, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_mul_ps,
        _mm512_set1_epi32, _mm512_set1_ps, _mm512_slli_epi32, _mm512_srli_epi32, _mm512_storeu_ps,
    };

    use super::{Eight, Four, Sums, WIDE, bf16};

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    fn load<const R: usize>(sums: &Sums<R>) -> [__m512; R] {
        // SAFETY: each is sixteen numbers.
        std::array::from_fn(|r| unsafe { _mm512_loadu_ps(sums[r].as_ptr()) })
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    fn store<const R: usize>(from: [__m512; R], sums: &mut Sums<R>) {
        for (from, sums) in from.into_iter().zip(sums) {
            // SAFETY: sixteen numbers.
            unsafe { _mm512_storeu_ps(sums.as_mut_ptr(), from) };
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    fn add<const R: usize>(w: __m512, x: &[f32], sums: &mut [__m512; R]) {
        let x: &[f32; R] = x.try_into().expect("one number a row");
        for r in 0..R {
            sums[r] = _mm512_fmadd_ps(w, _mm512_set1_ps(x[r]), sums[r]);
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    fn bytes(from: &[u8; WIDE]) -> __m128i {
        // SAFETY: sixteen bytes.
        unsafe { _mm_loadu_si128(from.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    pub(crate) fn four<const R: usize>(blocks: &[Four], x: &[f32], sums: &mut Sums<R>) {
        let mut local = load(sums);
        let low_bits: __m512i = _mm512_set1_epi32(15);
        for (block, x) in blocks.iter().zip(x.chunks_exact(32 * R)) {
            // SAFETY: sixteen numbers each.
            let (d, m) = unsafe { (_mm512_loadu_ps(block.d.as_ptr()), _mm512_loadu_ps(block.m.as_ptr())) };
            let (low, high) = x.split_at(16 * R);
            for ((q, low), high) in block.q.iter().zip(low.chunks_exact(R)).zip(high.chunks_exact(R)) {
                let q = _mm512_cvtepu8_epi32(bytes(q));
                add(_mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_and_si512(q, low_bits)), d, m), low, &mut local);
                add(_mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_srli_epi32::<4>(q)), d, m), high, &mut local);
            }
        }
        store(local, sums);
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    pub(crate) fn eight<const R: usize>(blocks: &[Eight], x: &[f32], sums: &mut Sums<R>) {
        let mut local = load(sums);
        for (block, x) in blocks.iter().zip(x.chunks_exact(16 * R)) {
            // SAFETY: sixteen numbers.
            let d = unsafe { _mm512_loadu_ps(block.d.as_ptr()) };
            for (q, x) in block.q.iter().zip(x.chunks_exact(R)) {
                let q = bytes(bytemuck::cast_ref(q));
                add(_mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q)), d), x, &mut local);
            }
        }
        store(local, sums);
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    pub(crate) fn half<const R: usize>(lines: &[[bf16; WIDE]], x: &[f32], sums: &mut Sums<R>) {
        let mut local = load(sums);
        for (line, x) in lines.iter().zip(x.chunks_exact(R)) {
            // SAFETY: sixteen numbers of two bytes.
            let bits = unsafe { _mm256_loadu_si256(line.as_ptr().cast()) };
            add(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(bits))), x, &mut local);
        }
        store(local, sums);
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    pub(crate) fn full<const R: usize>(lines: &[[f32; WIDE]], x: &[f32], sums: &mut Sums<R>) {
        let mut local = load(sums);
        for (line, x) in lines.iter().zip(x.chunks_exact(R)) {
            // SAFETY: sixteen numbers.
            add(unsafe { _mm512_loadu_ps(line.as_ptr()) }, x, &mut local);
        }
        store(local, sums);
    }
}

#[allow(clippy::inline_always)]
mod plain {
    use super::{Eight, Four, Sums, WIDE, bf16};

    #[inline(always)]
    fn add<const R: usize>(w: &[f32; WIDE], x: &[f32], sums: &mut Sums<R>) {
        for (sums, x) in sums.iter_mut().zip(x) {
            for (sum, w) in sums.iter_mut().zip(w) {
                *sum = w.mul_add(*x, *sum);
            }
        }
    }

    #[inline(always)]
    pub(crate) fn four<const R: usize>(blocks: &[Four], x: &[f32], sums: &mut Sums<R>) {
        for (block, x) in blocks.iter().zip(x.chunks_exact(32 * R)) {
            let (low, high) = x.split_at(16 * R);
            for ((q, low), high) in block.q.iter().zip(low.chunks_exact(R)).zip(high.chunks_exact(R)) {
                let (mut w, mut v) = ([0.0; WIDE], [0.0; WIDE]);
                for i in 0..WIDE {
                    w[i] = f32::from(q[i] & 15).mul_add(block.d[i], block.m[i]);
                    v[i] = f32::from(q[i] >> 4).mul_add(block.d[i], block.m[i]);
                }
                add(&w, low, sums);
                add(&v, high, sums);
            }
        }
    }

    #[inline(always)]
    pub(crate) fn eight<const R: usize>(blocks: &[Eight], x: &[f32], sums: &mut Sums<R>) {
        for (block, x) in blocks.iter().zip(x.chunks_exact(16 * R)) {
            for (q, x) in block.q.iter().zip(x.chunks_exact(R)) {
                let mut w = [0.0; WIDE];
                for i in 0..WIDE {
                    w[i] = f32::from(q[i]) * block.d[i];
                }
                add(&w, x, sums);
            }
        }
    }

    #[inline(always)]
    pub(crate) fn half<const R: usize>(lines: &[[bf16; WIDE]], x: &[f32], sums: &mut Sums<R>) {
        for (line, x) in lines.iter().zip(x.chunks_exact(R)) {
            let mut w = [0.0; WIDE];
            for i in 0..WIDE {
                w[i] = f32::from_bits(u32::from(line[i].to_bits()) << 16);
            }
            add(&w, x, sums);
        }
    }

    #[inline(always)]
    pub(crate) fn full<const R: usize>(lines: &[[f32; WIDE]], x: &[f32], sums: &mut Sums<R>) {
        for (line, x) in lines.iter().zip(x.chunks_exact(R)) {
            add(line, x, sums);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn x() -> Vec<f32> {
        (0..64 * 4).map(|i| (i as f32 * 0.7).sin()).collect()
    }

    /// What the dispatched kernel and the plain one give.
    fn both(run: impl Fn(bool, &mut Sums<4>)) -> [Sums<4>; 2] {
        [true, false].map(|dispatched| {
            let mut sums = [[0.5; WIDE]; 4];
            run(dispatched, &mut sums);
            sums
        })
    }

    #[test]
    fn every_kernel_agrees_with_the_plain_one_to_the_bit() {
        let x = x();
        let lane = |i: usize| (i as f32 * 0.31).cos() * 0.01;
        let blocks: Vec<Four> = (0..2)
            .map(|b| Four {
                d: std::array::from_fn(lane),
                m: std::array::from_fn(|i| lane(i + 7)),
                q: std::array::from_fn(|j| std::array::from_fn(|i| ((b * 97 + j * 41 + i * 13) % 256) as u8)),
            })
            .collect();
        let [a, b] = both(|d, sums| if d { four(&blocks, &x, sums) } else { plain::four(&blocks, &x, sums) });
        assert_eq!(a, b);
        let blocks: Vec<Eight> = (0..4)
            .map(|b| Eight {
                d: std::array::from_fn(lane),
                q: std::array::from_fn(|j| std::array::from_fn(|i| ((b * 97 + j * 41 + i * 13) % 256) as i8)),
            })
            .collect();
        let [a, b] = both(|d, sums| if d { eight(&blocks, &x, sums) } else { plain::eight(&blocks, &x, sums) });
        assert_eq!(a, b);
        let lines: Vec<[f32; WIDE]> = (0..64).map(|j| std::array::from_fn(|i| lane(j * 16 + i))).collect();
        let [a, b] = both(|d, sums| if d { full(&lines, &x, sums) } else { plain::full(&lines, &x, sums) });
        assert_eq!(a, b);
        assert!(a[1].iter().all(|v| v.is_finite() && *v != 0.5));
        let lines: Vec<[bf16; WIDE]> = lines.iter().map(|line| line.map(bf16::from_f32)).collect();
        let [a, b] = both(|d, sums| if d { half(&lines, &x, sums) } else { plain::half(&lines, &x, sums) });
        assert_eq!(a, b);
    }
}
