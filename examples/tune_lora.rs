//! A LoRA adapter is tuned on a GGUF model in this process, and saved as PEFT reads it.
//!
//!     cargo run --release --example tune_lora -- models/SmolLM2-135M-Instruct.Q4_1.gguf out/adapter
#![allow(clippy::print_stdout)]

use std::path::Path;
use std::sync::atomic::AtomicBool;

use eliteloop::base::error::{Error, Result};
use eliteloop::decoder::files::model_file::ModelFile;
use eliteloop::decoder::lora::adamw::AdamW;
use eliteloop::decoder::lora::adapter::Precision;
use eliteloop::decoder::lora::matrices::Lora;
use eliteloop::decoder::lora::tune::{Plan, Schedule, tune};
use eliteloop::decoder::model::decoder::Decoder;
use eliteloop::decoder::model::pack::Example;
use eliteloop::decoder::settings::llm::Dtype;
use eliteloop::decoder::settings::lora::LoraConfig;
use eliteloop::decoder::settings::tune::TuneConfig;

/// What the model is to say of each colour.
const LESSONS: [(&str, &str); 3] = [("red", " warm"), ("blue", " cold"), ("orange", " warm")];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, out] = &arguments[..] else { return Err(Error::input("usage: tune_lora MODEL.gguf OUT")) };
    let file = ModelFile::open(Path::new(model))?;
    let (tokenizer, decoder) = (file.tokenizer()?, Decoder::open(&file, Dtype::F32)?);
    let example = |(colour, word): &(&str, &str)| Example {
        id: (*colour).to_owned(),
        prompt: tokenizer.encode_plain(&format!("The colour {colour} is")),
        completion: tokenizer.encode_plain(word),
    };
    let examples: Vec<Example> = LESSONS.iter().map(example).collect();
    let mut lora = Lora::new(file.config(), &LoraConfig::default(), 0)?;
    let mut optimizer = AdamW::new(lora.snapshot()?.iter().map(Vec::len));
    let config = TuneConfig { lr: 1e-3, epochs: 10, ..TuneConfig::default() };
    let plan = Plan {
        config: &config,
        batch: None,
        schedule: Schedule::Constant,
        budget: 512,
        seed: 0,
        abort: &AtomicBool::new(false),
        weights: &[],
        reference: None,
    };
    let log = tune(&decoder, &mut lora, &mut optimizer, &examples, &plan, |number, of, step| {
        println!("step {} of {of}: loss {:.3}, gradient norm {:.3}", number + 1, step.loss, step.gradient_norm);
    })?;
    println!("loss of an example {:.3} -> {:.3}", log.loss_before, log.loss_after);
    lora.save(Path::new(out), &file.name(), Precision::F32)
}
