//! `AdamW` (Loshchilov and Hutter 2019) over flat parameter vectors, with a state that is saved and loaded.
//!
//! ```text
//! p <- p (1 - lr wd)
//! m <- b1 m + (1 - b1) g,   v <- b2 v + (1 - b2) g^2
//! p <- p - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
//! ```

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::matrices::Lora;
use crate::base::error::{AtPath, Error, Result};
use crate::base::files::write_whole;

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPS: f64 = 1e-8;

/// The moments of each vector, and the steps done.
#[derive(Clone, Debug, PartialEq)]
pub struct AdamW {
    steps: u64,
    first: Vec<Vec<f32>>,
    second: Vec<Vec<f32>>,
}

/// Scales the gradients so that their joint norm is at most `largest` (0: as they are); gives the norm before.
pub fn clip(gradients: &mut [Vec<f32>], largest: f64) -> f64 {
    let norm = gradients.iter().flatten().map(|g| f64::from(*g) * f64::from(*g)).sum::<f64>().sqrt();
    if largest > 0.0 && norm > largest {
        let scale = (largest / norm) as f32;
        gradients.iter_mut().flatten().for_each(|g| *g *= scale);
    }
    norm
}

impl AdamW {
    /// For vectors of these lengths.
    pub fn new(lengths: impl IntoIterator<Item = usize>) -> Self {
        let first: Vec<Vec<f32>> = lengths.into_iter().map(|n| vec![0.0; n]).collect();
        Self { steps: 0, second: first.clone(), first }
    }

    /// For the parameters of an adapter.
    pub fn of(lora: &Lora) -> Self {
        Self::new(lora.layers().iter().map(|layer| layer.elem_count()))
    }

    /// Steps done since the moments were 0.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// One step of all vectors, in place: the module has the formula. The gradients are of the same lengths.
    pub fn step(&mut self, parameters: &mut [Vec<f32>], gradients: &[Vec<f32>], lr: f64, weight_decay: f64) {
        self.steps += 1;
        let t = self.steps as f64;
        let (keep, decay) = (1.0 - lr * weight_decay, lr / (1.0 - BETA1.powf(t)));
        let correction = (1.0 - BETA2.powf(t)).sqrt();
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((p, g), (m, v)) in parameters.iter_mut().zip(gradients).zip(moments) {
            assert!(p.len() == g.len() && p.len() == m.len(), "an optimiser of other parameters");
            for (((p, g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
                let g = f64::from(*g);
                *m = (BETA1 * f64::from(*m) + (1.0 - BETA1) * g) as f32;
                *v = (BETA2 * f64::from(*v) + (1.0 - BETA2) * g * g) as f32;
                *p = (f64::from(*p) * keep - decay * f64::from(*m) / (f64::from(*v).sqrt() / correction + EPS)) as f32;
            }
        }
    }

    /// Writes the state as a safetensors file, whole or not at all.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let steps = self.steps.to_le_bytes();
        let mut views = vec![("steps".to_string(), TensorView::new(Dtype::U64, vec![1], &steps)?)];
        for (name, vectors) in [("first", &self.first), ("second", &self.second)] {
            for (i, vector) in vectors.iter().enumerate() {
                let view = TensorView::new(Dtype::F32, vec![vector.len()], bytemuck::cast_slice(vector))?;
                views.push((format!("{name}.{i}"), view));
            }
        }
        write_whole(path, &safetensors::serialize(views, None::<HashMap<String, String>>)?)
    }

    /// Reads the state of the same parameters back.
    ///
    /// # Errors
    /// When the file is not such a state or of other lengths than this optimiser's.
    pub fn load(&mut self, path: &Path) -> Result<()> {
        let data = std::fs::read(path).at("read", path)?;
        let wrong = |why: &str| Error::input(format!("{}: {why}", path.display()));
        let file = SafeTensors::deserialize(&data).map_err(|_| wrong("not a safetensors file"))?;
        let bytes = |name: &str, dtype, len| match file.tensor(name) {
            Ok(tensor) if tensor.dtype() == dtype && tensor.shape() == [len] => Ok(tensor.data()),
            _ => Err(wrong("not the optimiser's state of this adapter")),
        };
        let mut loaded = self.clone();
        loaded.steps = u64::from_le_bytes(bytes("steps", Dtype::U64, 1)?.try_into().expect("eight bytes"));
        for (name, vectors) in [("first", &mut loaded.first), ("second", &mut loaded.second)] {
            for (i, vector) in vectors.iter_mut().enumerate() {
                let data = bytes(&format!("{name}.{i}"), Dtype::F32, vector.len())?;
                *vector = data.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
            }
        }
        *self = loaded;
        Ok(())
    }
}
