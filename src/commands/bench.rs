//! `eliteloop bench`: how fast this machine tunes, scores and generates with the default model's shapes.

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use eliteloop::base::device::Place;
use eliteloop::base::error::{Error, Result};
use eliteloop::base::printer;
use eliteloop::decoder::files::catalogue;
use eliteloop::decoder::files::model_file::ModelFile;
use eliteloop::decoder::files::shape::DecoderConfig;
use eliteloop::decoder::lora::adamw::AdamW;
use eliteloop::decoder::lora::matrices::Lora;
use eliteloop::decoder::lora::score::log_p;
use eliteloop::decoder::lora::tune::{Plan, Schedule, tune};
use eliteloop::decoder::model::cache::Branches;
use eliteloop::decoder::model::decoder::Decoder;
use eliteloop::decoder::model::memory::{Memory, longest_pass};
use eliteloop::decoder::model::pack::Example;
use eliteloop::decoder::sample::generate::{Request, generate};
use eliteloop::decoder::sample::sampling::Sampling;
use eliteloop::decoder::settings::llm::{Dtype, TuningDtype};
use eliteloop::decoder::settings::lora::LoraConfig;
use eliteloop::decoder::settings::tune::TuneConfig;
use serde_json::json;

use super::{bench_formats, bench_proxy};

/// Tokens of a pass on a card, where nothing bounds them.
const CARD_PASS: usize = 1024;

#[derive(clap::Args)]
pub struct Args {
    /// What to measure
    #[arg(value_enum)]
    what: What,
    /// A name of the catalogue or a path to a model file
    #[arg(long, default_value = "smollm2-135m-instruct")]
    model: String,
    /// How its weights are kept
    #[arg(long, value_enum, default_value = "f32")]
    dtype: Dtype,
    /// In what tuning multiplies by them on the processor
    #[arg(long, value_enum, default_value = "f32")]
    tuning_dtype: TuningDtype,
    /// Where to measure: cpu, cuda:N, metal:N, or auto; a card keeps f32 weights as f32 and narrower ones as bf16
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: Place,
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Tokens of the prompt
    #[arg(long, default_value_t = 300)]
    prompt: usize,
    /// Tokens of each completion
    #[arg(long, default_value_t = 60)]
    completion: usize,
    /// Completions
    #[arg(long, default_value_t = 8)]
    branches: usize,
    /// Give each completion a prompt of its own, as plain rows have
    #[arg(long)]
    rows: bool,
    /// Different prompts, which the completions share evenly
    #[arg(long, default_value_t = 1, conflicts_with = "rows")]
    prompts: usize,
    /// What tuning may take by the estimate; its passes are made as long as that allows
    #[arg(long, value_name = "MIB", default_value_t = 6144)]
    memory: u64,
    #[arg(long, default_value_t = 3)]
    repeats: usize,
    /// Images of a proxy step
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// One of the ten networks of the proxy benchmark, or a source of your own
    #[arg(long)]
    network: Option<String>,
    /// Train this many networks for a few steps each, one after the other, and show the memory on the way
    #[arg(long)]
    candidates: Option<usize>,
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    formats: bench_formats::Args,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum What {
    /// LoRA steps on all projections, rank 16
    Tune,
    /// Sampled tokens, without choosing them
    Generate,
    /// The same with the prompt's prefill and the choice of each token
    Sample,
    /// Log-probabilities of completions
    Score,
    /// Steps of the proxy training on ten small networks
    Proxy,
    /// What an adapter writes of unseen parents at the first try: valid, new, tokens, seconds
    Formats,
}

pub fn run(args: &Args) -> Result<()> {
    if args.prompt == 0 || args.completion == 0 || args.branches == 0 || args.repeats == 0 || args.batch == 0 || args.prompts == 0 {
        return Err(Error::input("--prompt, --prompts, --completion, --branches, --repeats and --batch are at least 1"));
    }
    let (device, why) = args.device.settle();
    why.into_iter().for_each(printer::note);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(args.threads).build();
    let pool = pool.map_err(|e| Error::machine("no threads").caused_by(e))?;
    pool.install(|| match args.what {
        What::Proxy if args.candidates.is_some() => bench_proxy::memory(args.candidates.unwrap_or_default(), args.batch, args.json),
        What::Proxy => bench_proxy::run(args.network.as_deref(), args.batch, args.repeats, device, args.json),
        What::Formats => bench_formats::run(&args.formats, &args.model, args.dtype, args.json),
        _ => measure(args, device),
    })
}

fn measure(args: &Args, device: Place) -> Result<()> {
    let file = ModelFile::open(&catalogue::find(&args.model)?)?;
    let context = args.prompt + args.completion;
    let pass = if device.is_card() {
        CARD_PASS.max(context)
    } else {
        longest_pass(&file, &LoraConfig::default(), args.dtype, context, args.memory)?
    };
    let decoder = Decoder::open_at(&file, args.dtype, device)?.with_tuning_dtype(args.tuning_dtype);
    let examples = examples(args, decoder.config().vocab as u32);
    // What plain rows would have processed: the prompt once for each completion.
    let row_tokens = (args.branches * (args.prompt + args.completion)) as f64;
    let predicted = (args.branches * args.completion) as f64;
    let [layers, logits] = operations(decoder.config());
    let (what, seconds, tokens, operations) = match args.what {
        What::Tune => {
            let (seconds, tokens) = time_tune(&decoder, &examples, pass, args.repeats)?;
            ("tune", seconds, tokens, 2.0 * (layers * tokens + logits * predicted))
        }
        What::Score => {
            let budget = examples.iter().map(|e| e.prompt.len() + e.completion.len()).sum();
            let seconds = median(args.repeats, || log_p(&decoder, None, &examples, budget).map(drop))?;
            let prompts = if args.rows { args.branches } else { args.prompts };
            let tokens = (prompts * args.prompt) as f64 + predicted;
            ("score", seconds, row_tokens, layers * tokens + logits * predicted)
        }
        What::Generate => {
            let prefix = decoder.prefill(&examples[0].prompt, None)?;
            let seconds = median(args.repeats, || {
                let mut branches = Branches::new(&decoder, &prefix, args.branches, args.completion);
                for i in 0..args.completion {
                    branches.step(&examples.iter().map(|e| e.completion[i]).collect::<Vec<_>>())?;
                }
                Ok(())
            })?;
            ("generate", seconds, predicted, (layers + logits) * predicted)
        }
        What::Sample => {
            let seeds = (0..args.branches as u64).collect();
            let requests = [Request { prompt: examples[0].prompt.clone(), seeds }];
            // No token ends a completion early.
            let sampling = Sampling { temperature: 1.0, top_p: 1.0, max_tokens: args.completion, end: u32::MAX };
            let seconds = median(args.repeats, || generate(&decoder, &requests, &sampling, &mut |_| Ok(())).map(drop))?;
            ("sample", seconds, predicted, layers * (args.prompt as f64 + predicted) + logits * predicted)
        }
        What::Proxy | What::Formats => unreachable!("measured by a file of its own"),
    };
    let estimate = (matches!(args.what, What::Tune) && !device.is_card()).then(|| {
        let memory = Memory::of(&file, &LoraConfig::default(), args.dtype, context, pass);
        memory.peak_of_tuning() as f64 / f64::from(1 << 20)
    });
    let row_rate = matches!(args.what, What::Tune).then_some(row_tokens / seconds);
    if args.json {
        let (prompt, completion, branches, threads) = (args.prompt, args.completion, args.branches, args.threads);
        printer::data(json!({
            "what": what, "model": args.model, "device": device, "threads": threads, "prompt": prompt, "completion": completion, "branches": branches,
            "shared": !args.rows, "prompts": args.prompts, "dtype": args.dtype, "tuning_dtype": args.tuning_dtype, "pass": pass, "seconds": seconds, "tokens_per_second": tokens / seconds, "row_tokens_per_second": row_rate,
            "peak_mib": eliteloop::base::progress::peak_memory_mib(), "estimated_mib": estimate,
            "gflops": operations / seconds / 1e9,
        }));
    } else {
        let rows = row_rate.map(|r| format!("; {r:.0} tokens/s of plain rows")).unwrap_or_default();
        let rate = operations / seconds / 1e9;
        printer::data(format_args!("{what}: {:.0} tokens/s ({seconds:.3} s{rows}), {rate:.0} GFLOP/s", tokens / seconds));
    }
    Ok(())
}

/// Operations of the frozen products in one forward pass, of a token through the layers and of a token's logits. A backward pass costs as
/// many again, since frozen weights get no gradient. Attention and adapter are not counted.
fn operations(model: &DecoderConfig) -> [f64; 2] {
    let (query, kv) = (model.heads * model.head_dim, model.kv_heads * model.head_dim);
    let layers = 2 * model.layers * model.width * (2 * query + 2 * kv + 3 * model.ffn);
    [layers as f64, (2 * model.width * model.vocab) as f64]
}

/// Completions that share a prompt, or each with its own; the tokens mean nothing.
fn examples(args: &Args, vocab: u32) -> Vec<Example> {
    let tokens = |n: usize, stream: usize| (0..n).map(|i| (i as u32 * 7919 + stream as u32 * 104_729 + 1000) % vocab).collect::<Vec<_>>();
    let each = |i: usize| Example {
        id: i.to_string(),
        prompt: tokens(args.prompt, if args.rows { i + 1 } else { i * args.prompts / args.branches }),
        completion: tokens(args.completion, 100 + i),
    };
    (0..args.branches).map(each).collect()
}

/// Median seconds of a step after the first, and its tokens.
fn time_tune(decoder: &Decoder, examples: &[Example], pass: usize, repeats: usize) -> Result<(f64, f64)> {
    let mut lora = Lora::new(decoder.config(), &LoraConfig::default(), 0)?;
    let mut optimiser = AdamW::of(&lora);
    let config = TuneConfig { epochs: repeats + 1, ..TuneConfig::default() };
    let plan = Plan {
        config: &config,
        batch: None,
        schedule: Schedule::Constant,
        budget: pass,
        seed: 0,
        abort: &AtomicBool::new(false),
        weights: &[],
        reference: None,
    };
    let (mut last, mut seconds) = (None, Vec::new());
    let log = tune(decoder, &mut lora, &mut optimiser, examples, &plan, |_, _, _| {
        if let Some(last) = last.replace(Instant::now()) {
            seconds.push(last.elapsed().as_secs_f64());
        }
    })?;
    seconds.sort_by(f64::total_cmp);
    Ok((seconds[seconds.len() / 2], log.tokens as f64 / log.steps.len() as f64))
}

fn median(repeats: usize, mut run: impl FnMut() -> Result<()>) -> Result<f64> {
    run()?;
    let mut seconds = Vec::with_capacity(repeats);
    for _ in 0..repeats {
        let start = Instant::now();
        run()?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds[seconds.len() / 2])
}
