//! How long a warm-up takes on this machine's processor, before a model is loaded.
//!
//! Nearly all of its time goes into products of tokens with frozen matrices: one forward and one backward for each matrix of the layers, and
//! for the output layer at the tokens of completions. How many tokens is counted on lessons of the corpus; how fast a product is, is measured
//! on one matrix of the model.

use std::time::Instant;

use crate::base::error::Result;
use crate::base::seed;
use crate::decoder::files::model_file::ModelFile;
use crate::decoder::ops::matmul::{Into, Threads, View, matmul};
use crate::delta::corpus::random_family;
use crate::delta::settings::Format;
use crate::policy::prompt;
use crate::policy::schooling::warmup::completion;

/// Examples of a warm-up, where nothing else is said.
pub const EXAMPLES: usize = 4000;
/// Those of one step, all of one parent, where nothing else is said.
pub const PER_PARENT: usize = 8;

/// Lessons that are counted.
const LESSONS: usize = 6;
/// Of a step's time to that of its products: attention, norms, the adapter and the optimiser come on top. A guess that no
/// measurement stands behind.
const BESIDES: f64 = 1.6;

/// Seconds of a warm-up with the usual settings for deltas of `format`, about.
///
/// # Errors
/// Where the model cannot be read.
pub fn seconds(file: &ModelFile, format: Format) -> Result<f64> {
    let (tokenizer, template) = (file.tokenizer()?, file.chat_template()?);
    let (mut prompts, mut completions) = (0, 0);
    for lesson in 0..LESSONS {
        let mut rng = seed::rng(0, "warmup", &[lesson as u64]);
        let longest = crate::delta::longest(format);
        let family = random_family(&mut rng, format, PER_PARENT, |delta| completion(&tokenizer, delta).len() <= longest);
        prompts += prompt::encode(&tokenizer, template.as_ref(), format, &family.parent)?.len();
        completions += family.deltas.iter().map(|delta| completion(&tokenizer, delta).len()).sum::<usize>();
    }
    let (prompts, completions) = (prompts as f64 / LESSONS as f64, completions as f64 / LESSONS as f64);
    let config = file.config();
    let elements = |name: &str| file.matrices().iter().filter(|m| m.name.contains(name)).map(|m| (m.rows * m.columns) as f64).sum::<f64>();
    let products = (prompts + completions) * elements("model.layers.") + completions * (config.vocab * config.width) as f64;
    let steps = EXAMPLES.div_ceil(PER_PARENT) as f64;
    // Forward, and backward to the inputs.
    Ok(steps * 2.0 * products * seconds_of_a_product(file, (prompts + completions) as usize)? * BESIDES)
}

/// Of one multiplication and addition, with `tokens` rows.
fn seconds_of_a_product(file: &ModelFile, tokens: usize) -> Result<f64> {
    let (width, ffn) = (file.config().width, file.config().ffn);
    let weight: Vec<f32> = file.tensor("model.layers.0.mlp.gate_proj.weight")?.flatten_all()?.to_vec1()?;
    let x: Vec<f32> = (0..tokens * width).map(|i| (i % 97) as f32 * 0.01).collect();
    let mut out = vec![0.0; tokens * ffn];
    let mut once = || {
        let start = Instant::now();
        matmul(&mut out, ffn, Into::Overwrite, 1.0, View::new(&x, tokens, width), View::new(&weight, ffn, width).t(), Threads::All);
        start.elapsed().as_secs_f64()
    };
    // The first one finds cold caches.
    once();
    let fastest = (0..3).map(|_| once()).fold(f64::INFINITY, f64::min);
    Ok(fastest / (tokens * width * ffn) as f64)
}
