//! The reader of records for Python (`python/`): its own tests, on a run and an audit that were just made.

use std::path::Path;
use std::process::Command;

use crate::needs::{skipped, venv, without_tool};
use crate::program::{TRAININGS, program, run, stderr, succeed};
use crate::small;

#[test]
fn the_frames_of_python_are_what_the_program_says_of_a_run_and_an_audit() {
    needs!(Minutes);
    let python = match venv("reader", "pandas", &["pandas>=2", "pyarrow"]) {
        Ok(python) => python,
        Err(why) if why.contains("fast lane") => {
            skipped(&why);
            return;
        }
        Err(why) => {
            without_tool(&format!("no Python with pandas: {why}"));
            return;
        }
    };
    let base = tempfile::tempdir().unwrap();
    let [one, audit] = ["run", "audit"].map(|name| base.path().join(name));
    succeed(run(&one, &TRAININGS));
    let settings = [small::dataset(), "policy=evolution", "cycles=3", "candidates=6"];
    succeed(program(&["audit", "--out"]).arg(&audit).args(settings.iter().flat_map(|setting| ["--set", setting])));
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = Command::new(python);
    tests.args(["-B", "-m", "unittest", "discover", "-s", "python/tests"]).current_dir(checkout);
    tests.env("PYTHONPATH", checkout.join("python/src")).env("ELITELOOP_PROGRAM", env!("CARGO_BIN_EXE_eliteloop"));
    let output = tests.env("ELITELOOP_RUN", &one).env("ELITELOOP_AUDIT", &audit).output().unwrap();
    let said = stderr(&output);
    // Tools to read exports back with are not installed for it; parquet is.
    assert!(output.status.success() && said.contains("OK"), "{said}");
    let ran = said.lines().find_map(|line| line.strip_prefix("Ran ")?.split(' ').next()?.parse::<u32>().ok()).unwrap();
    assert!(ran >= 40, "{said}");
}
