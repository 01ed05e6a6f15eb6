//! Slurm: array jobs out of a batch script that the user may write (partition, account, module lines), handed over by `sbatch`, looked after
//! by `squeue`, ended by `scancel`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::command::{Silence, Versioned, ask};
use super::order::{End, Needs, Order};
use crate::base::error::{Error, Result};
use crate::base::files::{open_file, write_whole};

/// The batch script where the user gives none.
const SCRIPT: &str = include_str!("../../presets/slurm.sh");
const SBATCH: Versioned = Versioned {
    command: "sbatch",
    engine: "Slurm",
    // What is called by these options is older than anything that is still kept up.
    oldest: (20, 2),
    where_missing: "start the run on a node that jobs are submitted from; or let this machine do it: local",
    where_failing: "see that `sinfo` answers: SLURM_CONF names the cluster's settings where they lie elsewhere",
};

/// What `sbatch` says of itself and where it would put a task.
///
/// # Errors
/// `sbatch` is not in PATH or too old, the controller does not answer, or refuses the script: a wrong partition, a wrong account.
pub(super) fn check(asked_by: &str, script: Option<&Path>, needs: Needs) -> Result<String> {
    if let Some(script) = script {
        open_file(script, "read the batch script")?;
    }
    let said = SBATCH.check(asked_by)?;
    let folder = tempfile::tempdir()?;
    let order = Order { name: "eliteloop-check", folder: folder.path(), program: Path::new("eliteloop"), tasks: 1, needs };
    let mut command = sbatch(script, order)?;
    // What it says goes to stderr, as a success too.
    command.arg("--test-only").args(arguments(script, order));
    ask(command).map_err(|silence| {
        Error::input(format!("{asked_by}: Slurm would take no task: {silence}")).hint(
            "see that `sinfo` answers; name partition and account in a batch script of your own, after src/presets/slurm.sh, and give it (proxy.slurm_script, --slurm-script)",
        )
    })?;
    Ok(said.trim().to_owned())
}

/// `sbatch` up to the script.
fn sbatch(script: Option<&Path>, order: Order<'_>) -> Result<Command> {
    if script.is_none() {
        write_whole(&own_script(order), SCRIPT.as_bytes())?;
    }
    let folder = order.folder.display();
    let mut command = Command::new("sbatch");
    // What a job that the run itself is in was given is not what its tasks are to get.
    for (key, _) in std::env::vars_os() {
        if key.as_encoded_bytes().starts_with(b"SLURM_") && !["SLURM_CONF", "SLURM_CLUSTERS"].map(OsStr::new).contains(&key.as_os_str()) {
            command.env_remove(key);
        }
    }
    command.args(["--parsable", "--requeue", "--open-mode=append", "--ntasks=1"]);
    command.arg(format!("--cpus-per-task={}", order.needs.cores));
    command.arg(format!("--array=0-{}", order.tasks.saturating_sub(1))).arg(format!("--job-name={}", order.name));
    if order.needs.gpus > 0 {
        command.arg(format!("--gpus={}", order.needs.gpus));
    }
    command.arg(format!("--mem={}M", order.needs.memory_mib)).arg(format!("--chdir={folder}"));
    // Within that folder: in a path `%` and a backslash would be taken for more than they are.
    command.arg("--output=%a.log");
    Ok(command)
}

fn own_script(order: Order<'_>) -> PathBuf {
    order.folder.join("slurm.sh")
}

/// The script and what it is given.
fn arguments(script: Option<&Path>, order: Order<'_>) -> [PathBuf; 3] {
    [script.map_or_else(|| own_script(order), Path::to_owned), order.program.to_owned(), order.folder.to_owned()]
}

/// Hands the tasks over as one array.
pub(super) fn submit(script: Option<&Path>, order: Order<'_>) -> Result<String, Silence> {
    let mut command = sbatch(script, order).map_err(|e| Silence::Said(e.to_string()))?;
    command.args(arguments(script, order));
    let said = ask(command)?;
    // `NUMBER` or `NUMBER;CLUSTER`.
    let number = said.trim().split(';').next().unwrap_or_default();
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Silence::Said(format!("sbatch gave no number: {:.80}", said.trim())));
    }
    Ok(number.to_owned())
}

/// Which tasks of an array have ended. Slurm soon forgets those that did: one that is not listed any more is over.
pub(super) fn ended(job: &str, name: &str, tasks: usize) -> Result<BTreeMap<usize, End>, Silence> {
    let mut command = Command::new("squeue");
    command.args(["--noheader", "--array", "--states=all", "--format=%K|%T|%j"]).arg(format!("--jobs={job}"));
    match ask(command) {
        Ok(listed) => Ok(ends(&listed, name, tasks)),
        Err(Silence::Said(words)) if words.contains("Invalid job id") => Ok(ends("", name, tasks)),
        Err(silence) => Err(silence),
    }
}

fn ends(listed: &str, name: &str, tasks: usize) -> BTreeMap<usize, End> {
    let mut ends: BTreeMap<usize, End> = (0..tasks).map(|task| (task, End::Over)).collect();
    for line in listed.lines() {
        let mut fields = line.trim().splitn(3, '|');
        let (Some(task), Some(state), Some(found)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let Ok(task) = task.parse::<usize>() else { continue };
        if found != name || task >= tasks {
            continue;
        }
        match state {
            "COMPLETED" => ends.insert(task, End::Over),
            "BOOT_FAIL" | "CANCELLED" | "DEADLINE" | "FAILED" | "NODE_FAIL" | "OUT_OF_MEMORY" | "PREEMPTED" | "TIMEOUT" => {
                ends.insert(task, End::Lost(state.to_owned()))
            }
            // It waits, runs, or is put back to wait.
            _ => ends.remove(&task),
        };
    }
    ends
}

/// Ends what is left of an array.
pub(super) fn cancel(job: &str) -> Result<(), Silence> {
    let mut command = Command::new("scancel");
    command.arg(job);
    ask(command).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_tells_who_has_ended_and_how() {
        let listed =
            "0|COMPLETED|mine\n1|RUNNING|mine\n2|TIMEOUT|mine\n3|PENDING|mine\n4|FAILED|another\n9|FAILED|mine\nN/A|PENDING|mine\n";
        let found = ends(listed, "mine", 5);
        let lost = |state: &str| End::Lost(state.into());
        assert_eq!(found, BTreeMap::from([(0, End::Over), (2, lost("TIMEOUT")), (4, End::Over)]));
        assert_eq!(ends("", "mine", 2).len(), 2, "what Slurm has forgotten is over");
    }
}
