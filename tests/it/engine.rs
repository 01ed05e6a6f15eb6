//! Trainings that others do: the rows of a run are those that this machine comes to, whatever happens to tasks, engine and run; and what is
//! missing is told before a run begins.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::engines::{HyperQueue, Slurm, path_with};
use crate::program::{Kept, TRAININGS, all_hold, fail, program, rows, run, stderr, succeed};

/// All kinds of trainings that a run has: rungs, repeats, full ones.
const SETTINGS: [&str; 3] = ["proxy.epochs=3", "proxy.halving={ epochs = 1, eta = 2 }", "proxy.full={ networks = 1, epochs = 4 }"];

fn start(out: &Path, more: &[&str]) -> Command {
    run(out, &[&TRAININGS[..], &SETTINGS, more].concat())
}

/// The run on this machine.
fn local() -> &'static Kept {
    static RUN: OnceLock<Kept> = OnceLock::new();
    RUN.get_or_init(|| Kept::of(|path| start(path, &[])))
}

/// Everything that a run stored but which engine it was to use.
fn stored(run: &Path) -> Vec<String> {
    let is_result = |line: &&str| !line.starts_with("chain:") && !line.starts_with("meta: key=Text(\"settings\")");
    // Trainings are stored as they come.
    let mut stored: Vec<String> = rows(run).lines().filter(is_result).map(str::to_owned).collect();
    stored.sort();
    stored
}

fn is_the_same(run: &Path, local: &Path) {
    let (found, wanted) = (stored(run), stored(local));
    for (found, wanted) in found.iter().zip(&wanted) {
        assert_eq!(found, wanted);
    }
    assert_eq!(found.len(), wanted.len());
    assert!(!run.join("work").exists(), "files of trainings are left");
    let checks = succeed(program(&["verify"]).arg(run));
    assert!(all_hold(&checks), "{checks}");
}

/// Processes that do a task of this run.
fn tasks_of(run: &Path) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = command.split(|&byte| byte == 0).collect();
        if let [_, b"worker", b"--task", file, ..] = &words[..]
            && file.starts_with(run.to_str().unwrap().as_bytes())
        {
            found.push(pid);
        }
    }
    found
}

/// Waits for a task of this run; None where the run ended before.
fn wait_for_task(run: &Path, child: &mut Child) -> Option<u32> {
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if let Some(&pid) = tasks_of(run).first() {
            return Some(pid);
        }
        assert!(began.elapsed() < Duration::from_mins(2), "no task begins");
        std::thread::sleep(Duration::from_millis(1));
    }
    None
}

fn kill(pid: u32) {
    // What has ended meanwhile is no concern.
    Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status().unwrap();
}

#[test]
fn trainings_on_hyperqueue_come_to_the_bytes_of_this_machine() {
    needs!(Minutes, HyperQueue);
    let (engine, base) = (HyperQueue::start(), tempfile::tempdir().unwrap());
    let run = base.path().join("run");
    succeed(engine.use_in(&mut start(&run, &["proxy.on=hq"])));
    is_the_same(&run, &local().path);
    // What tells a user so beforehand.
    let mut doctor = program(&["doctor", "--on", "hq", "--json", "--set", "proxy.dataset=synthetic"]);
    let told = engine.use_in(doctor.current_dir(base.path())).output().unwrap();
    let found: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!((&found["engine"]["tried"], &found["engine"]["trouble"]), (&true.into(), &Value::Null), "{found}");
    let left: Vec<_> = std::fs::read_dir(base.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["run"], "the doctor left something");
}

#[test]
fn a_killed_task_a_killed_engine_and_a_killed_run_change_nothing() {
    needs!(Minutes, HyperQueue);
    let (mut engine, base) = (HyperQueue::start(), tempfile::tempdir().unwrap());
    let run = base.path().join("run");
    let log = base.path().join("log");
    let wait_for_words = |words: &str| {
        let began = Instant::now();
        while !std::fs::read_to_string(&log).unwrap().contains(words) {
            assert!(began.elapsed() < Duration::from_mins(2), "the run does not say '{words}'");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let mut command = start(&run, &["proxy.on=hq"]);
    let said = std::fs::File::create(&log).unwrap();
    let mut child = engine.use_in(&mut command).stdout(Stdio::null()).stderr(said).spawn().unwrap();
    kill(wait_for_task(&run, &mut child).expect("a task to kill"));
    wait_for_task(&run, &mut child).expect("the task again");
    engine.kill();
    wait_for_words("HyperQueue does not answer");
    engine.begin();
    wait_for_words("HyperQueue answers again");
    wait_for_task(&run, &mut child).expect("the task of another server");
    child.kill().unwrap();
    child.wait().unwrap();
    // What is out goes on; and the run with what comes of it.
    let mut resume = program(&["resume"]);
    succeed(engine.use_in(resume.arg(&run)));
    is_the_same(&run, &local().path);
}

#[test]
fn a_run_that_is_stopped_calls_its_tasks_back_and_goes_on_elsewhere() {
    needs!(Minutes, HyperQueue);
    let (engine, base) = (HyperQueue::start(), tempfile::tempdir().unwrap());
    let run = base.path().join("run");
    let mut command = start(&run, &["proxy.on=hq"]);
    let mut child = engine.use_in(&mut command).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for_task(&run, &mut child).expect("a task");
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    let began = Instant::now();
    while !tasks_of(&run).is_empty() {
        assert!(began.elapsed() < Duration::from_secs(30), "a task goes on for a run that was stopped");
        std::thread::sleep(Duration::from_millis(20));
    }
    // Where trainings are done is no part of what a run is.
    let settings = run.join("run.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    assert!(text.contains("on = \"hq\""));
    std::fs::write(&settings, text.replace("on = \"hq\"", "on = \"local\"")).unwrap();
    succeed(program(&["resume"]).arg(&run));
    is_the_same(&run, &local().path);
}

#[test]
fn trainings_on_slurm_come_to_the_bytes_of_this_machine_whatever_is_killed() {
    needs!(Minutes, Slurm);
    let (cluster, base) = (Slurm::start(), tempfile::tempdir().unwrap());
    let one = |out: &Path, more: &[&str]| run(out, &[&TRAININGS[..], &["cycles=1"], more].concat());
    let [here, there] = ["here", "there"].map(|name| base.path().join(name));
    succeed(one(&here, &[]));
    // A script of the user's own.
    let script = |partition: &str| {
        let path = base.path().join(format!("{partition}.sh"));
        let own =
            include_str!("../../src/presets/slurm.sh").replace("##SBATCH --partition=short", &format!("#SBATCH --partition={partition}"));
        std::fs::write(&path, own).unwrap();
        format!("proxy.slurm_script={:?}", path.display().to_string())
    };
    let (code, said) = fail(cluster.use_in(&mut one(&there, &["proxy.on=slurm", &script("nowhere")])));
    assert!(code == 2 && said.contains("partition") && said.contains("proxy.slurm_script"), "{said}");
    assert!(!there.exists());
    let mut command = one(&there, &["proxy.on=slurm", &script("short")]);
    let mut child = cluster.use_in(&mut command).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    kill(wait_for_task(&there, &mut child).expect("a task to kill"));
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    is_the_same(&there, &here);
}

/// A command `hq` that is this shell script, in a folder of its own.
fn stand_in(script: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (path, kept) = (folder.path().join("hq"), folder.path().join("kept"));
    std::fs::create_dir(&kept).unwrap();
    std::fs::write(&path, format!("#!/bin/sh\nkept='{}'\ncase \"$1 $2\" in\n{script}\nesac\n", kept.display())).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    folder
}

/// Answers of a server that is well, with a worker of so many MiB.
fn well(mib: u32) -> String {
    format!(
        "'--version '*) echo 'hq 0.27.0' ;;\n\
         'server info') echo '{{\"version\": \"0.27.0\", \"client_host\": \"here\"}}' ;;\n\
         'worker list') echo '[{{\"configuration\": {{\"resources\": {{\"resources\": [{{\"name\": \"mem\", \"size\": {mib}0000}}]}}}}}}]' ;;\n\
         'job cancel') ;;\n"
    )
}

/// A submission: `$3` is its name, the last two arguments the program and the folder.
const SUBMITTED: &str = "echo \"$3\" >\"$kept/name\"; for last; do program=$folder; folder=$last; done\n";

#[test]
fn what_an_engine_lacks_is_told_before_anything_is_written() {
    needs!(Minutes);
    let base = tempfile::tempdir().unwrap();
    let out = base.path().join("run");
    let refused = |folder: Option<&Path>, engine: &str, words: [&str; 2]| {
        let path = folder.map_or_else(|| base.path().as_os_str().to_owned(), path_with);
        let (code, said) = fail(start(&out, &[&format!("proxy.on={engine}")]).env("PATH", &path));
        assert!(code == 2 && words.iter().all(|word| said.contains(word)), "{engine}: {code}: {said}");
        assert_eq!(std::fs::read_dir(base.path()).unwrap().count(), 0, "something was left");
        let mut doctor = program(&["doctor", "--on", engine, "--json", "--quick", "--set", "proxy.dataset=synthetic"]);
        let told = doctor.env("PATH", path).output().unwrap();
        let found: Value = serde_json::from_slice(&told.stdout).unwrap();
        (told.status.code(), found["engine"].clone())
    };
    let is_told = |told: (Option<i32>, Value), words: &str| {
        assert!(told.0 == Some(2) && told.1["trouble"].as_str().is_some_and(|trouble| trouble.contains(words)), "{told:?}");
    };
    is_told(refused(None, "hq", ["no hq in PATH", "hint: install HyperQueue"]), "no hq in PATH");
    is_told(refused(None, "slurm", ["no sbatch in PATH", "jobs are submitted from"]), "no sbatch");
    let old = stand_in("'--version '*) echo 'hq 0.12.0' ;;");
    is_told(refused(Some(old.path()), "hq", ["0.26 or later is wanted", "hq 0.12.0"]), "0.26");
    let down = stand_in("'--version '*) echo 'hq 0.27.0' ;;\n*) echo 'No running instance of HQ' >&2; exit 1 ;;");
    is_told(refused(Some(down.path()), "hq", ["No running instance of HQ", "hq server start"]), "no HyperQueue server answers");
    let small = stand_in(&well(1000));
    is_told(refused(Some(small.path()), "hq", ["proxy.memory_mib = 4096", "the largest one 1000 MiB"]), "1000 MiB");
    // A worker that does not see the folder; whether it does is no quick question.
    let elsewhere = stand_in(&format!(
        "{}'submit --name') {SUBMITTED}echo '{{\"id\": 1}}' ;;\n\
         'job info') echo \"[{{\\\"info\\\": {{\\\"name\\\": \\\"$(cat \"$kept/name\")\\\"}}, \
         \\\"tasks\\\": [{{\\\"id\\\": 0, \\\"state\\\": \\\"failed\\\", \\\"error\\\": \\\"No such file\\\"}}]}}]\" ;;",
        well(9000)
    ));
    let told = refused(Some(elsewhere.path()), "hq", ["no training can be done on HyperQueue", "No such file"]);
    assert_eq!((&told.1["tried"], &told.1["trouble"]), (&false.into(), &Value::Null));
}

#[test]
fn a_card_and_an_engine_are_not_used_together() {
    let (code, said) = fail(start(Path::new("never"), &["proxy.on=hq", "proxy.device=cuda:0"]));
    assert!(code == 2 && said.contains("trainings on a card are done here"), "{said}");
}

/// Does a submission at once, says in its results that another kind of processor did, and writes half a result of a task first.
fn another_processor() -> tempfile::TempDir {
    stand_in(&format!(
        "{}'submit --name') {SUBMITTED}for task in \"$folder\"/*.json; do\n\
         \"$program\" worker --task \"$task\" 2>\"${{task%.json}}.log\"; done\n\
         sed -i 's/\"processor\":\"[^\"]*\"/\"processor\":\"another kind\"/' \"$folder\"/../results/*.json; echo '{{\"id\": 1}}' ;;\n\
         'job info') echo '[]' ;;",
        well(9000)
    ))
}

#[test]
fn the_record_says_what_another_kind_of_processor_trained() {
    needs!(Minutes);
    let (engine, base) = (another_processor(), tempfile::tempdir().unwrap());
    let out: PathBuf = base.path().join("run");
    let mut command = run(&out, &[&TRAININGS[..], &["cycles=1", "proxy.on=hq"]].concat());
    let output = command.env("PATH", path_with(engine.path())).output().unwrap();
    let said = stderr(&output);
    assert!(output.status.success() && said.contains("another kind of processor (another kind; here it is"), "{said}");
    let kinds: Vec<String> = rows(&out).lines().filter(|line| line.starts_with("processor:")).map(str::to_owned).collect();
    assert!(kinds.len() == 2 && kinds.iter().all(|row| row.contains("; another kind\"")), "{kinds:?}");
    // The rest is as it would be.
    let checks = succeed(program(&["verify", "--train", "2"]).arg(&out));
    assert!(checks.lines().all(|line| line.starts_with("ok") || line.contains("draws and steps")), "{checks}");
}

/// Processes that do a run of this study, under an engine's task.
fn runs_of(study: &Path) -> Vec<u32> {
    let mut found = Vec::new();
    for task in tasks_of(study) {
        let children = std::fs::read_to_string(format!("/proc/{task}/task/{task}/children")).unwrap_or_default();
        found.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    found
}

/// Waits for a run that is none of `gone`.
fn wait_for_run(study: &Path, child: &mut Child, gone: &[u32]) -> u32 {
    let began = Instant::now();
    loop {
        if let Some(pid) = runs_of(study).into_iter().find(|pid| !gone.contains(pid)) {
            return pid;
        }
        assert!(child.try_wait().unwrap().is_none(), "the study ended before");
        assert!(began.elapsed() < Duration::from_mins(2), "no run begins");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn signal(pid: u32, signal: i32) {
    // SAFETY: a process of this test.
    unsafe { libc::kill(pid as libc::pid_t, signal) };
}

/// Halts a process; false where it is not there any more.
fn halt(pid: u32) -> bool {
    signal(pid, libc::SIGSTOP);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(10) {
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
        match stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next()) {
            Some('T') => return true,
            Some('Z' | 'X') => return false,
            _ => std::thread::sleep(Duration::from_millis(2)),
        }
    }
    false
}

/// Six runs of a few small trainings.
fn study_of_six(base: &Path) -> PathBuf {
    let file = base.join("six.toml");
    let settings: String = TRAININGS
        .iter()
        .filter(|setting| {
            !["policy=", "seed=", "cycles=", "candidates=", "proxy.train_images=", "proxy.valid_images="]
                .iter()
                .any(|key| setting.starts_with(key))
        })
        .fold(String::new(), |text, setting| {
            let (key, value) = setting.split_once('=').unwrap();
            let quoted = if key == "proxy.dataset" { format!("{value:?}") } else { value.to_owned() };
            text + &format!("settings.{key} = {quoted}\n")
        });
    let head = "kind = \"run\"\ncycles = 1\ncandidates = 3\nseeds = [1, 2, 3]\nworkers = 2\nsettings.threads = 1\nsettings.proxy.train_images = 32\nsettings.proxy.valid_images = 40\n";
    let arms = "[arms.random]\npolicy = \"random\"\n[arms.evolution]\npolicy = \"evolution\"\n";
    std::fs::write(&file, [head, &settings, arms].concat()).unwrap();
    file
}

#[test]
fn a_study_whose_runs_are_jobs_comes_to_the_runs_of_this_machine_whatever_is_killed() {
    needs!(Minutes, HyperQueue);
    let (engine, base) = (HyperQueue::with_workers(3), tempfile::tempdir().unwrap());
    let file = study_of_six(base.path());
    let study = |out: &Path, more: &[&str]| {
        let mut command = program(&["study"]);
        command.arg(&file).arg("--out").arg(out).args(more);
        command
    };
    let [here, there] = ["here", "there"].map(|name| base.path().join(name));
    succeed(study(&here, &[]));
    let begin = || {
        // A job has another current folder.
        let mut command = study(Path::new("there"), &["--runs-on", "hq"]);
        engine.use_in(&mut command).current_dir(base.path());
        command
    };
    let mut child = begin().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let one = wait_for_run(&there, &mut child, &[]);
    kill(one);
    let two = wait_for_run(&there, &mut child, &[one]);
    kill(two);
    // One that is out for certain, however busy the machine is: it is halted.
    let mut gone = vec![one, two];
    let (halted, note) = loop {
        let pid = wait_for_run(&there, &mut child, &gone);
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let run = (1..=3).map(|seed| format!("no-llm/random/seed-{seed}")).find(|run| line.contains(run));
        match run {
            Some(run) if halt(pid) => break (pid, there.join(format!("{run}.job/submitted.json"))),
            _ => gone.push(pid),
        }
    };
    // A study notes what it handed over a moment after it did.
    let began = Instant::now();
    while !note.is_file() {
        assert!(began.elapsed() < Duration::from_mins(2), "the run was never noted");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let (code, said) = fail(study(&there, &[]));
    assert!(code == 2 && said.contains("out as a job") && said.contains("--runs-on hq"), "{code}: {said}");
    // As if the study had been killed before it could note what it had handed over: this run has two jobs then.
    std::fs::remove_file(&note).unwrap();
    signal(halted, libc::SIGCONT);
    // What is out goes on, and the study with what comes of it.
    let output = begin().output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    for (arm, seed) in ["random", "evolution"].into_iter().flat_map(|arm| (1..=3).map(move |seed| (arm, seed))) {
        let run = |study: &Path| study.join(format!("no-llm/{arm}/seed-{seed}"));
        is_the_same(&run(&there), &run(&here));
        assert!(!there.join(format!("no-llm/{arm}/seed-{seed}.job")).exists(), "files of jobs are left");
    }
    let is_program = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with("eliteloop-");
    assert!(!there.read_dir().unwrap().any(|entry| is_program(&entry.unwrap())), "the program is left");
}

#[test]
fn a_study_whose_runs_slurm_does_comes_to_the_same_and_one_that_fails_says_why() {
    needs!(Minutes, Slurm);
    let (cluster, base) = (Slurm::start(), tempfile::tempdir().unwrap());
    let file = study_of_six(base.path());
    let text = std::fs::read_to_string(&file).unwrap().replace("seeds = [1, 2, 3]", "seeds = [1]");
    std::fs::write(&file, text).unwrap();
    let study = |out: &Path, more: &[&str]| {
        let mut command = program(&["study"]);
        command.arg(&file).arg("--out").arg(out).args(more);
        cluster.use_in(&mut command);
        command
    };
    let [here, there] = ["here", "there"].map(|name| base.path().join(name));
    succeed(study(&here, &[]));
    let on_slurm = ["--runs-on", "slurm", "--memory-mib", "600"];
    succeed(study(&there, &on_slurm));
    for arm in ["random", "evolution"] {
        let run = |study: &Path| study.join(format!("no-llm/{arm}/seed-1"));
        is_the_same(&run(&there), &run(&here));
    }
    let (code, said) = fail(study(&base.path().join("large"), &["--runs-on", "slurm", "--cores", "999"]));
    assert!(code == 2 && said.contains("--runs-on slurm: Slurm would take no task"), "{code}: {said}");
    assert!(!base.path().join("large").exists(), "nothing is begun where the engine refuses");
    for [flag, value] in [["--cores", "2"], ["--gpus", "1"], ["--memory-mib", "900"], ["--slurm-script", "x.sh"]] {
        assert!(fail(study(&base.path().join("none"), &[flag, value])).1.contains("--runs-on"), "{flag} is of no use here");
    }
    // This cluster has no card.
    let (code, said) = fail(study(&base.path().join("card"), &["--runs-on", "slurm", "--gpus", "1"]));
    assert!(code == 2 && said.contains("--runs-on slurm: Slurm would take no task"), "{code}: {said}");
    // A run that ends with an error is not handed over again.
    let out = base.path().join("bad");
    std::fs::create_dir_all(out.join("no-llm/random/seed-1")).unwrap();
    std::fs::copy(here.join("study.toml"), out.join("study.toml")).unwrap();
    std::fs::write(out.join("no-llm/random/seed-1/mine"), "").unwrap();
    let (code, said) = fail(study(&out, &on_slurm));
    assert!(code == 1 && said.contains("no-llm/random/seed-1") && !said.contains("handed over again"), "{code}: {said}");
    assert!(std::fs::exists(out.join("no-llm/evolution/seed-1/run.sqlite")).unwrap(), "the others go on");
}
