//! Studies: many runs out of one file, stopped, resumed, failing, and what is said of them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use eliteloop::record::{Store, folder};
use eliteloop::study::retrain;

use crate::program::rows;

/// Three policies without an LLM, two seeds.
const TINY: &str = r#"
kind = "audit"
cycles = 40
candidates = 20
seeds = [1, 2]
settings.threads = 1
settings.audit_every = 0
[arms.random]
policy = "random"
[arms.table-ce]
policy = "table-ce"
[arms.evolution]
policy = "evolution"
"#;
const RUNS: [&str; 6] = ["random/seed-1", "random/seed-2", "table-ce/seed-1", "table-ce/seed-2", "evolution/seed-1", "evolution/seed-2"];

struct Place {
    base: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { base: tempfile::tempdir().unwrap() }
    }

    fn out(&self) -> PathBuf {
        self.base.path().join("out")
    }

    fn command(&self, study: &str, more: &[&str]) -> Command {
        let file = self.base.path().join("study file.toml");
        std::fs::write(&file, study).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_eliteloop"));
        command.arg("study").arg(&file).arg("--out").arg(self.out()).args(more);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn study(&self, study: &str) -> Output {
        self.command(study, &[]).output().unwrap()
    }

    fn run(&self, name: &str) -> PathBuf {
        self.out().join("no-llm").join(name)
    }
}

fn succeed(output: &Output) -> String {
    assert!(output.status.success(), "{}", stderr(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What the runs of a study stored, times apart.
fn stored(out: &Path) -> String {
    let of = |run: &str| {
        let folder = out.join("no-llm").join(run);
        let settings = std::fs::read_to_string(folder.join("run.toml")).unwrap_or_else(|e| panic!("{run}: {e}"));
        format!("{run}\n{settings}\n{}", rows(&folder))
    };
    RUNS.map(of).concat()
}

/// The closed cycles of a run, which may not be there yet.
fn cycles(run: &Path) -> u64 {
    Store::read(&folder::store_path(run)).and_then(|store| store.cycles()).map_or(0, |rows| rows.last().map_or(0, |row| row.cycle))
}

/// A study in full, and what it stored.
fn whole() -> &'static (Place, String) {
    static WHOLE: std::sync::OnceLock<(Place, String)> = std::sync::OnceLock::new();
    WHOLE.get_or_init(|| {
        let place = Place::new();
        succeed(&place.study(TINY));
        let stored = stored(&place.out());
        (place, stored)
    })
}

#[test]
fn a_study_that_is_stopped_or_killed_goes_on_to_the_same_bytes() {
    needs!(Nasbench201);
    for (signal, workers) in [("-INT", "1"), ("-KILL", "2")] {
        let place = Place::new();
        let child = place.command(TINY, &["--workers", workers]).spawn().unwrap();
        let began = Instant::now();
        while cycles(&place.run("random/seed-1")) < 40 || cycles(&place.run("evolution/seed-1")) < 3 {
            assert!(began.elapsed() < Duration::from_mins(5), "the study does not get there");
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        if signal == "-INT" {
            assert!(output.status.code() == Some(130) && stderr(&output).contains("the same command goes on"), "{}", stderr(&output));
        }
        assert!(cycles(&place.run("evolution/seed-2")) < 40, "it was not stopped");
        let finished = place.run("random/seed-1").join("run.sqlite").metadata().unwrap().modified().unwrap();
        succeed(&place.command(TINY, &["--workers", "2"]).output().unwrap());
        assert!(stored(&place.out()) == whole().1, "{signal}: a resumed study is not the unbroken one");
        assert_eq!(place.run("random/seed-1").join("run.sqlite").metadata().unwrap().modified().unwrap(), finished, "it was run again");
    }
}

#[test]
fn a_run_that_fails_is_named_and_the_others_go_on() {
    needs!(Nasbench201);
    let place = Place::new();
    succeed(&place.study(TINY));
    std::fs::write(place.run("table-ce/seed-1").join("run.sqlite"), "not a database, but long enough to be read as one").unwrap();
    std::fs::remove_dir_all(place.run("evolution/seed-2")).unwrap();
    let output = place.study(TINY);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("1 of 6 runs failed: no-llm/table-ce/seed-1") && said.contains("is not a run of eliteloop"), "{said}");
    assert_eq!(cycles(&place.run("evolution/seed-2")), 40, "the run after the failed one");
    let report = std::fs::read_to_string(place.out().join("study.md")).unwrap();
    assert!(report.contains("5 of 6 runs finished") && report.contains("Failed: no-llm/table-ce/seed-1"), "{report}");
    let page = std::fs::read_to_string(place.out().join("study.html")).unwrap();
    assert!(page.contains("Failed: no-llm/table-ce/seed-1") && page.contains("id=\"theory\""));
    let runs = std::fs::read_to_string(place.out().join("tables/runs.csv")).unwrap();
    assert_eq!(runs.lines().count(), 6, "a head and the five that finished");
    std::fs::remove_dir_all(place.run("table-ce/seed-1")).unwrap();
    succeed(&place.study(TINY));
    assert!(stored(&place.out()) == whole().1);
}

#[test]
fn what_is_wrong_with_a_study_is_said_before_anything_is_run() {
    needs!(Nasbench201);
    let model = "[models.mine]\nllm.model = \"no/such/model.gguf\"\n[arms.llm]\n[arms.random]";
    for (from, to, words) in [
        ("candidates = 20", "candidate = 20", ["unknown field `candidate`", "did you mean 'candidates'?"]),
        ("candidates = 20", "candidates = ", ["line 4", "hint"]),
        ("policy = \"random\"", "polcy = \"random\"", ["arm random", "did you mean 'policy'?"]),
        ("[arms.random]", model, ["mine/llm/seed-1: there is no model file no/such/model.gguf", "eliteloop models list"]),
        ("[arms.random]", "[arms.llm]\n[arms.random]", ["names no model", "[models."]),
        ("settings.threads = 1", "settings.dataset = \"svhn\"", ["no image set 'svhn'", "cifar100"]),
    ] {
        let place = Place::new();
        let output = place.study(&TINY.replacen(from, to, 1));
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{to}: {said}");
        assert!(words.iter().all(|word| said.contains(word)), "{to}: {said}");
        assert!(!place.out().exists(), "{to} left a folder");
    }
    let (place, stored_before) = whole();
    let output = place.study(&TINY.replace("cycles = 40", "cycles = 41").replace("[arms.random]\n", "[arms.random]\ncandidates = 9\n"));
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said.contains("cycles: 40 -> 41") && said.contains("arms.random.candidates: nothing -> 9") && !said.contains("seeds"),
        "{said}"
    );
    assert!(stored(&place.out()) == *stored_before);
    let occupied = Place::new();
    std::fs::create_dir_all(occupied.out()).unwrap();
    std::fs::write(occupied.out().join("note.txt"), "mine").unwrap();
    assert!(stderr(&occupied.study(TINY)).contains("not empty"));
}

/// What a study made before audits had a store is not begun anew over it.
#[test]
fn an_audit_of_the_former_shape_is_named_and_kept() {
    needs!(Nasbench201);
    let place = Place::new();
    let former = place.run("random/seed-1");
    std::fs::create_dir_all(&former).unwrap();
    std::fs::write(former.join("audit.toml"), "# Settings of this audit as resolved by eliteloop 0.1.0.\n").unwrap();
    std::fs::write(place.out().join("study.toml"), TINY).unwrap();
    let output = place.study(TINY);
    let said = stderr(&output);
    assert!(said.contains("1 of 6 runs failed: no-llm/random/seed-1") && said.contains("JSON lines"), "{said}");
    assert!(former.join("audit.toml").is_file());
    assert_eq!(cycles(&place.run("random/seed-2")), 40);
}

/// Two seeds of real trainings, their best networks trained again.
const REAL: &str = r#"
kind = "run"
cycles = 1
candidates = 4
seeds = [1, 2]
retrain = 2
[settings]
threads = 1
parents.per_cycle = 1
proxy = { dataset = "synthetic", train_images = 64, valid_images = 40, epochs = 1, repeats = 0 }
[arms.random]
policy = "random"
"#;

#[test]
fn the_best_network_of_each_run_is_trained_again_and_tested() {
    needs!(Minutes);
    let place = Place::new();
    let file =
        REAL.replace("[settings]", &format!("[settings]\nparents.start = [\"{}/tests/fixtures/small.py\"]", env!("CARGO_MANIFEST_DIR")));
    let printed = succeed(&place.study(&file));
    assert!(printed.contains("The chosen best, trained again"), "{printed}");
    let path = |seed: u64| place.run(&format!("random/seed-{seed}")).join("retrained.json");
    let mut seen = Vec::new();
    for seed in [1, 2] {
        let again = retrain::read(&place.run(&format!("random/seed-{seed}"))).unwrap().unwrap();
        let store = Store::read(&folder::store_path(&place.run(&format!("random/seed-{seed}")))).unwrap();
        let (best, quality) = eliteloop::record::best::of(&store).unwrap().unwrap();
        assert_eq!((again.network.clone(), again.quality), (best.to_string(), quality));
        assert!(again.valid.len() == 2 && again.test.len() == 2 && again.valid[0] != again.valid[1], "{again:?}");
        seen.push(again);
    }
    // What is there stays; what is gone comes again to the same.
    let kept = path(1).metadata().unwrap().modified().unwrap();
    std::fs::remove_file(path(2)).unwrap();
    succeed(&place.study(&file));
    assert_eq!(path(1).metadata().unwrap().modified().unwrap(), kept);
    assert_eq!(retrain::read(&place.run("random/seed-2")).unwrap().unwrap(), seen[1]);
    // Another number of seeds is no other study.
    succeed(&place.study(&file.replace("retrain = 2", "retrain = 3")));
    assert_eq!(retrain::read(&place.run("random/seed-1")).unwrap().unwrap().valid.len(), 3);
    let refused = place.study(&TINY.replace("seeds = [1, 2]", "seeds = [1, 2]\nretrain = 2"));
    assert!(!refused.status.success() && stderr(&refused).contains("an audit trains no networks"), "{}", stderr(&refused));
}
