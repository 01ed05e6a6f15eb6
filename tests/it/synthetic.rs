//! Run folders made up without an LLM or a training: real settings, real stores, real graphs, invented qualities.

use std::path::{Path, PathBuf};

use eliteloop::base::progress::PhaseRow;
use eliteloop::base::seed;
use eliteloop::config::{Policy, RunConfig};
use eliteloop::delta::{corpus, starts};
use eliteloop::gates::Stage;
use eliteloop::method::elite;
use eliteloop::record::folder::Folder;
use eliteloop::record::{
    Candidate, CycleRow, Kind, LabelRow, NetworkId, NetworkRow, Screened, Store, Training, TunedOn, Tuning, TuningStep,
};
use eliteloop::tracer::cost::cost;
use eliteloop::tracer::novelty::Filter;
use eliteloop::tracer::{TraceOptions, trace};
use rayon::prelude::*;

/// Distinct small networks.
pub struct Networks(Vec<(String, NetworkRow)>);

impl Networks {
    pub fn trace(how_many: usize) -> Self {
        let options = TraceOptions { program: PathBuf::from(env!("CARGO_BIN_EXE_eliteloop")), ..TraceOptions::new([3, 32, 32], 10) };
        let starts = starts::starts();
        let filter = Filter::new(&RunConfig::default().novelty, 0);
        let row = |place: usize| {
            let mut rng = seed::rng(1, "synthetic", &[place as u64]);
            let (mut source, mut graph) = (starts[place % starts.len()].1.to_owned(), None);
            for _ in 0..20 {
                let Some(child) = corpus::mutate_source(&mut rng, &source) else { continue };
                if let Ok(traced) = trace(&child, &options) {
                    (source, graph) = (child, Some(traced));
                    break;
                }
            }
            let graph = graph.expect("one mutation of twenty is a network");
            let (spent, fingerprint) = (cost(&graph), filter.fingerprint(&graph).unwrap());
            let row = NetworkRow {
                id: NetworkId::Start(String::new()),
                source: source.clone(),
                graph,
                graph_hash: fingerprint.hash.clone(),
                signature: fingerprint.signature.clone(),
                parameters: spent.parameters,
                macs: spent.macs,
                activation_bytes: spent.activation_bytes,
            };
            (source, row)
        };
        Self((0..how_many).into_par_iter().map(row).collect())
    }
}

/// Makes the folder of a finished run. `quality` of (cycle, index), cycles from 1; None is a delta that gives no network.
pub fn run(path: &Path, config: &RunConfig, networks: &Networks, quality: impl Fn(u64, u64) -> Option<f64>) {
    let (_folder, store) = Folder::create(path, Kind::Run, &config.to_toml(), |s| fill(s, config, networks, quality)).unwrap();
    store.seal().unwrap();
}

fn fill(
    s: &Store,
    config: &RunConfig,
    networks: &Networks,
    quality: impl Fn(u64, u64) -> Option<f64>,
) -> eliteloop::base::error::Result<()> {
    let start = NetworkId::Start("plain".into());
    let llm = config.policy.has_llm();
    s.set_meta("program", "0.1.0")?;
    s.set_meta("dataset", "00")?;
    s.stamp("started")?;
    s.set_starts(&[("plain".into(), networks.0[0].0.clone())])?;
    s.put_network(&NetworkRow { id: start.clone(), ..networks.0[0].1.clone() })?;
    s.put_training(&training(&start, 0.5, 0))?;
    s.put_cycle(&CycleRow { cycle: 0, gamma: None, adapter_hash: "none".into(), tuning: None })?;
    for cycle in 1..=config.cycles {
        for index in 0..config.candidates {
            let id = NetworkId::Candidate { cycle, index };
            let quality = quality(cycle, index);
            let (source, row) = &networks.0[1 + ((cycle - 1) * config.candidates + index) as usize % (networks.0.len() - 1)];
            s.put_candidate(&Candidate {
                cycle,
                index,
                parent: if cycle == 1 { start.clone() } else { NetworkId::Candidate { cycle: cycle - 1, index: index % 2 } },
                prompt_hash: "prompt".into(),
                completion: "12\nnn.LazyConv2d(48, 3, padding=1),\n".into(),
                tokens: if llm { (0..12).map(|t| t + index as u32).collect() } else { vec![] },
                log_p: llm.then_some(-9.0 - index as f64),
                log_q: llm.then_some(-9.0 - index as f64),
                ended: true,
                screened: Some(Screened {
                    stage: if quality.is_some() { Stage::Trained } else { Stage::Applied },
                    reason: quality.is_none().then(|| "python".into()),
                    detail: quality.is_none().then(|| "line 9: TypeError: not a width".into()),
                    line: quality.is_none().then_some(9),
                    source: Some(source.clone()),
                    nearest: Some(start.clone()),
                    jaccard: Some(0.2 + 0.7 * (index as f64 * 0.618).fract()),
                    parent_jaccard: Some(0.8),
                }),
            })?;
            if llm {
                let valid = (0..12).map(|t| quality.is_some() || t != 5).collect();
                s.put_labels(&LabelRow { cycle, index, prompt_tokens: 300, valid })?;
            }
            let Some(quality) = quality else { continue };
            let graph_hash = format!("{} {cycle} {index}", row.graph_hash);
            s.put_network(&NetworkRow { id: id.clone(), graph_hash, ..row.clone() })?;
            s.put_training(&training(&id, quality, 0))?;
            if index < 2 {
                s.put_training(&Training { repeat: true, ..training(&id, quality + 0.01 * (index as f64 - 0.5), 1) })?;
            }
        }
        let elites = elite::of_cycle(s, config, cycle)?;
        elites.rows.iter().try_for_each(|e| s.put_elite(e))?;
        let manifest: Vec<TunedOn> = elites
            .rows
            .iter()
            .map(|e| TunedOn { network: e.network.clone(), held_out: e.held_out, example_hash: e.example_hash.clone(), weight: 1.0 })
            .collect();
        let trained: Vec<f64> = elites.rows.iter().filter(|e| !e.held_out).map(|e| place(&e.network)).collect();
        let logged = trained.iter().sum::<f64>() / trained.len().max(1) as f64;
        let tuning = (config.policy == Policy::Llm && !trained.is_empty()).then(|| Tuning {
            logged: Some(logged),
            before: logged * (1.0 + 1e-6),
            after: 0.6 * logged,
            held_out_before: Some(logged),
            held_out_after: Some(0.9 * logged),
            steps: vec![TuningStep { loss: logged, gradient_norm: 1.0, lr: 3e-4 }],
            examples: trained.len(),
            tokens: 1000,
            manifest,
            gate: None,
            change: None,
        });
        s.put_cycle(&CycleRow { cycle, gamma: elites.gamma, adapter_hash: format!("hash {cycle}"), tuning })?;
        for (name, seconds) in [("propose", 20.0), ("screen", 1.0), ("train", 40.0), ("tune", 10.0)] {
            s.put_phase(&PhaseRow { cycle, name: name.into(), seconds, peak_mib: 900.0 })?;
        }
    }
    s.stamp("finished")
}

fn place(network: &NetworkId) -> f64 {
    match network {
        NetworkId::Candidate { index, .. } => 9.0 + *index as f64,
        NetworkId::Start(_) => 0.0,
    }
}

fn training(network: &NetworkId, accuracy: f64, seed_index: u64) -> Training {
    let curve = r#"[{"epoch":1,"train_loss":1.9,"train_accuracy":0.3,"valid_loss":1.7,"valid_accuracy":0.4}]"#;
    Training {
        network: network.clone(),
        seed_index,
        seed: seed_index,
        repeat: false,
        accuracy: Some(accuracy),
        curve: curve.into(),
        estimates: None,
        failure: None,
        seconds: 3.0,
    }
}
