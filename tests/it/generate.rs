//! Generation with the real model: samples depend on prompt and seed alone, and carry the model's own probabilities.

use std::sync::OnceLock;

use candle_core::{Device, Tensor};
use eliteloop::base::error::Error;
use eliteloop::decoder::files::shape::{DecoderConfig, Family};
use eliteloop::decoder::files::tokenizer::Tokenizer;
use eliteloop::decoder::lora::matrices::Lora;
use eliteloop::decoder::model::decoder::{Decoder, Mode, Rows};
use eliteloop::decoder::sample::generate::{Progress, Request, Sample, generate};
use eliteloop::decoder::sample::sampling::Sampling;
use eliteloop::decoder::settings::lora::LoraConfig;
use eliteloop::delta::settings::{Format, Masking};
use eliteloop::delta::starts::starts;
use eliteloop::policy::Learner;
use eliteloop::policy::learner::{Identity, Model};
use eliteloop::policy::prompt;
use eliteloop::policy::schooling::trial::{Task, try_out, unseen_parents};
use eliteloop::policy::schooling::warmup::{Recipe, warm_up};

use crate::models::{smollm, smollm_file};

struct Loaded {
    decoder: &'static Decoder,
    tokenizer: Tokenizer,
    prompt: Vec<u32>,
}

fn loaded() -> &'static Loaded {
    static LOADED: OnceLock<Loaded> = OnceLock::new();
    LOADED.get_or_init(|| {
        let file = smollm_file();
        let tokenizer = file.tokenizer().unwrap();
        let template = file.chat_template().unwrap();
        let prompt = prompt::encode(&tokenizer, template.as_ref(), Format::Edit, starts()[0].1).unwrap();
        Loaded { decoder: smollm(), tokenizer, prompt }
    })
}

fn sampling(max_tokens: usize) -> Sampling {
    Sampling { temperature: 1.0, top_p: 1.0, max_tokens, end: loaded().tokenizer.eos() }
}

fn sample(seeds: &[u64], sampling: &Sampling) -> Vec<Sample> {
    let request = Request { prompt: loaded().prompt.clone(), seeds: seeds.to_vec() };
    generate(loaded().decoder, &[request], sampling, &mut |_| Ok(())).unwrap().remove(0)
}

#[test]
fn a_sample_is_the_same_whatever_the_batch() {
    needs!(Model);
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
    needs!(Model);
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
    needs!(Model);
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
    needs!(Model);
    let mut last = Progress::default();
    let requests = [1, 2].map(|seed| Request { prompt: loaded().prompt.clone(), seeds: vec![seed, seed + 10] });
    generate(loaded().decoder, &requests, &sampling(3), &mut |progress| {
        last = progress;
        Ok(())
    })
    .unwrap();
    assert_eq!(last, Progress { samples: 4, of: 4, tokens: 12 });
    let stopped = generate(loaded().decoder, &requests, &sampling(50), &mut |_| Err(Error::machine("stopped")));
    assert_eq!(stopped.unwrap_err().to_string(), "stopped");
}

#[test]
fn the_prompt_is_short_and_what_a_parent_says_is_text() {
    needs!(Model);
    let tokenizer = &loaded().tokenizer;
    let template = smollm_file().chat_template().unwrap();
    let encode = |parent: &str| prompt::encode(tokenizer, template.as_ref(), Format::Edit, parent).unwrap();
    let empty = encode("").len();
    assert!(empty < 70, "{empty} tokens around the parent");
    let turns = |ids: &[u32]| ids.iter().filter(|&&id| id == tokenizer.eos()).count();
    assert_eq!(turns(&encode("x = '<|im_end|>'\n")), turns(&encode("x = 'y'\n")));
    let plain = prompt::encode(tokenizer, None, Format::Full, "x = 1").unwrap();
    assert!(tokenizer.decode(&plain).ends_with("### Network\nx = 1\n### Change\n"));
}

#[test]
fn a_prompt_that_does_not_fit_is_refused() {
    needs!(Model);
    let long = Request { prompt: vec![1; 8190], seeds: vec![1] };
    let error = generate(loaded().decoder, &[long], &sampling(10), &mut |_| Ok(())).unwrap_err();
    assert!(error.to_string().contains("8190 tokens"), "{error}");
}

/// A model of random weights, small enough to be warmed up in a test.
fn tiny(vocab: usize) -> Decoder {
    let config = DecoderConfig {
        rope_scaling: None,
        family: Family::Llama,
        vocab,
        width: 32,
        layers: 2,
        heads: 2,
        kv_heads: 1,
        head_dim: 16,
        ffn: 48,
        context: 4096,
        rope_base: 10_000.0,
        rms_eps: 1e-5,
        tied: true,
        qkv_bias: false,
        qk_norm: false,
    };
    let weights = |name: &str| {
        let shape: &[usize] = match name.rsplit('.').nth(1).unwrap() {
            "embed_tokens" => &[vocab, 32],
            "q_proj" | "o_proj" => &[32, 32],
            "k_proj" | "v_proj" => &[16, 32],
            "gate_proj" | "up_proj" => &[48, 32],
            "down_proj" => &[32, 48],
            _ => return Ok(Tensor::ones(32, candle_core::DType::F32, &Device::Cpu)?),
        };
        let mut state = eliteloop::base::seed::derive(0, name, &[]);
        let values: Vec<f32> = (0..shape.iter().product())
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                ((state >> 40) as f32 / (1u64 << 24) as f32 - 0.5) * 0.4
            })
            .collect();
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
    };
    Decoder::new(&config, weights).unwrap()
}

#[test]
fn a_warm_up_learns_and_is_the_same_for_the_same_seed() {
    needs!(Model);
    let recipe = Recipe {
        format: Format::Edit,
        examples: 120,
        per_parent: 4,
        lr: 2e-2,
        warmup_steps: 3,
        clip: 1.0,
        max_tokens: 24,
        seed: 3,
        lora: LoraConfig { rank: 4, ..LoraConfig::default() },
    };
    let learn = || {
        let mut losses = Vec::new();
        let tokenizer = smollm_file().tokenizer().unwrap();
        let decoder = tiny(tokenizer.vocab_size());
        let lora = Lora::new(decoder.config(), &recipe.lora, recipe.seed).unwrap();
        let model = Model {
            identity: Identity { name: "tiny".into(), sha256: String::new(), chat_template: None },
            tokenizer,
            chat: None,
            decoder,
            max_context: 2048,
            pass: 2048,
        };
        let mut learner = Learner::new(model, lora);
        warm_up(&mut learner, &recipe, &mut |step, _| {
            losses.push(step.loss);
            Ok(())
        })
        .unwrap();
        (learner, losses)
    };
    let (learner, losses) = learn();
    assert_eq!(losses.len(), 30);
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    assert!(mean(&losses[25..]) < mean(&losses[..3]) - 0.5, "{losses:?}");
    let (again, same) = learn();
    assert_eq!((learner.adapter_hash().unwrap(), losses), (again.adapter_hash().unwrap(), same));

    let task = Task { format: recipe.format, mask: Masking::None, temperature: 1.0, top_p: 1.0, max_tokens: 24, seed: 3 };
    let parents = unseen_parents(&learner, 3, 3).unwrap();
    let trials = try_out(&learner, &task, &parents, &mut |_| Ok(())).unwrap().0;
    assert_eq!(trials.len(), 3);
    for trial in trials {
        assert!(trial.tokens >= 1 && trial.tokens <= 24);
        assert!(trial.tokens == 24 || trial.ended, "{}", trial.completion.escape_ascii());
    }
}
