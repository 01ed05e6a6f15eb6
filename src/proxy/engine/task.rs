//! A task: trainings that one process of an engine does one after another, told in a file, and a result file for each of them.
//!
//! Both are written whole or not at all. A result's name is a hash of all that decides about it: the program, the images, the recipe, the
//! network, the seed. So a result that is there is right whoever wrote it, however late; one of another program or recipe has another name,
//! and a task that is done twice, since an engine thought it lost, writes the same again.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::base::error::{AtPath, Error, Result};
use crate::base::files::{parent, read_file, write_whole};
use crate::base::hash::sha256;
use crate::base::processor;
use crate::proxy::pool::{Event, Pool};
use crate::proxy::settings::{On, ProxyConfig};
use crate::proxy::worker::{Job, Setup};
use crate::proxy::{Failure, Outcome};

/// Digits of a hash in a name.
const DIGITS: usize = 24;
/// Bytes of a task or a result.
const LONGEST: u64 = 1 << 30;

/// How long a process takes further tasks.
const STAY: Duration = Duration::from_mins(5);
/// Ending of the file that says who has taken a task.
const TAKEN: &str = "taken";

/// What a task file holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    /// SHA-256 of the images, which is in their file's name.
    pub(crate) images: String,
    pub(crate) config: ProxyConfig,
    /// Each with the name of its result.
    pub(crate) jobs: Vec<(String, Job)>,
}

/// What a result file holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Done {
    /// The name it was written under.
    pub(crate) name: String,
    /// The kind of processor that it was done on.
    pub(crate) processor: String,
    pub(crate) result: Result<Outcome, Failure>,
}

/// Where the images lie in the folder `work`.
pub(crate) fn images(work: &Path, hash: &str) -> PathBuf {
    work.join(format!("images-{}", digits(hash)))
}

/// Where results lie in the folder `work`.
pub(crate) fn results(work: &Path) -> PathBuf {
    work.join("results")
}

/// Where a result lies in their folder.
pub(crate) fn result(results: &Path, name: &str) -> PathBuf {
    results.join(format!("{name}.json"))
}

pub(crate) fn digits(hash: &str) -> &str {
    &hash[..DIGITS.min(hash.len())]
}

/// The name of a job's result: everything that it depends on, and no place or time.
///
/// # Errors
/// The job cannot be written as JSON.
pub(crate) fn name(program: &str, images: &str, config: &ProxyConfig, job: &Job) -> Result<String> {
    let config = ProxyConfig { on: On::Local, slurm_script: String::new(), workers: 0, card_memory_mib: 0, ..config.clone() };
    // The state of a training is a shorter way to the same.
    let job = Job { id: 0, state: None, ..job.clone() };
    Ok(digits(&sha256(serde_json::to_vec(&(program, images, &config, &job))?)).to_owned())
}

/// The result of this name; None where there is none, or what is there is no whole result.
pub(crate) fn read_result(results: &Path, name: &str) -> Option<Done> {
    let bytes = read_file(&result(results, name), "read", LONGEST).ok()?;
    serde_json::from_slice(&bytes).ok().filter(|done: &Done| done.name == name)
}

/// Does a task, and after it for [`STAY`] others of its batch that nobody has begun: an engine may take seconds to begin the next where a
/// process has ended. A task that another process took in this way is left to it.
///
/// # Errors
/// The file is no task, nothing can be written beside it, or the machine has no worker. What a training comes to is a result, not an error.
pub fn perform(path: &Path) -> Result<()> {
    let begun = Instant::now();
    let Some(own) = number(path) else { return train(path) };
    if !take(path, own)? {
        return Ok(());
    }
    train(path)?;
    let Ok(entries) = parent(path).read_dir() else { return Ok(()) };
    let mut others: Vec<usize> = entries.filter_map(|entry| number(&entry.ok()?.path())).filter(|other| *other > own).collect();
    // The engine begins them from the other end.
    others.sort_unstable();
    for other in others.into_iter().rev() {
        let file = path.with_file_name(format!("{other}.json"));
        if begun.elapsed() >= STAY || !file.exists() {
            break;
        }
        if take(&file, own)? {
            train(&file)?;
        }
    }
    Ok(())
}

/// The number of a task file.
fn number(path: &Path) -> Option<usize> {
    if path.extension()? != "json" {
        return None;
    }
    path.file_stem()?.to_str()?.parse().ok()
}

/// Takes a task for the process that the engine began for task `own`; false where another has it.
fn take(path: &Path, own: usize) -> Result<bool> {
    let note = path.with_extension(TAKEN);
    match File::create_new(&note) {
        Ok(mut file) => {
            file.write_all(own.to_string().as_bytes()).at("write", &note)?;
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(taken_by(path) == Some(own)),
        // The run has stopped and taken its files away.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).at("write", &note),
    }
}

/// For which task the engine began the process that has taken this one.
pub(super) fn taken_by(path: &Path) -> Option<usize> {
    std::fs::read_to_string(path.with_extension(TAKEN)).ok()?.parse().ok()
}

/// The trainings of a task whose results are not there yet, in one worker process under the limits of the settings. It ends early where the
/// task file is taken away meanwhile, which is how a run that was stopped tells it so.
fn train(path: &Path) -> Result<()> {
    let task: Task = serde_json::from_slice(&read_file(path, "read the task", LONGEST)?)
        .map_err(|e| Error::input(format!("{} is no task of this version", path.display())).caused_by(e))?;
    let work = parent(parent(path));
    let results = results(work);
    let config = ProxyConfig { on: On::Local, workers: 1, ..task.config };
    let pool = Pool::new(Setup { split: images(work, &task.images), hash: Some(task.images), config, writes: Vec::new() })?;
    // Of a task that was begun before some are done.
    let left = task.jobs.into_iter().filter(|(name, _)| read_result(&results, name).is_none());
    let (names, jobs): (Vec<String>, Vec<Job>) = (0..).zip(left).map(|(id, (name, job))| (name, Job { id, ..job })).unzip();
    let (over, mut written) = (AtomicBool::new(false), Ok(()));
    pool.run(jobs, &over, |event| {
        let Event::Done { id, result: done, .. } = event else { return };
        let name = &names[id as usize];
        let text = Done { name: name.clone(), processor: processor::kind(), result: done };
        let put = serde_json::to_vec(&text).map_err(Error::from).and_then(|bytes| write_whole(&result(&results, name), &bytes));
        if put.is_err() && written.is_ok() {
            written = put;
        }
        if written.is_err() || !path.exists() {
            over.store(true, Ordering::Relaxed);
        }
    })?;
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracer::graph::Graph;

    fn job(seed: u64) -> Job {
        Job::new(7, Graph { nodes: vec![], output: 0, tensors: vec![], aliases: vec![] }, seed)
    }

    #[test]
    fn a_result_is_named_by_what_decides_about_it_and_by_nothing_else() {
        let config = ProxyConfig::default();
        let base = name("program", "images", &config, &job(1)).unwrap();
        let same = [
            name("program", "images", &ProxyConfig { workers: 9, on: On::Slurm, slurm_script: "x".into(), ..config.clone() }, &job(1)),
            name("program", "images", &config, &Job { id: 3, state: Some("elsewhere".into()), ..job(1) }),
        ];
        assert!(same.into_iter().all(|name| name.unwrap() == base));
        let other = [
            name("another", "images", &config, &job(1)),
            name("program", "others", &config, &job(1)),
            name("program", "images", &ProxyConfig { epochs: 9, ..config.clone() }, &job(1)),
            name("program", "images", &config, &job(2)),
            name("program", "images", &config, &Job { until: Some(1), ..job(1) }),
        ];
        assert!(other.into_iter().all(|name| name.unwrap() != base));
    }

    #[test]
    fn a_task_is_taken_once_and_by_whoever_has_it_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("7.json");
        assert_eq!((number(&file), number(Path::new("submitted.json")), number(Path::new("7.log"))), (Some(7), None, None));
        assert_eq!(taken_by(&file), None);
        assert!(take(&file, 3).unwrap() && take(&file, 3).unwrap(), "one that is begun again goes on");
        assert!(!take(&file, 7).unwrap());
        assert_eq!(taken_by(&file), Some(3));
        // Of a run that has gone.
        assert!(!take(&folder.path().join("gone/1.json"), 1).unwrap());
    }

    #[test]
    fn a_result_that_is_cut_off_or_of_another_name_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let done = Done { name: "a".into(), processor: "x".into(), result: Err(Failure::Diverged { step: 3 }) };
        let bytes = serde_json::to_vec(&done).unwrap();
        let put = |name: &str, bytes: &[u8]| std::fs::write(result(folder.path(), name), bytes).unwrap();
        put("a", &bytes);
        assert_eq!(read_result(folder.path(), "a"), Some(done));
        put("a", &bytes[..bytes.len() - 1]);
        put("b", &bytes);
        assert!(["a", "b", "c"].iter().all(|name| read_result(folder.path(), name).is_none()));
    }
}
