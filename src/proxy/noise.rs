//! Random numbers of a step: dropout, and what a network draws itself.

use candle_core::{Device, Result, Tensor};
use rand::{Rng, RngCore};
use rand_distr::{Distribution, Normal};

use crate::base::seed;
use crate::tracer::graph::Law;

/// 0 with probability `p`, else 1/(1-p); one draw an element, or one a map where `channels`.
pub(crate) fn dropout(shape: &[usize], p: f64, channels: bool, stream: u64, device: &Device) -> Result<Tensor> {
    let mut shape = shape.to_vec();
    if channels {
        shape.iter_mut().skip(2).for_each(|extent| *extent = 1);
    }
    let mut rng = seed::rng(stream, "mask", &[]);
    let threshold = (p * 4_294_967_296.0) as u64;
    let scale = if p < 1.0 { (1.0 / (1.0 - p)) as f32 } else { 0.0 };
    let draw = |_| if u64::from(rng.next_u32()) < threshold { 0.0 } else { scale };
    let values: Vec<f32> = (0..shape.iter().product::<usize>()).map(draw).collect();
    Tensor::from_vec(values, shape, device)
}

/// Numbers of a law from the stream.
pub(crate) fn draw(law: Law, shape: &[usize], stream: u64, device: &Device) -> Result<Tensor> {
    let mut rng = seed::rng(stream, "draw", &[]);
    let count: usize = shape.iter().product();
    let values: Vec<f32> = match law {
        // Of 24 bits, so that none rounds up to the upper end.
        Law::Uniform { low, high } => (0..count).map(|_| (low + (high - low) * f64::from(rng.random::<f32>())) as f32).collect(),
        Law::Normal { mean, std } => {
            let normal = Normal::new(0.0, 1.0).expect("a standard deviation of 1 is valid");
            (0..count).map(|_| (mean + std * normal.sample(&mut rng)) as f32).collect()
        }
        Law::Bernoulli { p } => (0..count).map(|_| if rng.random::<f64>() < p { 1.0 } else { 0.0 }).collect(),
    };
    Tensor::from_vec(values, shape, device)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(law: Law) -> (f64, f64) {
        let values = draw(law, &[200, 100], 7, &Device::Cpu).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / 2e4;
        (mean, values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / 2e4)
    }

    #[test]
    fn draws_have_the_moments_of_their_law_and_depend_on_the_stream() {
        for (law, mean, variance) in [
            (Law::Uniform { low: -1.0, high: 3.0 }, 1.0, 16.0 / 12.0),
            (Law::Normal { mean: 2.0, std: 0.5 }, 2.0, 0.25),
            (Law::Bernoulli { p: 0.2 }, 0.2, 0.16),
        ] {
            let found = moments(law);
            // Four standard errors of the mean; the variance within 5 %.
            assert!(
                (found.0 - mean).abs() < 4.0 * (variance / 2e4f64).sqrt() && (found.1 / variance - 1.0).abs() < 0.05,
                "{law:?} {found:?}"
            );
        }
        let law = Law::Uniform { low: 0.0, high: 1.0 };
        let of = |stream| draw(law, &[5], stream, &Device::Cpu).unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }
}
