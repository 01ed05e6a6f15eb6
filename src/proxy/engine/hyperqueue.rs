//! HyperQueue: a server and workers that the user has started (`hq server start`, `hq worker start`), spoken to by `hq` alone. Which server
//! it is, `hq` decides as always (`HQ_SERVER_DIR`).

use std::collections::BTreeMap;
use std::process::Command;

use serde::Deserialize;

use super::command::{Silence, Versioned, ask};
use super::order::{End, Needs, Order};
use crate::base::error::{Error, Result};
use crate::base::printer;
use crate::base::show::count;

const COMMAND: &str = "hq";
/// HyperQueue counts resources in such parts.
const PARTS: f64 = 10_000.0;
const HQ: Versioned = Versioned {
    command: COMMAND,
    engine: "HyperQueue",
    // The first one with the states of tasks that are read here.
    oldest: (0, 26),
    where_missing: "install HyperQueue, one executable, and let PATH name its folder; or let this machine do it: local",
    where_failing: "see that the hq that PATH finds first is HyperQueue's and runs here",
};

fn hq(arguments: &[&str]) -> Command {
    let mut command = Command::new(COMMAND);
    command.args(arguments).args(["--output-mode", "json"]);
    command
}

/// What the server says of itself.
///
/// # Errors
/// `hq` is not in PATH or too old, no server answers, or no worker has the memory.
pub(super) fn check(asked_by: &str, needs: Needs) -> Result<String> {
    HQ.check(asked_by)?;
    let server = ask(hq(&["server", "info"])).map_err(|silence| {
        Error::input(format!("{asked_by}: no HyperQueue server answers: {silence}")).hint(
            "start one with `hq server start`, and on each machine that is to train `hq worker start`; HQ_SERVER_DIR says which server",
        )
    })?;
    let server: Server = parse(&server).map_err(|silence| Error::machine(format!("`hq server info` gave no answer: {silence}")))?;
    let Needs { memory_mib, memory_by, .. } = needs;
    let workers = ask(hq(&["worker", "list"])).and_then(|text| parse::<Vec<Worker>>(&text));
    let workers = workers.map_err(|silence| Error::machine(format!("`hq worker list` gave no answer: {silence}")))?;
    if workers.is_empty() {
        printer::note("HyperQueue has no worker yet: trainings wait for one (hq worker start)");
    } else if workers.iter().all(|worker| worker.memory().is_none_or(|mib| mib < memory_mib as f64)) {
        let most = workers.iter().filter_map(Worker::memory).fold(0.0, f64::max);
        return Err(Error::input(format!(
            "{memory_by} = {memory_mib}: no worker of HyperQueue has so much, the largest one {most:.0} MiB"
        ))
        .hint(format!("lower {memory_by}, or start a worker that has it: `hq worker start` finds a machine's memory by itself")));
    }
    Ok(format!("HyperQueue {} at {}, {}", server.version, server.client_host, count(workers.len(), "worker")))
}

/// Hands the tasks over as one job.
pub(super) fn submit(order: Order<'_>) -> Result<String, Silence> {
    let folder = order.folder.display().to_string();
    let last = order.tasks.saturating_sub(1);
    let mut command = hq(&["submit", "--name", order.name, "--array", &format!("0-{last}"), "--cpus", &order.needs.cores.to_string()]);
    command.args(["--resource", &format!("mem={}", order.needs.memory_mib), "--cwd", &folder]);
    if order.needs.gpus > 0 {
        command.args(["--resource", &format!("gpus/nvidia={}", order.needs.gpus)]);
    }
    command.args(["--stdout", "none", "--stderr", &format!("{folder}/%{{TASK_ID}}.log")]);
    // `$0` and `$1` are what follows the script.
    command.args(["--", "sh", "-c", "exec \"$0\" worker --task \"$1/$HQ_TASK_ID.json\""]).arg(order.program).arg(order.folder);
    let submitted: Submitted = parse(&ask(command)?)?;
    Ok(submitted.id.to_string())
}

/// Which tasks of a job have ended. A server that was begun anew without a journal counts its jobs from 1 again, so the name has to fit.
pub(super) fn ended(job: &str, name: &str, tasks: usize) -> Result<BTreeMap<usize, End>, Silence> {
    Ok(ends(parse(&ask(hq(&["job", "info", job]))?)?, name, tasks))
}

fn ends(jobs: Vec<JobInfo>, name: &str, tasks: usize) -> BTreeMap<usize, End> {
    let Some(job) = jobs.into_iter().find(|job| job.info.name == name) else {
        return (0..tasks).map(|task| (task, End::Forgotten)).collect();
    };
    let end = |task: TaskInfo| {
        let end = match task.state.as_str() {
            "finished" => End::Over,
            "failed" => End::Lost(task.error.unwrap_or_else(|| "failed".into())),
            "canceled" | "aborted" => End::Lost(task.state),
            _ => return None,
        };
        Some((task.id, end))
    };
    job.tasks.into_iter().filter_map(end).collect()
}

/// Ends what is left of a job.
pub(super) fn cancel(job: &str) -> Result<(), Silence> {
    ask(hq(&["job", "cancel", job])).map(drop)
}

fn parse<T: for<'a> Deserialize<'a>>(text: &str) -> Result<T, Silence> {
    serde_json::from_str(text).map_err(|e| Silence::Said(format!("{e} in {:.80}", text.trim())))
}

#[derive(Deserialize)]
struct Server {
    version: String,
    client_host: String,
}

#[derive(Deserialize)]
struct Submitted {
    id: u64,
}

#[derive(Deserialize)]
struct JobInfo {
    info: Info,
    tasks: Vec<TaskInfo>,
}

#[derive(Deserialize)]
struct Info {
    name: String,
}

#[derive(Deserialize)]
struct TaskInfo {
    id: usize,
    state: String,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Worker {
    configuration: Configuration,
}

#[derive(Deserialize)]
struct Configuration {
    resources: Resources,
}

#[derive(Deserialize)]
struct Resources {
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
struct Resource {
    name: String,
    /// Of what is counted by its sum, in ten thousandths: of a MiB where it is memory.
    size: Option<f64>,
}

impl Worker {
    fn memory(&self) -> Option<f64> {
        self.configuration.resources.resources.iter().find(|resource| resource.name == "mem")?.size.map(|size| size / PARTS)
    }
}
