//! Hostile and broken sources: each gives a reason in time, none reaches a file, none disturbs the parent.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use eliteloop::tracer::graph::{Dim, Graph, Init, Node, Op, Role, TensorSpec};
use eliteloop::tracer::{Limits, Refusal, TraceFailure, TraceOptions, trace};
use proptest::prelude::*;

/// Every hostile source that tries to write aims at this file.
const ESCAPED: &str = "/tmp/eliteloop-escaped";

fn options() -> TraceOptions {
    TraceOptions { program: PathBuf::from(env!("CARGO_BIN_EXE_eliteloop")), ..TraceOptions::new([3, 32, 32], 10) }
}

fn sources(folder: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder);
    let mut sources: Vec<(String, String)> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "py"))
        .map(|p| (p.file_stem().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(&p).unwrap()))
        .collect();
    sources.sort();
    sources
}

/// The first line of a hostile source says what may come of it.
#[test]
fn every_hostile_source_ends_with_its_reason() {
    needs!(Minutes);
    let _ = std::fs::remove_file(ESCAPED);
    let all = sources("hostile");
    assert!(all.len() >= 50, "{} sources", all.len());
    let queue = Mutex::new(VecDeque::from(all));
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let Some((name, source)) = queue.lock().unwrap().pop_front() else { return };
                    let expected = source.lines().next().and_then(|l| l.strip_prefix("# expected: ")).expect("an expectation").to_owned();
                    // What takes no steps and does not end is given little; the others come nowhere near the limit.
                    let cpu_seconds = if expected.contains("cpu_time") { 3 } else { TraceOptions::CPU_SECONDS };
                    let found = trace(&source, &TraceOptions { cpu_seconds, ..options() }).map_or_else(|f| f.word(), |_| "ok");
                    if !expected.split(' ').any(|word| word == found) {
                        wrong.lock().unwrap().push(format!("{name}: {found}, not {expected}"));
                    }
                }
            });
        }
    });
    assert!(wrong.lock().unwrap().is_empty(), "{:#?}", wrong.lock().unwrap());
    assert!(!Path::new(ESCAPED).exists(), "a source wrote {ESCAPED}");
}

#[test]
fn the_count_of_steps_is_the_same_every_time_and_ends_a_source_to_the_step() {
    needs!(Minutes);
    let traced = |rounds: u64, steps| {
        let source = format!("for _ in range({rounds}):\n    pass\n{}", sources("networks")[0].1);
        trace(&source, &TraceOptions { steps, ..options() })
    };
    // How many steps this source takes, found by halving.
    let (mut few, mut enough) = (1, TraceOptions::STEPS);
    while few + 1 < enough {
        let middle = few.midpoint(enough);
        *(if traced(1000, middle).is_ok() { &mut enough } else { &mut few }) = middle;
    }
    for _ in 0..3 {
        assert!(traced(1000, enough).is_ok());
        assert_eq!(traced(1000, few).unwrap_err(), TraceFailure::Steps { most: few });
    }
    // One more for each round.
    assert!(traced(1007, enough + 7).is_ok());
    assert_eq!(traced(1007, enough + 6).unwrap_err(), TraceFailure::Steps { most: enough + 6 });
}

/// Shell programs in place of the sandbox.
fn stand_in(folder: &Path, script: &str) -> TraceOptions {
    use std::os::unix::fs::PermissionsExt;
    let program = folder.join("stand-in");
    std::fs::write(&program, format!("#!/bin/sh\ncat > /dev/null\n{script}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    TraceOptions { program, ..options() }
}

#[test]
fn the_end_of_a_sandbox_is_the_sources_doing_only_after_it_came_to_the_source() {
    needs!(Minutes);
    let folder = tempfile::tempdir().unwrap();
    for (script, word) in [
        ("echo ready; kill -SEGV $$", "crash"),
        ("echo ready; exit 3", "crash"),
        ("echo ready; echo '{\"lost\":{\"Taken\":\"x\"}}'", "crash"),
        ("echo ready; kill -XCPU $$", "cpu_time"),
        ("echo ready; echo 'memory allocation of 9 bytes failed' >&2; kill -ABRT $$", "memory"),
        ("kill -SEGV $$", "lost"),
        ("exit 3", "lost"),
        ("echo 'memory allocation of 9 bytes failed' >&2; kill -ABRT $$", "lost"),
        ("echo ready; kill -KILL $$", "lost"),
        ("echo ready; kill -TERM $$", "lost"),
        ("echo ready; echo 'memory allocation of 9 bytes failed' >&2; kill -KILL $$", "lost"),
    ] {
        let failure = trace("class Net: pass", &stand_in(folder.path(), script)).unwrap_err();
        assert_eq!(failure.word(), word, "{script}: {failure}");
        assert_eq!(failure.of_source().is_err(), word == "lost", "{script}");
    }
    let failure = trace("class Net: pass", &TraceOptions { program: "/usr/bin/yes".into(), ..options() }).unwrap_err();
    assert!(matches!(failure, TraceFailure::TooLarge { .. }), "{failure}");
}

#[test]
fn a_sandbox_that_is_taken_once_is_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("mark");
    let script = format!("if [ -e {0} ]; then echo ready; exit 3; fi; touch {0}; kill -KILL $$", mark.display());
    let failure = trace("class Net: pass", &stand_in(folder.path(), &script)).unwrap_err();
    assert!(matches!(&failure, TraceFailure::Crash { reason } if reason.contains("exit code 3")), "{failure}");
}

#[test]
fn a_sandbox_that_cannot_be_started_is_no_failure_of_the_source() {
    let failure = trace("class Net: pass", &TraceOptions { program: "/nowhere/eliteloop".into(), ..options() }).unwrap_err();
    let error = failure.of_source().unwrap_err();
    assert!(
        error.to_string().contains("/nowhere/eliteloop") && error.hint_text().is_some_and(|hint| hint.contains("no network is to blame")),
        "{error}"
    );
}

#[test]
fn a_very_long_source_is_not_even_started() {
    let failure = trace(&"x = 1\n".repeat(400_000), &options()).unwrap_err();
    assert!(matches!(failure, TraceFailure::TooLarge { .. }), "{failure}");
}

#[test]
fn the_sandbox_gets_nothing_of_the_environment_and_runs_in_the_root() {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/surroundings.sh");
    let failure = trace("class Net: pass", &TraceOptions { program, ..options() }).unwrap_err();
    assert_eq!(failure, TraceFailure::Crash { reason: "exit code 3: ELITELOOP_CHILD=sandbox in /".into() });
}

#[test]
fn no_child_starts_a_sandbox() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/networks/plain.py");
    let trace = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_eliteloop"));
        command.arg("trace").arg(&source);
        command
    };
    assert!(trace().output().unwrap().status.success());
    for verb in ["sandbox", "worker"] {
        let output = trace().env("ELITELOOP_CHILD", verb).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(verb) && said.contains("starts no sandbox"), "{said}");
    }
}

fn image(batch: Dim) -> Vec<Dim> {
    vec![batch, Dim::Fixed(3), Dim::Fixed(4), Dim::Fixed(4)]
}

type Forgery = (&'static str, &'static dyn Fn(&mut Graph));

/// An honest graph: input, flatten, linear.
fn honest() -> Graph {
    let node = |op, inputs: &[usize], tensors: &[usize], shape| Node {
        op,
        inputs: inputs.to_vec(),
        tensors: tensors.to_vec(),
        shape,
        module: String::new(),
        line: 1,
    };
    let flat = vec![Dim::Batch(1), Dim::Fixed(48)];
    let tensor = |name: &str, shape: &[usize]| TensorSpec {
        name: name.to_owned(),
        shape: shape.to_vec(),
        role: Role::Parameter,
        init: Init::Uniform { low: -0.1, high: 0.1 },
    };
    Graph {
        nodes: vec![
            node(Op::Input, &[], &[], image(Dim::Batch(1))),
            node(Op::Reshape { shape: flat.clone() }, &[0], &[], flat),
            node(Op::Linear { out: 10, bias: true }, &[1], &[0, 1], vec![Dim::Batch(1), Dim::Fixed(10)]),
        ],
        output: 2,
        tensors: vec![tensor("fc.weight", &[10, 48]), tensor("fc.bias", &[10])],
        aliases: vec![],
    }
}

#[test]
fn a_forged_graph_is_refused_for_what_is_wrong_with_it() {
    let check = |change: &dyn Fn(&mut Graph)| {
        let mut graph = honest();
        change(&mut graph);
        graph.check([3, 4, 4], Limits::default())
    };
    assert_eq!(check(&|_| {}), Ok(()));
    let forgeries: [Forgery; 20] = [
        ("claims shape", &|g| g.nodes[2].shape[1] = Dim::Fixed(11)),
        ("claims shape", &|g| g.nodes[2].shape[0] = Dim::Fixed(2)),
        ("comes later", &|g| g.nodes[1].inputs[0] = 2),
        ("comes later", &|g| g.nodes[1].inputs[0] = 99),
        ("owns tensor 7", &|g| g.nodes[2].tensors[0] = 7),
        ("owns 2 tensors", &|g| g.nodes[2].tensors.truncate(1)),
        ("needs a tensor of shape", &|g| g.nodes[2].tensors.swap(0, 1)),
        ("needs a tensor of shape", &|g| g.tensors[0].shape = vec![10, 47]),
        ("named twice", &|g| g.tensors[1].name = "fc.weight".into()),
        ("not a state-dict name", &|g| g.tensors[1].name = "a\nb".into()),
        ("not a state-dict name", &|g| g.tensors[1].name = String::new()),
        ("output 3", &|g| g.output = 3),
        ("not the input", &|g| g.nodes[0].shape = image(Dim::Fixed(1))),
        ("only the first node", &|g| g.nodes[1].op = Op::Input),
        ("cannot start", &|g| g.tensors[1].init = Init::Constant(f64::NAN)),
        ("cannot start", &|g| g.tensors[1].init = Init::Uniform { low: 1.0, high: -1.0 }),
        ("cannot start", &|g| g.tensors[1].init = Init::Values(vec![0.0; 9])),
        ("cannot start", &|g| g.tensors[1].init = Init::TruncatedNormal { mean: 0.0, std: 1.0, low: 50.0, high: 60.0 }),
        ("cannot be a Counter", &|g| {
            g.tensors.push(TensorSpec { name: "n".into(), shape: vec![], role: Role::Counter, init: Init::Constant(0.0) });
            g.nodes[2].tensors[1] = 2;
        }),
        ("is invalid for input", &|g| g.nodes[1].op = Op::Reshape { shape: vec![Dim::Batch(2), Dim::Fixed(48)] }),
    ];
    for (reason, forgery) in forgeries {
        let refusal = check(forgery).expect_err(reason);
        assert!(matches!(&refusal, Refusal::Wrong(text) if text.contains(reason)), "{refusal:?} does not say {reason:?}");
    }
    let large: [&dyn Fn(&mut Graph); 3] = [
        &|g| g.tensors[0].shape = vec![usize::MAX, 2],
        &|g| g.nodes[1].op = Op::Reshape { shape: vec![Dim::Fixed(usize::MAX), Dim::Fixed(usize::MAX)] },
        &|g| g.nodes = vec![g.nodes[0].clone(); 30_000],
    ];
    for change in large {
        let refusal = check(change).unwrap_err();
        assert!(matches!(refusal, Refusal::TooLarge(_)), "{refusal:?}");
    }
}

/// One random edit of a text: a line dropped, doubled, swapped or cut, or a character replaced.
fn mutate(source: &str, kind: usize, at: usize, with: char) -> String {
    let mut lines: Vec<String> = source.lines().map(str::to_owned).collect();
    let (i, n) = (at % lines.len(), lines.len());
    match kind {
        0 => drop(lines.remove(i)),
        1 => lines.insert(i, lines[i].clone()),
        2 => lines.swap(i, (i + 1) % n),
        3 => {
            let kept = lines[i].chars().take(at % 40).collect();
            lines[i] = kept;
        }
        _ => {
            let mut characters: Vec<char> = lines[i].chars().collect();
            if let Some(c) = characters.len().checked_sub(1).map(|last| at % (last + 1)) {
                characters[c] = with;
            }
            lines[i] = characters.into_iter().collect();
        }
    }
    lines.join("\n")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_mutated_source_gives_a_checked_graph_or_a_reason(
        which in 0_usize..1000,
        edits in prop::collection::vec((0_usize..5, 0_usize..10_000, prop::char::any()), 1..4),
    ) {
        let all = sources("networks");
        let mut source = all[which % all.len()].1.clone();
        for (kind, at, with) in edits {
            source = mutate(&source, kind, at, with);
        }
        match trace(&source, &options()) {
            Ok(graph) => prop_assert_eq!(graph.check([3, 32, 32], Limits::default()), Ok(())),
            Err(failure) => prop_assert!(!failure.to_string().is_empty() && !matches!(failure, TraceFailure::Tampered { .. }), "{}", failure),
        }
    }
}
