//! A model writes what a grammar of bytes allows and nothing else: here a date.
//!
//!     cargo run --release --example sample_under_mask -- models/SmolLM2-135M-Instruct.Q4_1.gguf
#![allow(clippy::print_stdout)]

use std::path::Path;
use std::sync::Arc;

use eliteloop::base::error::{Error, Result};
use eliteloop::decoder::files::model_file::ModelFile;
use eliteloop::decoder::model::decoder::Decoder;
use eliteloop::decoder::sample::generate::{Request, generate_masked};
use eliteloop::decoder::sample::mask::{ByteGrammar, Mask, TokenTrie};
use eliteloop::decoder::sample::sampling::Sampling;
use eliteloop::decoder::settings::llm::Dtype;

/// ` YYYY-MM-DD`; the state is how many bytes are written.
struct Date;

impl ByteGrammar for Date {
    type State = usize;

    fn start(&self) -> usize {
        0
    }

    fn step(&self, written: usize, byte: u8) -> Option<usize> {
        let fits = match b" dddd-dd-dd".get(written)? {
            b'd' => byte.is_ascii_digit(),
            given => byte == *given,
        };
        fits.then_some(written + 1)
    }

    fn ends(&self, written: usize, _: &[u8]) -> bool {
        written == " dddd-dd-dd".len()
    }

    fn within_line(written: usize) -> Option<usize> {
        Some(written)
    }
}

fn main() -> Result<()> {
    let model = std::env::args().nth(1).ok_or_else(|| Error::input("usage: sample_under_mask MODEL.gguf"))?;
    let file = ModelFile::open(Path::new(&model))?;
    let tokenizer = file.tokenizer()?;
    let mask = Mask::new(Arc::new(TokenTrie::new(&tokenizer)), Date);
    let request = Request { prompt: tokenizer.encode_plain("The first person walked on the Moon on"), seeds: (0..4).collect() };
    let sampling = Sampling { temperature: 1.0, top_p: 1.0, max_tokens: 16, end: tokenizer.eos() };
    let decoder = Decoder::open(&file, Dtype::F32)?;
    for sample in generate_masked(&decoder, &[request], &[mask], &sampling, &mut |_| Ok(()))?.concat() {
        let text = tokenizer.decode(sample.tokens.strip_suffix(&[tokenizer.eos()]).unwrap_or(&sample.tokens));
        println!("{text}   log q {:.2}, log p {:.2}", sample.log_q, sample.log_p);
    }
    Ok(())
}
