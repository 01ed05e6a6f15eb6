//! Fresh parameters: the distributions of `PyTorch`, drawn from a stream of their own for each tensor's name, so that a
//! tensor starts the same whatever else the network has.

use candle_core::{Device, Result, Tensor};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};

use crate::base::hash::Hash;
use crate::base::seed;
use crate::tracer::graph::{Init, Role, TensorSpec};

/// The starting value of one tensor.
pub(crate) fn draw(spec: &TensorSpec, run: u64, device: &Device) -> Result<Tensor> {
    let count = spec.elements();
    if spec.role == Role::Counter {
        let values = match &spec.init {
            Init::Constant(value) => vec![*value as i64; count],
            Init::Values(values) if values.len() == count => values.iter().map(|&value| value as i64).collect(),
            start => candle_core::bail!("{} cannot count from {start:?}", spec.name),
        };
        return Tensor::from_vec(values, &spec.shape[..], device);
    }
    let name = Hash::of(&spec.name).number();
    let mut rng = seed::rng(run, "init", &[name]);
    let values: Vec<f32> = match &spec.init {
        Init::Constant(value) => vec![*value as f32; count],
        Init::Uniform { low, high } => (0..count).map(|_| (low + (high - low) * rng.random::<f64>()) as f32).collect(),
        Init::Normal { mean, std } => normal(*mean, *std, &mut rng).take(count).map(|v| v as f32).collect(),
        Init::TruncatedNormal { mean, std, low, high } => truncated(*mean, *std, *low, *high, count, &mut rng)?,
        Init::Orthogonal { gain } => orthogonal(&spec.shape, *gain, &mut rng)?,
        Init::Norm { name, shape, init, dim } => {
            let other = TensorSpec { name: name.clone(), shape: shape.clone(), role: Role::Parameter, init: (**init).clone() };
            norms(&draw(&other, run, &Device::Cpu)?, *dim)?
        }
        Init::Values(values) => values.clone(),
    };
    if values.len() != count {
        candle_core::bail!("{} has {} values for the shape {:?}", spec.name, values.len(), spec.shape);
    }
    Tensor::from_vec(values, &spec.shape[..], device)
}

/// Euclidean norms over all dimensions but one, or over all.
fn norms(tensor: &Tensor, dim: Option<usize>) -> Result<Vec<f32>> {
    let squares = tensor.sqr()?;
    let sums = match dim {
        Some(dim) => squares.transpose(0, dim)?.contiguous()?.reshape((tensor.dim(dim)?, ()))?.sum(1)?,
        None => squares.sum_all()?.flatten_all()?,
    };
    sums.sqrt()?.to_vec1()
}

fn normal(mean: f64, std: f64, rng: &mut ChaCha8Rng) -> impl Iterator<Item = f64> + '_ {
    let normal = Normal::new(0.0, 1.0).expect("a standard deviation of 1 is valid");
    std::iter::repeat_with(move || mean + std * normal.sample(rng))
}

/// Draws again what falls outside; a range that is hit too rarely is an error, not an endless loop.
fn truncated(mean: f64, std: f64, low: f64, high: f64, count: usize, rng: &mut ChaCha8Rng) -> Result<Vec<f32>> {
    let limit = 1000 * count + 1000;
    let values: Vec<f32> = normal(mean, std, rng).take(limit).filter(|v| (low..=high).contains(v)).take(count).map(|v| v as f32).collect();
    if values.len() < count {
        candle_core::bail!("a normal of mean {mean} and deviation {std} almost never lies in {low}..{high}");
    }
    Ok(values)
}

/// Gram-Schmidt on rows of normal numbers (on columns where there are more rows than columns), times `gain`.
fn orthogonal(shape: &[usize], gain: f64, rng: &mut ChaCha8Rng) -> Result<Vec<f32>> {
    let rows = shape.first().copied().unwrap_or(0);
    let count: usize = shape.iter().product();
    if shape.len() < 2 || rows == 0 || count == 0 {
        candle_core::bail!("orthogonal values need two dimensions, not {shape:?}");
    }
    let columns = count / rows;
    let (vectors, length) = (rows.min(columns), rows.max(columns));
    let mut basis: Vec<Vec<f64>> = Vec::with_capacity(vectors);
    while basis.len() < vectors {
        let mut v: Vec<f64> = normal(0.0, 1.0, rng).take(length).collect();
        // Twice, because once leaves a remainder of the rounding.
        for _ in 0..2 {
            for b in &basis {
                let dot: f64 = v.iter().zip(b).map(|(x, y)| x * y).sum();
                v.iter_mut().zip(b).for_each(|(x, y)| *x -= dot * y);
            }
        }
        let norm = v.iter().map(|x| x * x).sum::<f64>().sqrt();
        if norm > 1e-6 {
            for x in &mut v {
                *x /= norm;
            }
            basis.push(v);
        }
    }
    let at = |row: usize, column: usize| if rows <= columns { basis[row][column] } else { basis[column][row] };
    Ok((0..count).map(|i| (gain * at(i / columns, i % columns)) as f32).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(name: &str, shape: &[usize], init: Init) -> Vec<f32> {
        let spec = TensorSpec { name: name.into(), shape: shape.to_vec(), role: Role::Parameter, init };
        draw(&spec, 3, &Device::Cpu).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn moments_and_limits_are_those_of_the_distribution() {
        let uniform = values("a", &[100, 100], Init::Uniform { low: -0.5, high: 0.5 });
        let mean = uniform.iter().sum::<f32>() / 1e4;
        let variance = uniform.iter().map(|v| v * v).sum::<f32>() / 1e4;
        assert!(mean.abs() < 0.01 && (variance - 1.0 / 12.0).abs() < 0.003, "{mean} {variance}");
        let normal = values("a", &[100, 100], Init::Normal { mean: 1.0, std: 0.2 });
        let mean = normal.iter().sum::<f32>() / 1e4;
        let variance = normal.iter().map(|v| (v - 1.0).powi(2)).sum::<f32>() / 1e4;
        assert!((mean - 1.0).abs() < 0.01 && (variance - 0.04).abs() < 0.003, "{mean} {variance}");
        let cut = values("a", &[1000], Init::TruncatedNormal { mean: 0.0, std: 1.0, low: -0.3, high: 0.5 });
        assert!(cut.iter().all(|v| (-0.3..=0.5).contains(v)) && cut.iter().any(|v| *v > 0.4));
    }

    #[test]
    fn a_tensor_starts_the_same_whatever_its_place_and_differently_under_another_name() {
        let init = Init::Normal { mean: 0.0, std: 1.0 };
        assert_eq!(values("a", &[4, 4], init.clone()), values("a", &[16], init.clone()));
        assert_ne!(values("a", &[4, 4], init.clone()), values("b", &[4, 4], init));
    }

    #[test]
    fn norms_are_those_of_the_other_tensor_as_it_starts() {
        let (shape, law) = ([4, 3, 2], Init::Normal { mean: 0.5, std: 1.0 });
        let of = values("v", &shape, law.clone());
        let norm = |dim: Option<usize>| {
            values(
                "g",
                &dim.map_or(vec![], |dim: usize| vec![shape[dim]]),
                Init::Norm { name: "v".into(), shape: shape.to_vec(), init: Box::new(law.clone()), dim },
            )
        };
        let length = |wanted: &dyn Fn(usize) -> bool| (0..24).filter(|&i| wanted(i)).map(|i| f64::from(of[i]).powi(2)).sum::<f64>().sqrt();
        let close = |a: &[f32], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-5);
        assert!(close(&norm(None), &[length(&|_| true)]));
        assert!(close(&norm(Some(0)), &[0, 1, 2, 3].map(|k| length(&|i| i / 6 == k))));
        assert!(close(&norm(Some(2)), &[0, 1].map(|k| length(&|i| i % 2 == k))));
    }

    #[test]
    fn orthogonal_rows_or_columns_are_orthonormal() {
        for shape in [[3, 8], [8, 3]] {
            let v = values("o", &shape, Init::Orthogonal { gain: 2.0 });
            let at = |i: usize, k: usize| if shape[0] == 3 { v[i * 8 + k] } else { v[k * 3 + i] };
            for i in 0..3 {
                for j in 0..3 {
                    let dot: f32 = (0..8).map(|k| at(i, k) * at(j, k)).sum();
                    assert!((dot - if i == j { 4.0 } else { 0.0 }).abs() < 1e-5, "{dot}");
                }
            }
        }
    }
}
