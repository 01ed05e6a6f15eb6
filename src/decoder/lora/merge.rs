//! An adapter merged into its model, `W + (alpha/rank) B A`, as a Hugging Face folder. The folder appears only where the merged
//! model, read back from disk, gives the logits of the model with the adapter beside it.

use std::collections::HashMap;
use std::path::Path;

use candle_core::Tensor;
use serde::Serialize;

use super::matrices::Lora;
use crate::base::error::{AtPath, Error, Result};
use crate::decoder::files::hf_writer::{self, Stored};
use crate::decoder::files::model_file::ModelFile;
use crate::decoder::model::decoder::{Decoder, Mode, Rows};
use crate::decoder::ops::floats;

/// How near the merged model comes to the unmerged one, over all logits of a probe text.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Likeness {
    /// Root mean square of merged minus unmerged.
    pub difference: f64,
    /// The same of the model with its adapter minus the model without it.
    pub effect: f64,
    /// Root mean square of the unmerged logits, each token's mean taken off.
    pub spread: f64,
    /// Largest `difference / spread` that is let through.
    pub tolerance: f64,
}

impl Likeness {
    /// Within the tolerance; and rounding has not drowned the adapter.
    #[must_use]
    pub(crate) fn holds(&self) -> bool {
        self.difference <= self.tolerance * self.spread && (self.effect == 0.0 || self.difference <= 0.5 * self.effect)
    }
}

/// Tokens of the probe that are read.
const PROMPT: usize = 256;

/// f32 differs by the order of sums only; bf16 rounds each weight to 8 bits.
fn tolerance(stored: Stored) -> f64 {
    match stored {
        Stored::F32 => 1e-4,
        Stored::Bf16 => 3e-2,
    }
}

/// Writes the merged model into the new folder `out`. The two are compared over the first tokens of `probe`.
///
/// # Errors
/// Where `out` exists, cannot be written, or the merged model is not alike.
pub fn merge(model: &ModelFile, lora: &Lora, out: &Path, stored: Stored, probe: &str) -> Result<Likeness> {
    if out.exists() {
        return Err(Error::input(format!("{} exists already", out.display())).hint("give --out a new folder"));
    }
    let parent = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).at("make the folder", parent)?;
    let half_made = tempfile::Builder::new().prefix(".merge-").tempdir_in(parent).at("write in", parent)?;
    let matrices: HashMap<String, Tensor> = lora.matrices()?.into_iter().collect();
    hf_writer::write(half_made.path(), model, stored, |name| {
        let weight = model.tensor(name)?;
        let part = |kind: &str| name.strip_suffix("weight").and_then(|module| matrices.get(&format!("{module}{kind}.weight")));
        match (part("lora_A"), part("lora_B")) {
            (Some(a), Some(b)) => Ok((weight + (b.matmul(a)? * f64::from(lora.layout().scale))?)?),
            _ => Ok(weight),
        }
    })?;
    let likeness = compare(model, lora, half_made.path(), stored, probe)?;
    if !likeness.holds() {
        let Likeness { difference, effect, spread, tolerance } = likeness;
        let message = format!(
            "not merged: the merged model's logits differ by {difference:.2e} from the unmerged one's (at most {:.2e} is let through; the \
             adapter itself changes them by {effect:.2e})",
            tolerance * spread
        );
        let hint = match stored {
            Stored::F32 => "the adapter may hold numbers too large to be added to the weights",
            Stored::Bf16 => "bf16 rounds away what the adapter learnt: merge with --dtype f32",
        };
        return Err(Error::input(message).hint(hint));
    }
    std::fs::rename(half_made.keep(), out).at("rename to", out)?;
    // What `tempdir` makes is for its owner only.
    #[cfg(unix)]
    std::fs::set_permissions(out, std::os::unix::fs::PermissionsExt::from_mode(0o755)).at("open up", out)?;
    Ok(likeness)
}

/// One decoder is in memory at a time.
fn compare(model: &ModelFile, lora: &Lora, merged: &Path, stored: Stored, probe: &str) -> Result<Likeness> {
    let mut prompt = model.tokenizer()?.encode_plain(probe);
    prompt.truncate(PROMPT.min(model.config().context));
    let logits = |decoder: &Decoder, lora| decoder.logits(&decoder.hidden(&Rows::single(&prompt), lora, Mode::Evaluate)?);
    let (unmerged, plain) = {
        let decoder = Decoder::new(model.config(), |name| model.tensor(name))?;
        (logits(&decoder, Some(lora))?, logits(&decoder, None)?)
    };
    let merged = {
        let file = ModelFile::open(merged)?;
        logits(&Decoder::new(file.config(), |name| file.tensor(name))?, None)?
    };
    let centred = unmerged.broadcast_sub(&unmerged.mean_keepdim(1)?)?;
    Ok(Likeness {
        difference: root_mean_square(&(merged - &unmerged)?)?,
        effect: root_mean_square(&(plain - &unmerged)?)?,
        spread: root_mean_square(&centred)?,
        tolerance: tolerance(stored),
    })
}

fn root_mean_square(x: &Tensor) -> Result<f64> {
    let x = x.contiguous()?;
    let values = floats(&x)?;
    Ok((values.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>() / values.len() as f64).sqrt())
}
