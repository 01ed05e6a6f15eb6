//! The learner: one update for whatever its examples are, restricted or not; stops, divergence and checkpoints.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use eliteloop::base::done::Done;
use eliteloop::base::seed;
use eliteloop::decoder::files::model_file::ModelFile;
use eliteloop::decoder::lora::adamw::{AdamW, clip};
use eliteloop::decoder::lora::matrices::Lora;
use eliteloop::decoder::lora::score::log_p;
use eliteloop::decoder::lora::step::{Batch, Rule, add_gradient};
use eliteloop::decoder::model::decoder::Decoder;
use eliteloop::decoder::model::pack::{Example, by_prompt, pack};
use eliteloop::decoder::sample::generate::Request;
use eliteloop::decoder::sample::sampling::Sampling;
use eliteloop::decoder::settings::llm::LlmConfig;
use eliteloop::decoder::settings::lora::LoraConfig;
use eliteloop::decoder::settings::tune::{Moments, Optimizer, TuneConfig, Until};
use eliteloop::policy::Learner;
use eliteloop::policy::lesson::{Lesson, Update};
use eliteloop::record::NetworkId;

static GO_ON: AtomicBool = AtomicBool::new(false);

/// What a restricted learner reads here; it says the first five.
const WORDS: [u32; 9] = [40, 7, 203, 99, 158, 11, 12, 13, 11];

fn model() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-llama3")
}

fn lora() -> LoraConfig {
    LoraConfig { rank: 4, dropout: 0.2, ..LoraConfig::default() }
}

fn learner() -> Learner {
    let config = LlmConfig { model: model().to_str().unwrap().into(), adapter: "none".into(), max_context: 64, ..LlmConfig::default() };
    Learner::open(&config, &lora(), 5).unwrap()
}

fn restricted() -> Learner {
    let mut learner = learner();
    learner.restrict(WORDS.to_vec(), 5).unwrap();
    learner
}

fn tuning() -> TuneConfig {
    TuneConfig { lr: 3e-3, epochs: 3, warmup_steps: 2, weight_decay: 0.01, smoothing: 0.8, moments: Moments::Keep, ..TuneConfig::default() }
}

fn example(prompt: &[u32], completion: &[u32]) -> Example {
    Example { id: "example".into(), prompt: prompt.to_vec(), completion: completion.to_vec() }
}

/// As a run has them: two parents, completions of any tokens and length.
fn deltas() -> Vec<Example> {
    let parents = [[5, 6, 7, 8, 9], [70, 60, 50, 40, 30]];
    vec![
        example(&parents[0], &[100, 101, 2]),
        example(&parents[1], &[200, 2]),
        example(&parents[0], &[90, 80, 70, 2]),
        example(&parents[1], &[100, 300, 2]),
    ]
}

/// As an audit has them: one prompt, completions of words alone, one of them twice.
fn cells() -> Vec<Example> {
    [[40, 7, 7], [158, 99, 40], [40, 7, 7], [203, 203, 203]].map(|words| example(&[11, 12, 13, 11], &words)).to_vec()
}

fn lesson(trained: &[Example]) -> Lesson<'_> {
    Lesson { trained, ..Lesson::default() }
}

fn finished(done: Done<Update>) -> Update {
    match done {
        Done::Finished(update) => update,
        Done::Stopped => panic!("nothing stopped it"),
    }
}

/// The update of all examples, step by step from its parts.
fn by_hand(decoder: &Decoder, lora: &mut Lora, optimizer: &mut AdamW, examples: &[Example], run_seed: u64) {
    let config = tuning();
    let before = lora.snapshot().unwrap();
    let order = by_prompt(examples, 0..examples.len()).concat();
    let mut parameters = before.clone();
    for (step, lr) in [0.5 * config.lr, config.lr, config.lr].into_iter().enumerate() {
        let mut gradients: Vec<Vec<f32>> = parameters.iter().map(|p| vec![0.0; p.len()]).collect();
        for (part, pack) in pack(examples, &order, 2048).iter().enumerate() {
            let dropout = seed::derive(run_seed, "dropout", &[step as u64, part as u64]);
            add_gradient(decoder, lora, pack, |_| 1.0 / examples.len() as f64, dropout, &mut gradients).unwrap();
        }
        clip(&mut gradients, config.clip);
        optimizer.step(&mut parameters, &gradients, lr, config.weight_decay);
        lora.restore(&parameters).unwrap();
    }
    lora.smooth(config.smoothing, &before).unwrap();
}

#[test]
fn deltas_of_a_run_and_cells_of_an_audit_go_through_the_same_update() {
    let decoder = Decoder::open(&ModelFile::open(&model()).unwrap(), eliteloop::decoder::settings::llm::Dtype::F32).unwrap();
    let small = decoder.restricted(&WORDS, 5).unwrap();
    let id = |token: &u32| WORDS.iter().position(|word| word == token).unwrap() as u32;
    let renumbered = |e: &Example| example(&e.prompt.iter().map(id).collect::<Vec<_>>(), &e.completion.iter().map(id).collect::<Vec<_>>());
    let small_cells: Vec<Example> = cells().iter().map(renumbered).collect();
    for (mut learner, decoder, examples, numbered) in
        [(learner(), &decoder, deltas(), deltas()), (restricted(), &small, cells(), small_cells)]
    {
        let (mut right, mut optimizer) = (Lora::new(decoder.config(), &lora(), 5).unwrap(), AdamW::of(learner.lora()));
        // Moments go on from one update to the next.
        for cycle in [1, 2] {
            let mean = |lora: &Lora| -log_p(decoder, Some(lora), &numbered, 2048).unwrap().iter().sum::<f64>() / numbered.len() as f64;
            let before = mean(&right);
            let update = finished(
                learner
                    .update(&Lesson { held_out: &examples[..3], ..lesson(&examples) }, &tuning(), cycle, &GO_ON, &mut |_, _| ())
                    .unwrap(),
            );
            by_hand(decoder, &mut right, &mut optimizer, &numbered, cycle);
            assert_eq!(learner.adapter_hash().unwrap(), right.hash().unwrap());
            assert_eq!((update.measured.loss_before, update.measured.loss_after), (before, mean(&right)));
            assert!(update.measured.loss_after < before && update.steps.len() == 3);
            assert_eq!(update.held_out_after, learner.mean_nll(&examples[..3]).unwrap());
            assert_ne!(update.held_out_after, update.held_out_before);
        }
    }
}

#[test]
fn a_restricted_learner_speaks_the_tokens_of_the_whole_model() {
    let (whole, few) = (learner(), restricted());
    let requests = [[11, 12, 13], [12, 11, 13]].map(|prompt| Request { prompt: prompt.to_vec(), seeds: (0..20).collect() });
    let sampling = |end| Sampling { temperature: 1.0, top_p: 1.0, max_tokens: 4, end };
    let draw = |end| match few.generate(&requests, &[], &sampling(end), &GO_ON, &mut |_| ()).unwrap() {
        Done::Finished(samples) => samples,
        Done::Stopped => panic!("nothing stopped it"),
    };
    let samples = draw(u32::MAX);
    let written: Vec<Example> =
        requests.iter().zip(&samples).flat_map(|(r, samples)| samples.iter().map(|s| example(&r.prompt, &s.tokens))).collect();
    assert!(written.iter().all(|e| e.completion.len() == 4 && e.completion.iter().all(|token| WORDS[..5].contains(token))));
    let scored = whole.log_p(&written).unwrap().into_iter().zip(few.log_p(&written).unwrap());
    for (sample, (log_p, log_q)) in samples.iter().flatten().zip(scored) {
        assert!((sample.log_p - log_p).abs() < 1e-3 && (sample.log_q - log_q).abs() < 1e-3 && sample.log_p < sample.log_q, "{sample:?}");
    }
    // An end is a token of the whole model's too.
    let ended = draw(7);
    assert!(ended.iter().flatten().all(|s| s.ended == s.tokens.contains(&7)) && ended.iter().flatten().any(|s| s.tokens.len() < 4));
    let error = few.log_p(&[example(&[11], &[41])]).unwrap_err();
    assert!(error.to_string().contains("restricted"), "{error}");
}

#[test]
fn a_stop_leaves_the_learner_as_it_was() {
    let (mut stopped, mut other) = (learner(), learner());
    let update =
        |learner: &mut Learner, cycle, stop: &AtomicBool| learner.update(&lesson(&deltas()), &tuning(), cycle, stop, &mut |_, _| ());
    for learner in [&mut stopped, &mut other] {
        finished(update(learner, 1, &GO_ON).unwrap());
    }
    let stop = AtomicBool::new(false);
    let after_a_step = stopped
        .update(&lesson(&deltas()), &tuning(), 2, &stop, &mut |number, _| {
            assert_eq!(number, 1);
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        })
        .unwrap();
    assert!(matches!(after_a_step, Done::Stopped));
    assert_eq!(stopped.adapter_hash().unwrap(), other.adapter_hash().unwrap());
    // The moments as well.
    for learner in [&mut stopped, &mut other] {
        finished(update(learner, 2, &GO_ON).unwrap());
    }
    assert_eq!(stopped.adapter_hash().unwrap(), other.adapter_hash().unwrap());
}

#[test]
fn what_diverges_is_an_error_that_says_what_to_lower() {
    // After one step nothing follows whose gradient would tell.
    for (lr, epochs) in [(1e30, 1), (1e30, 3), (1e300, 1)] {
        let config = TuneConfig { lr, epochs, warmup_steps: 0, ..tuning() };
        let error = learner().update(&lesson(&deltas()), &config, 1, &GO_ON, &mut |_, _| ()).err().unwrap();
        assert!(error.to_string().contains("tuning diverged at step"), "{error}");
        assert_eq!(error.hint_text(), Some("lower tune.lr"));
    }
    let rule = Rule { clip: 0.0, weight_decay: 0.0, of: "a lesson", remedy: "--lr" };
    let examples = deltas();
    let weight = |_: usize| f64::INFINITY;
    let batch = Batch { examples: &examples, chosen: &[0, 2], weight: &weight, dropout_seed: &|part| part };
    let mut learner = learner();
    let before = learner.adapter_hash().unwrap();
    let error = learner.step(&rule, &[batch], 1e-3, 7).unwrap_err();
    assert!(error.to_string().contains("a lesson diverged at step 7"), "{error}");
    assert_eq!(learner.adapter_hash().unwrap(), before);
}

#[test]
fn checkpoints_are_whole_and_bring_the_moments_back() {
    let base = tempfile::tempdir().unwrap();
    let folder = base.path().join("cycle-0001");
    let mut first = learner();
    finished(first.update(&lesson(&deltas()), &tuning(), 1, &GO_ON, &mut |_, _| ()).unwrap());
    // What a kill leaves: half of this checkpoint, and one of the same name that is not in the store.
    for left in [base.path().join(".cycle-0001"), folder.clone()] {
        std::fs::create_dir(&left).unwrap();
        std::fs::write(left.join("optimizer.safetensors"), "half").unwrap();
        std::fs::write(left.join("left"), "over").unwrap();
    }
    first.save_checkpoint(&folder, Moments::Keep).unwrap();
    let names = |folder: &Path| std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name()).collect::<Vec<_>>();
    assert_eq!(names(base.path()), ["cycle-0001"]);
    assert_eq!(names(&folder).len(), 3);

    let hash = first.adapter_hash().unwrap();
    let mut second = learner();
    let error = second.load_checkpoint(&folder, Moments::Keep, &"0".repeat(64)).unwrap_err();
    assert!(error.to_string().contains("is not the one that was stored") && error.hint_text().is_some(), "{error}");
    second.load_checkpoint(&folder, Moments::Keep, &hash).unwrap();
    for learner in [&mut first, &mut second] {
        finished(learner.update(&lesson(&deltas()), &tuning(), 2, &GO_ON, &mut |_, _| ()).unwrap());
    }
    assert_eq!(first.adapter_hash().unwrap(), second.adapter_hash().unwrap());

    first.save_checkpoint(&folder, Moments::Fresh).unwrap();
    assert_eq!(names(&folder).len(), 2, "moments that begin anew are not kept");
}

#[test]
fn an_update_says_how_far_it_went_over_all_that_was_sampled() {
    for (mut learner, examples) in [(learner(), deltas()), (restricted(), cells())] {
        let named = |(i, e): (usize, &Example)| Example { id: format!("3/{i}"), ..e.clone() };
        let sampled: Vec<Example> = examples.iter().enumerate().map(named).collect();
        let before = learner.log_p(&sampled).unwrap();
        let lesson = Lesson { trained: &examples[..2], sampled: &sampled, log_q: &before, ..Lesson::default() };
        let update = finished(learner.update(&lesson, &tuning(), 1, &GO_ON, &mut |_, _| ()).unwrap());
        let quality = |network: &NetworkId| match network {
            NetworkId::Candidate { cycle: 3, index } if *index < 3 => Some(0.1 * (*index as f64 + 1.0)),
            _ => None,
        };
        let change = update.measured.change(&lesson, quality).unwrap().unwrap();
        let after = learner.log_p(&sampled).unwrap();
        assert_eq!(change.samples.len(), 4);
        for (i, sample) in change.samples.iter().enumerate() {
            assert_eq!(sample.network.to_string(), format!("3/{i}"));
            assert!((sample.before - before[i]).abs() < 1e-4 && (sample.after - after[i]).abs() < 1e-4, "{sample:?}");
        }
        // Price's split of the three that have a quality, by hand; of the words the third says what the first does.
        let w: Vec<f64> = (0..3).map(|i| (after[i] - before[i]).exp()).collect();
        let parts: Vec<f64> = (0..3).map(|i| (w[i] / w.iter().sum::<f64>() - 1.0 / 3.0) * (0.1 * (i as f64 + 1.0) - 0.2)).collect();
        let rest = if learner.is_restricted() { 0.0 } else { parts[2] };
        assert!((change.generalised.unwrap() - rest).abs() < 1e-5, "{change:?}, {parts:?}");
        assert!((change.memorised.unwrap() + change.generalised.unwrap() - parts.iter().sum::<f64>()).abs() < 1e-5);
        let floor = if learner.is_restricted() { 2f64.ln() } else { 0.0 };
        let (old, new) = (update.measured.loss_before, update.measured.loss_after);
        assert!((change.floor - floor).abs() < 1e-9 && (change.share.unwrap() - (old - new) / (old - floor)).abs() < 1e-9);
        assert!(change.kl.unwrap() > 0.0 && change.effective_samples > 1.0 && change.effective_samples <= 4.0);
    }
}

#[test]
fn a_natural_gradient_that_does_not_fit_is_refused_in_words() {
    let natural = TuneConfig { optimizer: Optimizer::Natural, fisher_mib: 1, ..tuning() };
    learner().check_update(&natural, 1).unwrap();
    let error = learner().check_update(&natural, 100_000).unwrap_err();
    assert!(error.to_string().contains("100000 samples") && error.hint_text().unwrap().contains("tune.fisher_mib"), "{error}");
    learner().check_update(&TuneConfig { optimizer: Optimizer::Sgd, ..natural }, 100_000).unwrap();
    let until = Until { kl: Some(0.1), ..Until::default() };
    let alone = learner().update(&lesson(&deltas()), &TuneConfig { until, ..tuning() }, 1, &GO_ON, &mut |_, _| ());
    assert!(alone.err().unwrap().to_string().contains("what the cycle sampled"));
}
