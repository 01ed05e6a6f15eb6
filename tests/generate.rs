//! Generation with the real model: samples depend on prompt and seed alone, and carry the model's own probabilities.

use std::sync::OnceLock;

use eliteloop::config::Format;
use eliteloop::delta::{prompt, starts::starts};
use eliteloop::error::Error;
use eliteloop::llm::decoder::{Decoder, Mode, Rows};
use eliteloop::llm::generate::{Progress, Request, Sample, generate};
use eliteloop::llm::model_file::ModelFile;
use eliteloop::llm::sampling::Sampling;
use eliteloop::llm::tokenizer::Tokenizer;

struct Loaded {
    decoder: Decoder,
    tokenizer: Tokenizer,
    prompt: Vec<u32>,
}

fn loaded() -> &'static Loaded {
    static LOADED: OnceLock<Loaded> = OnceLock::new();
    LOADED.get_or_init(|| {
        let path = eliteloop::home::models().join("SmolLM2-135M-Instruct.Q4_1.gguf");
        let file = ModelFile::open(&path).unwrap_or_else(|e| panic!("{e}: scripts/fetch brings the model"));
        let tokenizer = file.tokenizer().unwrap();
        let template = file.chat_template().unwrap();
        let prompt = prompt::encode(&tokenizer, template.as_ref(), Format::Edit, starts()[0].1).unwrap();
        let decoder = Decoder::new(file.config(), |name| file.tensor(name)).unwrap();
        Loaded { decoder, tokenizer, prompt }
    })
}

fn sampling(max_tokens: usize) -> Sampling {
    Sampling { temperature: 1.0, top_p: 1.0, max_tokens, end: loaded().tokenizer.eos() }
}

fn sample(seeds: &[u64], sampling: &Sampling) -> Vec<Sample> {
    let request = Request { prompt: loaded().prompt.clone(), seeds: seeds.to_vec() };
    generate(&loaded().decoder, &[request], sampling, &mut |_| Ok(())).unwrap().remove(0)
}

#[test]
fn a_sample_is_the_same_whatever_the_batch() {
    let seeds: Vec<u64> = (100..118).collect();
    let together = sample(&seeds, &sampling(12));
    assert_eq!(together.len(), 18);
    for at in [0, 7, 16] {
        let alone = sample(&seeds[at..=at], &sampling(12)).remove(0);
        assert_eq!(alone.tokens, together[at].tokens);
        assert_eq!(alone.log_p.to_bits(), together[at].log_p.to_bits());
    }
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert_eq!(one_thread.install(|| sample(&seeds[..3], &sampling(12))), together[..3]);
    assert!(together.iter().any(|other| other.tokens != together[0].tokens), "seeds make a difference");
    assert!(together.iter().all(|sample| sample.log_p.to_bits() == sample.log_q.to_bits()));
}

#[test]
fn log_p_is_what_teacher_forcing_gives() {
    let Loaded { decoder, prompt, .. } = loaded();
    for sample in sample(&[1, 2], &sampling(10)) {
        let all: Vec<u32> = prompt.iter().chain(&sample.tokens).copied().collect();
        let hidden = decoder.hidden(&Rows::single(&all), None, Mode::Evaluate).unwrap();
        let at: Vec<u32> = (0..sample.tokens.len()).map(|i| (prompt.len() - 1 + i) as u32).collect();
        let nll = decoder.nll(&hidden, &at, &sample.tokens).unwrap().to_vec1::<f32>().unwrap();
        let log_p = -nll.iter().map(|&x| f64::from(x)).sum::<f64>();
        assert!((log_p - sample.log_p).abs() < 1e-3 * log_p.abs(), "{log_p} and {}", sample.log_p);
    }
}

#[test]
fn other_temperatures_have_another_log_q_and_limits_end_samples() {
    let cold = sample(&[5], &Sampling { temperature: 0.01, ..sampling(6) });
    let colder = sample(&[6], &Sampling { temperature: 0.01, ..sampling(6) });
    assert_eq!(cold[0].tokens, colder[0].tokens, "near zero the most likely token is always drawn");
    assert!(cold[0].log_q > cold[0].log_p);
    assert_eq!((cold[0].tokens.len(), cold[0].ended), (6, false));
    // Whatever comes first, made the end token, ends the sample and is counted.
    let end = cold[0].tokens[0];
    let ended = sample(&[5], &Sampling { end, temperature: 0.01, ..sampling(6) });
    assert_eq!((ended[0].tokens.as_slice(), ended[0].ended), ([end].as_slice(), true));
}

#[test]
fn progress_is_told_and_can_stop_the_generation() {
    let mut last = Progress::default();
    let requests = [1, 2].map(|seed| Request { prompt: loaded().prompt.clone(), seeds: vec![seed, seed + 10] });
    generate(&loaded().decoder, &requests, &sampling(3), &mut |progress| {
        last = progress;
        Ok(())
    })
    .unwrap();
    assert_eq!(last, Progress { samples: 4, of: 4, tokens: 12 });
    let stopped = generate(&loaded().decoder, &requests, &sampling(50), &mut |_| Err(Error::machine("stopped")));
    assert_eq!(stopped.unwrap_err().to_string(), "stopped");
}

#[test]
fn a_prompt_that_does_not_fit_is_refused() {
    let long = Request { prompt: vec![1; 8190], seeds: vec![1] };
    let error = generate(&loaded().decoder, &[long], &sampling(10), &mut |_| Ok(())).unwrap_err();
    assert!(error.to_string().contains("8190 tokens"), "{error}");
}
