//! Trainings as a run does them: the recipe, worker processes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::Device;
use eliteloop::base::device::Kernels;
use eliteloop::base::home;
use eliteloop::proxy::dataset::{self, Part, Split};
use eliteloop::proxy::network::Network;
use eliteloop::proxy::pool::{Event, Pool};
use eliteloop::proxy::settings::{Optimizer, ProxyConfig};
use eliteloop::proxy::worker::{Job, Setup};
use eliteloop::proxy::{Failure, Outcome, train};
use eliteloop::tracer::graph::{Dim, Graph, Op, Role};
use eliteloop::tracer::{TraceOptions, trace};

const PROGRAM: &str = env!("CARGO_BIN_EXE_eliteloop");

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/proxy").join(format!("{name}.py"))
}

fn graph(source: &str) -> Graph {
    let mut options = TraceOptions::new([3, 32, 32], 10);
    options.program = PROGRAM.into();
    trace(source, &options).unwrap()
}

fn fixture_graph(name: &str) -> Graph {
    graph(&std::fs::read_to_string(fixture(name)).unwrap())
}

fn config() -> ProxyConfig {
    ProxyConfig { dataset: "synthetic".into(), epochs: 2, batch: 32, ..ProxyConfig::default() }
}

fn split(train: usize, valid: usize) -> Split {
    let data = dataset::load("synthetic", &home::data(), Part::Train).unwrap();
    Split::draw(&data, 3, train, valid).unwrap()
}

#[test]
fn a_training_learns_reports_its_epochs_and_repeats_to_the_bit() {
    needs!(Minutes);
    let split = split(640, 200);
    let graph = fixture_graph("normed");
    let config = ProxyConfig { epochs: 4, ..config() };
    let mut reported = Vec::new();
    let (outcome, _) = train::train(&graph, &split, &config, 1, |epoch| reported.push(epoch.clone())).unwrap();
    assert_eq!(reported, outcome.curve);
    assert_eq!(outcome.curve.len(), 4);
    assert!(outcome.curve[3].train_loss < 0.8 * outcome.curve[0].train_loss, "{:?}", outcome.curve);
    assert!(outcome.accuracy > 0.3 && outcome.accuracy == outcome.curve[3].valid_accuracy, "{:?}", outcome.curve);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let again = pool.install(|| train::train(&graph, &split, &config, 1, |_| {}).unwrap().0);
    assert_eq!(again.without_timings(), outcome.without_timings());
    let other = train::train(&graph, &split, &config, 2, |_| {}).unwrap().0;
    assert_ne!(other.curve, outcome.curve);
}

#[test]
fn a_saved_network_comes_back_with_the_same_accuracy_names_and_types() {
    let split = split(128, 100);
    let graph = fixture_graph("residual");
    let (outcome, network) = train::train(&graph, &split, &ProxyConfig { epochs: 1, ..config() }, 1, |_| {}).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    network.save(&path).unwrap();
    let mut other = Network::new(&graph, 99, &Device::Cpu, Kernels::Own).unwrap();
    other.load(&path).unwrap();
    let (_, accuracy) = train::evaluate(&mut other, &split.valid, &split.format).unwrap();
    assert_eq!(accuracy, outcome.accuracy);
    let bytes = std::fs::read(&path).unwrap();
    let stored = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(stored.len(), graph.tensors.len());
    for spec in &graph.tensors {
        let tensor = stored.tensor(&spec.name).unwrap();
        assert_eq!(tensor.shape(), spec.shape);
        let expected = if spec.role == Role::Counter { safetensors::Dtype::I64 } else { safetensors::Dtype::F32 };
        assert_eq!(tensor.dtype(), expected, "{}", spec.name);
    }
    let steps = i64::from_le_bytes(stored.tensor("blocks.0.bn1.num_batches_tracked").unwrap().data().try_into().unwrap());
    assert_eq!(steps, 4);
    let wrong = fixture_graph("shuffle");
    assert!(Network::new(&wrong, 0, &Device::Cpu, Kernels::Own).unwrap().load(&path).is_err());
}

#[test]
fn what_cannot_be_trained_is_an_outcome_with_its_reason() {
    let split = split(128, 50);
    let graph = fixture_graph("shuffle");
    let run = |graph: &Graph, config: &ProxyConfig| train::train(graph, &split, config, 1, |_| {}).map(|done| done.0);
    let wild = ProxyConfig { lr: 1e30, clip: 0.0, ..config() };
    assert!(matches!(run(&graph, &wild), Err(Failure::Diverged { step: 1.. })));
    let mut maps = graph.clone();
    maps.output = 1;
    assert!(matches!(run(&maps, &config()), Err(Failure::Unsupported { .. })));
}

/// A graph whose one activation needs far more memory than a worker has.
fn huge() -> Graph {
    let mut graph = fixture_graph("shuffle");
    let mut node = graph.nodes[0].clone();
    node.op = Op::UpsampleNearest { factor: [64, 64] };
    node.inputs = vec![0];
    node.shape = vec![Dim::Batch(1), Dim::Fixed(3), Dim::Fixed(2048), Dim::Fixed(2048)];
    graph.nodes.push(node);
    graph.output = graph.nodes.len() - 1;
    graph
}

fn pool(folder: &Path, split: &Split, workers: usize, config: ProxyConfig) -> Pool {
    let path = folder.join("split.bin");
    split.save(&path).unwrap();
    Pool {
        program: PROGRAM.into(),
        setup: Setup { split: path, hash: None, config: ProxyConfig { workers, ..config }, writes: Vec::new() },
    }
}

fn results(pool: &Pool, jobs: Vec<Job>) -> BTreeMap<u64, Result<Outcome, Failure>> {
    let mut results = BTreeMap::new();
    pool.run(jobs, &AtomicBool::new(false), |event| {
        if let Event::Done { id, result, .. } = event {
            assert!(results.insert(id, result.map(|outcome| outcome.without_timings())).is_none());
        }
    })
    .unwrap();
    results
}

fn jobs(graphs: &[Graph]) -> Vec<Job> {
    let job = |(id, graph): (usize, &Graph)| Job::new(id as u64, graph.clone(), id as u64);
    graphs.iter().enumerate().map(job).collect()
}

#[test]
fn results_do_not_depend_on_the_number_of_workers_nor_on_processes() {
    let folder = tempfile::tempdir().unwrap();
    let split = split(96, 50);
    let config = ProxyConfig { epochs: 1, ..config() };
    let graphs = [fixture_graph("normed"), fixture_graph("mobile"), fixture_graph("dense"), fixture_graph("shuffle")];
    let run = |workers| results(&pool(folder.path(), &split, workers, config.clone()), jobs(&graphs));
    let one = run(1);
    assert_eq!(one.len(), 4);
    assert_eq!(one, run(2));
    assert_eq!(one, run(3));
    for (id, graph) in graphs.iter().enumerate() {
        let here = train::train(graph, &split, &config, id as u64, |_| {}).unwrap().0.without_timings();
        assert_eq!(one[&(id as u64)].as_ref().unwrap(), &here);
    }
}

#[test]
fn a_candidate_that_fails_fails_alone() {
    let folder = tempfile::tempdir().unwrap();
    let split = split(96, 50);
    let good = fixture_graph("normed");
    let mut broken = good.clone();
    broken.nodes[1].inputs.clear();
    let config = ProxyConfig { epochs: 1, memory_mib: 1500, ..config() };
    let found = results(&pool(folder.path(), &split, 2, config), jobs(&[good.clone(), huge(), broken, good.clone(), good]));
    assert_eq!(found.len(), 5);
    assert_eq!(found[&1], Err(Failure::Memory));
    assert!(matches!(&found[&2], Err(Failure::Crash { message }) if !message.is_empty()), "{:?}", found[&2]);
    for id in [0, 3, 4] {
        assert!(found[&id].is_ok(), "{id}: {:?}", found[&id]);
    }
}

#[test]
fn a_worker_past_its_processor_time_fails_its_job_only() {
    needs!(Minutes);
    let folder = tempfile::tempdir().unwrap();
    let split = split(96, 50);
    let config = ProxyConfig { epochs: 100_000, cpu_seconds: 1, ..config() };
    let short = |id, name| Job { until: Some(1), ..Job::new(id, fixture_graph(name), id) };
    let long = |id, name| Job::new(id, fixture_graph(name), id);
    let jobs = vec![short(0, "shuffle"), long(1, "shuffle"), long(2, "mobile"), short(3, "mobile"), short(4, "shuffle")];
    let found = results(&pool(folder.path(), &split, 1, config), jobs);
    let endless = || Err(Failure::CpuTime { seconds: 1 });
    assert_eq!((&found[&1], &found[&2]), (&endless(), &endless()));
    // Each job has the time for itself: the worker of the last two had used some before.
    for id in [0, 3, 4] {
        assert!(found[&id].is_ok(), "{id}: {:?}", found[&id]);
    }
}

/// A worker that is a shell program.
fn stand_in(folder: &Path, script: &str) -> Pool {
    use std::os::unix::fs::PermissionsExt;
    let program = folder.join("stand-in");
    std::fs::write(&program, format!("#!/bin/sh\nread setup\n{script}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    Pool { program, ..pool(folder, &split(20, 10), 1, config()) }
}

#[test]
fn what_the_machine_does_to_a_worker_is_no_failure_of_its_job() {
    const FULL: &str = "echo 'memory allocation of 9 bytes failed' >&2; kill -ABRT $$";
    needs!(Minutes);
    let folder = tempfile::tempdir().unwrap();
    let graph = fixture_graph("shuffle");
    let run = |script: &str| {
        let mut found = Vec::new();
        let jobs = (0..3).map(|id| Job::new(id, graph.clone(), id)).collect();
        let ended = stand_in(folder.path(), script).run(jobs, &AtomicBool::new(false), |event| found.push(event));
        (found, ended)
    };
    for script in [
        "echo '\"ready\"'; read job; kill -KILL $$".to_owned(),
        "echo '\"ready\"'; read job; kill -TERM $$".to_owned(),
        "echo '\"ready\"'; read job; printf '{\"done\":{'; kill -KILL $$".to_owned(),
        "echo 'error: no threads' >&2; exit 1".to_owned(),
        "echo nonsense; exec sleep 60".to_owned(),
        FULL.to_owned(),
    ] {
        let (found, ended) = run(&script);
        let error = ended.expect_err(&script);
        assert!(found.is_empty(), "{script}: {found:?}");
        let hint = error.hint_text().unwrap_or_default();
        assert!(hint.contains(if script == FULL { "proxy.memory_mib" } else { "resume" }), "{script}: {error} ({hint})");
    }
    // The first worker is killed in its first job, the second does all three.
    let mark = folder.path().join("mark").display().to_string();
    let once = format!(
        "echo '\"ready\"'; read job; echo x >> {mark}; if [ $(wc -l < {mark}) -lt 2 ]; then kill -KILL $$; fi; \
         while :; do id=${{job#*:}}; echo \"{{\\\"failed\\\":{{\\\"id\\\":${{id%%,*}},\\\"failure\\\":\\\"memory\\\"}}}}\"; read job || exit; done"
    );
    let (found, ended) = run(&once);
    ended.unwrap();
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found.iter().all(|event| matches!(event, Event::Done { result: Err(Failure::Memory), .. })), "{found:?}");
}

#[test]
fn an_abort_ends_the_workers_and_leaves_the_rest_without_a_result() {
    let folder = tempfile::tempdir().unwrap();
    let split = split(96, 50);
    let config = ProxyConfig { epochs: 100_000, ..config() };
    let abort = AtomicBool::new(false);
    let mut done = 0;
    pool(folder.path(), &split, 2, config)
        .run(jobs(&[fixture_graph("shuffle"), fixture_graph("mobile"), fixture_graph("dense")]), &abort, |event| match event {
            Event::Epoch { .. } => abort.store(true, Ordering::Relaxed),
            Event::Done { .. } => done += 1,
        })
        .unwrap();
    assert_eq!(done, 0);
}

#[test]
fn a_training_that_stops_and_goes_on_is_the_unbroken_one_to_the_bit() {
    needs!(Minutes);
    let folder = tempfile::tempdir().unwrap();
    let split = split(96, 50);
    for (optimizer, name) in [(Optimizer::Sgd, "residual"), (Optimizer::Adamw, "mobile"), (Optimizer::Sgd, "dense")] {
        let config = ProxyConfig { epochs: 4, optimizer, lr: 0.01, ..config() };
        let pool = pool(folder.path(), &split, 1, config);
        let [whole, parts] = ["whole", "parts"].map(|file| folder.path().join(format!("{name}-{file}.safetensors")));
        let state = folder.path().join(format!("{name}-state.safetensors"));
        let graph = fixture_graph(name);
        let run = |until, weights: &Path, state: Option<&Path>| {
            let job = Job { until, weights: Some(weights.into()), state: state.map(Into::into), ..Job::new(0, graph.clone(), 5) };
            results(&pool, vec![job]).remove(&0).unwrap().unwrap()
        };
        let unbroken = run(None, &whole, None);
        assert_eq!(unbroken.curve.len(), 4);
        let first = run(Some(1), &parts, Some(&state));
        assert_eq!((&first.curve[..], first.accuracy), (&unbroken.curve[..1], unbroken.curve[0].valid_accuracy));
        let kept = std::fs::read(&state).unwrap();
        assert_eq!(run(Some(1), &parts, Some(&state)), first, "nothing is left to do");
        assert_eq!(run(Some(3), &parts, Some(&state)).curve[..], unbroken.curve[..3]);
        assert_eq!(run(None, &parts, Some(&state)), unbroken, "{name}");
        assert!(std::fs::read(&whole).unwrap() == std::fs::read(&parts).unwrap(), "{name}: other weights");
        // What is damaged or of another training is not gone on from.
        for bytes in [&kept[..kept.len() / 2], &kept[..20], b""] {
            std::fs::write(&state, bytes).unwrap();
            assert_eq!(run(Some(2), &parts, Some(&state)).curve[..], unbroken.curve[..2]);
        }
        std::fs::write(&state, &kept).unwrap();
        let other = Job { until: Some(2), state: Some(state.clone()), ..Job::new(0, graph.clone(), 6) };
        assert_ne!(results(&pool, vec![other]).remove(&0).unwrap().unwrap().curve[0], unbroken.curve[0]);
    }
}
