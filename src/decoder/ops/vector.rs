//! Element-wise loops compiled for the widest instructions the machine has. The arithmetic is the same for each
//! (sixteen fixed lanes, no fused multiply-add), so the choice does not change a result.

/// Defines a function whose body is compiled for plain, AVX2 and AVX-512 machines and chosen at run time.
macro_rules! vectorised {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $type:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        $vis fn $name($($arg: $type),*) $(-> $ret)? {
            #[inline(always)]
            fn body($($arg: $type),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw")]
                fn avx512($($arg: $type),*) $(-> $ret)? {
                    body($($arg),*)
                }
                #[target_feature(enable = "avx2")]
                fn avx2($($arg: $type),*) $(-> $ret)? {
                    body($($arg),*)
                }
                match $crate::base::processor::level() {
                    // SAFETY: that level has the features.
                    $crate::base::processor::Level::V4 => return unsafe { avx512($($arg),*) },
                    // SAFETY: that level has the feature.
                    $crate::base::processor::Level::V3 => return unsafe { avx2($($arg),*) },
                    $crate::base::processor::Level::V2 => {}
                }
            }
            body($($arg),*)
        }
    };
}
pub(crate) use vectorised;

const LANES: usize = 16;

/// `e^x` with a relative error below 2e-7, for `x <= 88`; below -87 it is about 1e-38, never a subnormal.
#[inline(always)]
#[allow(clippy::inline_always)]
pub(crate) fn exp(x: f32) -> f32 {
    // x = k ln 2 + r with |r| <= ln(2)/2; e^r by its Taylor polynomial; 2^k by its bits. Adding 1.5 * 2^23 rounds to an integer.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let k = shifted - ROUND;
    let r = (x - k * 0.693_359_4) + k * 2.121_944_4e-4;
    let mut p = 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    let power = f32::from_bits((shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127)) << 23);
    p * power
}

#[inline(always)]
#[allow(clippy::inline_always)]
fn fold(lanes: [f32; LANES], by: impl Fn(f32, f32) -> f32) -> f32 {
    let mut width = LANES / 2;
    let mut lanes = lanes;
    while width > 0 {
        for i in 0..width {
            lanes[i] = by(lanes[i], lanes[i + width]);
        }
        width /= 2;
    }
    lanes[0]
}

vectorised! {
    pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
        let mut lanes = [0f32; LANES];
        let (chunks_a, chunks_b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
        let (rest_a, rest_b) = (chunks_a.remainder(), chunks_b.remainder());
        for (x, y) in chunks_a.zip(chunks_b) {
            for i in 0..LANES {
                lanes[i] += x[i] * y[i];
            }
        }
        for (i, (x, y)) in rest_a.iter().zip(rest_b).enumerate() {
            lanes[i] += x * y;
        }
        fold(lanes, |a, b| a + b)
    }
}

vectorised! {
    /// `y += a x`
    pub(crate) fn axpy(y: &mut [f32], a: f32, x: &[f32]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y += a * x;
        }
    }
}

vectorised! {
    pub(crate) fn max(x: &[f32]) -> f32 {
        let mut lanes = [f32::NEG_INFINITY; LANES];
        let chunks = x.chunks_exact(LANES);
        let rest = chunks.remainder();
        for x in chunks {
            for i in 0..LANES {
                lanes[i] = if x[i] > lanes[i] { x[i] } else { lanes[i] };
            }
        }
        for (i, x) in rest.iter().enumerate() {
            lanes[i] = if *x > lanes[i] { *x } else { lanes[i] };
        }
        fold(lanes, f32::max)
    }
}

vectorised! {
    /// Replaces `x` by `exp(scale x - shift)` and returns the sum.
    pub(crate) fn exp_sum(x: &mut [f32], scale: f32, shift: f32) -> f32 {
        let mut lanes = [0f32; LANES];
        let mut chunks = x.chunks_exact_mut(LANES);
        for x in &mut chunks {
            for i in 0..LANES {
                x[i] = exp(scale * x[i] - shift);
                lanes[i] += x[i];
            }
        }
        for (i, x) in chunks.into_remainder().iter_mut().enumerate() {
            *x = exp(scale * *x - shift);
            lanes[i] += *x;
        }
        fold(lanes, |a, b| a + b)
    }
}

vectorised! {
    pub(crate) fn scale(x: &mut [f32], by: f32) {
        for x in x {
            *x *= by;
        }
    }
}

vectorised! {
    /// `p = scale p (dp - shift)`: the backward of a softmax row.
    pub(crate) fn softmax_backward(p: &mut [f32], dp: &[f32], shift: f32, scale: f32) {
        for (p, dp) in p.iter_mut().zip(dp) {
            *p *= scale * (dp - shift);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_equals_the_double_precision_one() {
        let mut worst = 0f64;
        for i in -86_900..87_000 {
            let x = i as f32 * 1e-3;
            let right = f64::from(x).exp();
            worst = worst.max((f64::from(exp(x)) - right).abs() / right);
        }
        assert!(worst < 2e-7, "relative error {worst:e}");
        assert!(exp(-1e9) > 0.0 && exp(-1e9) < 1e-37);
    }

    #[test]
    fn reductions_take_every_element_once() {
        for n in [0, 1, 15, 16, 17, 100] {
            let x: Vec<f32> = (0..n).map(|i| i as f32 - 3.0).collect();
            assert_eq!(dot(&x, &x), x.iter().map(|v| v * v).sum::<f32>());
            assert_eq!(max(&x), x.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        }
    }
}
