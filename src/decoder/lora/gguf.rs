//! Adapters in llama.cpp's format: one GGUF file beside the model's, with the matrices of `blk.{i}.attn_q.weight` and so on as
//! `.lora_a (rank, in)` and `.lora_b (out, rank)`, and alpha in the metadata. Rows that GGUF keeps in another order than Hugging Face
//! (q and k of some families) are in GGUF's order, as the model's own are.

use std::io::Cursor;
use std::path::Path;

use candle_core::quantized::gguf_file::{Value, write};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};

use super::adapter::Precision;
use super::matrices::Lora;
use crate::base::error::{Error, Result};
use crate::base::files::write_whole;
use crate::decoder::files::model_file::ModelFile;

impl Lora {
    /// Writes the adapter of a model as one GGUF file, complete before it gets its name.
    ///
    /// # Errors
    /// The model has not the projections that the adapter is on; those of the disk.
    pub fn save_gguf(&self, path: &Path, model: &ModelFile, precision: Precision) -> Result<()> {
        let dtype = if precision == Precision::F32 { GgmlDType::F32 } else { GgmlDType::F16 };
        let mut tensors = Vec::new();
        for (name, matrix) in self.matrices()? {
            let parts = ["a", "b"].map(|part| (part, format!(".lora_{}.weight", part.to_uppercase())));
            let found = parts.iter().find_map(|(part, end)| Some((*part, name.strip_suffix(end.as_str())?)));
            let (part, module) = found.ok_or_else(|| Error::machine(format!("{name} is no matrix of an adapter")))?;
            let (base, interleaved) = model.name_in_gguf(&format!("{module}.weight"))?;
            let matrix = match interleaved {
                Some(heads) if part == "b" => interleave(&matrix, heads)?,
                _ => matrix,
            };
            // Of a view candle would take all that it is a view of.
            let whole = Tensor::from_vec(matrix.flatten_all()?.to_vec1::<f32>()?, matrix.dims(), &Device::Cpu)?;
            tensors.push((format!("{base}.lora_{part}"), QTensor::quantize(&whole, dtype)?));
        }
        let text = |text: &str| Value::String(text.to_owned());
        let metadata = [
            ("general.architecture", text(model.config().family.name())),
            ("general.type", text("adapter")),
            ("adapter.type", text("lora")),
            ("adapter.lora.alpha", Value::F32(self.config.alpha as f32)),
        ];
        let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(key, value)| (*key, value)).collect();
        let tensors: Vec<(&str, &QTensor)> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let mut bytes = Cursor::new(Vec::new());
        write(&mut bytes, &metadata, &tensors)?;
        write_whole(path, bytes.get_ref())
    }
}

/// From rows in the order (head, s, j) to (head, j, s), s being which half.
fn interleave(matrix: &Tensor, heads: usize) -> Result<Tensor> {
    let (rows, columns) = matrix.dims2()?;
    let halves = matrix.reshape((heads, 2, rows / heads / 2, columns))?;
    Ok(halves.transpose(1, 2)?.contiguous()?.reshape((rows, columns))?)
}
