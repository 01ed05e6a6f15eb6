//! The goldens once more on the first card, and a run of two cycles there. Without a card, or without the feature, each test says so.

use std::path::Path;
use std::sync::OnceLock;

use candle_core::Device;
use eliteloop::base::device::Kernels;
use eliteloop::base::device::{Card, Place};
use eliteloop::decoder::lora::adamw::AdamW;
use eliteloop::decoder::lora::matrices::Lora;
use eliteloop::decoder::lora::tune::{Plan, Schedule, tune};
use eliteloop::decoder::model::decoder::Decoder;
use eliteloop::decoder::sample::generate::{Request, Sample, generate};
use eliteloop::decoder::sample::sampling::Sampling;
use eliteloop::decoder::settings::llm::CardDtype;
use eliteloop::decoder::settings::lora::LoraConfig;
use eliteloop::decoder::settings::tune::TuneConfig;
use eliteloop::proxy::dataset::{self, Part, Split};
use eliteloop::proxy::settings::ProxyConfig;
use eliteloop::proxy::train;
use eliteloop::record::{Store, Training, folder};

use crate::llm_goldens::{check_gradients, check_logits, example};
use crate::models::{smollm, smollm_file};
use crate::needs::skipped;
use crate::program::{program, small_run, succeed};
use crate::proxy_goldens;

fn card() -> Option<&'static Device> {
    static CARD: OnceLock<Result<Device, String>> = OnceLock::new();
    match CARD.get_or_init(|| Place::Cuda(0).open().map_err(|error| error.to_string())) {
        Ok(device) => Some(device),
        Err(error) => {
            skipped(&format!("nothing was tried on a card: {error}"));
            None
        }
    }
}

fn on_card(device: &Device, dtype: CardDtype, recompute: bool) -> Decoder {
    Decoder::open_on(&smollm_file(), dtype, device, recompute).unwrap()
}

fn tokens(n: usize, step: u32) -> Vec<u32> {
    (0..n as u32).map(|i| (i * step + 13) % 97).collect()
}

#[test]
fn logits_and_gradients_equal_pytorch_and_peft() {
    needs!(Model);
    let Some(device) = card() else { return };
    let decoder = on_card(device, CardDtype::F32, false);
    check_logits(&decoder, 2e-3);
    check_gradients(&decoder);
    check_gradients(&decoder.with_recompute(true));
}

fn sample(decoder: &Decoder) -> Vec<Sample> {
    let requests = [Request { prompt: tokens(40, 7), seeds: (0..64).collect() }];
    let sampling = Sampling { temperature: 1.0, top_p: 1.0, max_tokens: 12, end: 2 };
    generate(decoder, &requests, &sampling, &mut |_| Ok(())).unwrap().remove(0)
}

#[test]
fn samples_are_those_of_the_processor_and_repeat_to_the_bit() {
    needs!(Model);
    let Some(device) = card() else { return };
    let decoder = on_card(device, CardDtype::F32, false);
    let (own, there) = (sample(smollm()), sample(&decoder));
    // Where two tokens are as likely as rounding, a draw may fall the other way.
    let same = own.iter().zip(&there).filter(|(a, b)| a.tokens == b.tokens).count();
    assert!(same >= 62, "{same} of 64 samples are the same");
    assert_eq!(sample(&decoder), there);
    let narrow = on_card(device, CardDtype::Bf16, false);
    assert_eq!(sample(&narrow), sample(&narrow));
}

#[test]
fn two_tuning_steps_go_where_the_processor_goes() {
    needs!(Model);
    let Some(device) = card() else { return };
    let tuned = |decoder: &Decoder| {
        let mut lora = Lora::new(decoder.config(), &LoraConfig::default(), 2).unwrap();
        let mut optimiser = AdamW::new(lora.layers().iter().map(|l| l.elem_count()));
        let config = TuneConfig { epochs: 2, warmup_steps: 0, ..TuneConfig::default() };
        let abort = std::sync::atomic::AtomicBool::new(false);
        let plan = Plan {
            config: &config,
            batch: None,
            schedule: Schedule::Constant,
            budget: 512,
            seed: 5,
            abort: &abort,
            weights: &[],
            reference: None,
        };
        let examples = [example(&tokens(30, 7), &tokens(9, 5)), example(&tokens(12, 3), &tokens(5, 2))];
        let log = tune(decoder, &mut lora, &mut optimiser, &examples, &plan, |_, _, _| ()).unwrap();
        (log.loss_before, log.loss_after, lora.hash().unwrap())
    };
    let (own, there) = (tuned(smollm()), tuned(&on_card(device, CardDtype::F32, false)));
    assert!((own.0 / there.0 - 1.0).abs() < 1e-4 && (own.1 / there.1 - 1.0).abs() < 1e-3, "{own:?} against {there:?}");
    let narrow = on_card(device, CardDtype::Bf16, false);
    let (once, again) = (tuned(&narrow), tuned(&narrow));
    assert_eq!(once, again);
    assert!((own.0 / once.0 - 1.0).abs() < 2e-2 && once.1 < once.0, "{own:?} against {once:?}");
}

#[test]
fn operations_networks_and_optimiser_steps_of_proxies_equal_pytorch() {
    let Some(device) = card() else { return };
    proxy_goldens::check_operations(Kernels::Own, device);
    for (golden, graph) in proxy_goldens::goldens() {
        proxy_goldens::check_network(&golden, &graph, Kernels::Own, device);
        proxy_goldens::check_steps(&golden, &graph, Kernels::Own, device);
    }
}

#[test]
fn a_training_repeats_to_the_bit_and_gives_its_memory_back() {
    let Some(device) = card() else { return };
    let data = dataset::load("synthetic", &eliteloop::base::home::data(), Part::Train).unwrap();
    let split = Split::draw(&data, 3, 320, 100).unwrap();
    let config = ProxyConfig { device: Place::Cuda(0), batch: 32, epochs: 2, ..ProxyConfig::default() };
    let (_, graph) = proxy_goldens::goldens().into_iter().find(|(golden, _)| golden.name == "residual").unwrap();
    let train = || train::train(&graph, &split, &config, 1, |_| {}).unwrap().0.without_timings();
    let first = train();
    let free = || Card::of(device).unwrap().unwrap().free.unwrap();
    let before = free();
    assert_eq!(train(), first);
    assert!(free() + (64 << 20) >= before, "{} bytes were free, now {}", before, free());
}

fn run(out: &Path) -> String {
    succeed(small_run(out, &["proxy.repeats=2"]).args(["--device", "cuda:0"]));
    let store = Store::read(&folder::store_path(out)).unwrap();
    let trainings: Vec<Training> = store.trainings().unwrap().into_iter().map(|t| Training { seconds: 0.0, ..t }).collect();
    assert!(trainings.iter().any(|training| training.accuracy.is_some()));
    format!("{:?}\n{trainings:?}\n{:?}\n{:?}", store.candidates().unwrap(), store.elites().unwrap(), store.cycles().unwrap())
}

#[test]
fn two_cycles_on_the_card_repeat_with_the_same_seed() {
    if card().is_none() {
        return;
    }
    let base = tempfile::tempdir().unwrap();
    let (first, second) = (run(&base.path().join("first")), run(&base.path().join("second")));
    assert!(first == second, "the same seed gave another run");
    succeed(program(&["verify"]).arg(base.path().join("first")));
}
