//! Tasks that were handed to an engine together, as they are noted on disk, so that a run that was killed finds them again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::scheduler::Scheduler;
use super::task::{Task, taken_by};
use crate::base::error::{AtPath, Result};
use crate::base::files::{read_file, write_whole};
use crate::proxy::settings::{On, ProxyConfig};
use crate::proxy::worker::Job;
use crate::tracer::cost::cost;

/// The file that says what was handed over.
const RECORD: &str = "submitted.json";
const PREFIX: &str = "batch-";
/// Multiply-accumulates from which on a task is not made longer: about ten seconds of a core, of which the start of a process and the
/// engine's own work are a few in a hundred.
const ENOUGH: u64 = 200_000_000_000;
/// Towards the end tasks get shorter, so that the last of them leave few machines idle: each is this share of what is left, down to
/// [`LEAST`] (guided self-scheduling, Polychronopoulos and Kuck 1987, without asking how many machines there are).
const SHARES: u64 = 32;
/// About two seconds of a core: below it the start of a process is no small part any more.
const LEAST: u64 = ENOUGH / 5;
/// Trainings of a task, however short.
const MOST_JOBS: usize = 100;
/// Tasks of a batch: Slurm's arrays end at 1001 where nobody has set another limit.
pub(super) const MOST_TASKS: usize = 1000;

/// Tasks handed over together.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Batch {
    pub(super) on: On,
    /// The engine's number.
    pub(super) job: String,
    /// Ours, which the engine shows.
    pub(super) name: String,
    /// The names of each task's results, in the order in which they come.
    pub(super) tasks: Vec<Vec<String>>,
    #[serde(skip)]
    pub(super) folder: PathBuf,
    /// Tasks that are known to have ended.
    #[serde(skip)]
    pub(super) ended: BTreeSet<usize>,
}

/// A named job.
pub(super) type Named = (String, Job);

/// Puts jobs together to tasks by what they cost: the longest first and alone, the short ones with others.
pub(super) fn group(jobs: Vec<Named>, config: &ProxyConfig) -> Vec<Vec<Named>> {
    let price = |job: &Job| {
        let epochs = job.until.map_or(config.epochs, |until| until.min(config.epochs));
        cost(&job.graph).of_training(config.train_images, config.valid_images, epochs)
    };
    let mut priced: Vec<(u64, Named)> = jobs.into_iter().map(|named| (price(&named.1), named)).collect();
    // By name where they cost the same, so that the same jobs make the same tasks.
    priced.sort_by(|(a, (one, _)), (b, (two, _))| b.cmp(a).then_with(|| one.cmp(two)));
    let mut left: u64 = priced.iter().fold(0, |sum, (price, _)| sum.saturating_add(*price));
    let (mut tasks, mut sum, mut most) = (Vec::<Vec<Named>>::new(), ENOUGH, 0);
    for (price, named) in priced {
        match tasks.last_mut() {
            Some(task) if sum.saturating_add(price) <= most && task.len() < MOST_JOBS => {
                task.push(named);
                sum += price;
            }
            _ => {
                most = (left / SHARES).clamp(LEAST, ENOUGH);
                tasks.push(vec![named]);
                sum = price;
            }
        }
        left = left.saturating_sub(price);
    }
    tasks
}

/// A folder of its own for a batch, with the task files in it.
///
/// # Errors
/// Those of the disk.
pub(super) fn write(work: &Path, images: &str, config: &ProxyConfig, tasks: Vec<Vec<Named>>) -> Result<(PathBuf, Vec<Vec<String>>)> {
    let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(work).at("write in", work)?.keep();
    let mut names = Vec::new();
    for (number, jobs) in tasks.into_iter().enumerate() {
        names.push(jobs.iter().map(|(name, _)| name.clone()).collect());
        let task = Task { images: images.to_owned(), config: config.clone(), jobs };
        write_whole(&folder.join(format!("{number}.json")), &serde_json::to_vec(&task)?)?;
    }
    Ok((folder, names))
}

impl Batch {
    /// Notes it.
    ///
    /// # Errors
    /// Those of the disk.
    pub(super) fn note(&self) -> Result<()> {
        write_whole(&self.folder.join(RECORD), &serde_json::to_vec(self)?)
    }

    /// The names of the results of tasks that have not ended.
    pub(super) fn open(&self) -> impl Iterator<Item = &String> {
        (0..).zip(&self.tasks).filter(|(task, _)| !self.ended.contains(task)).flat_map(|(_, names)| names)
    }

    /// The task whose process has taken this one, where it is not its own.
    pub(super) fn taken_by(&self, task: usize) -> Option<usize> {
        taken_by(&self.folder.join(format!("{task}.json"))).filter(|by| *by != task)
    }

    pub(super) fn is_over(&self) -> bool {
        self.ended.len() == self.tasks.len()
    }

    /// The last line that a task left in its log.
    pub(super) fn last_words(&self, task: usize) -> Option<String> {
        let text = std::fs::read(self.log(task)).ok()?;
        let text = String::from_utf8_lossy(&text);
        text.lines().rev().find(|line| !line.trim().is_empty() && !line.starts_with("hint:")).map(str::to_owned)
    }

    pub(super) fn log(&self, task: usize) -> PathBuf {
        self.folder.join(format!("{task}.log"))
    }

    /// Takes its files away: a task that has not begun finds nothing to do, and one at work ends after the training it is at.
    ///
    /// # Errors
    /// Those of the disk.
    pub(super) fn remove(&self) -> Result<()> {
        remove(&self.folder)
    }
}

fn remove(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        // A task may have been about to write its log.
        Err(_) if folder.exists() => std::fs::remove_dir_all(folder).at("remove", folder),
        _ => Ok(()),
    }
}

/// The batches that a run which ended left with this engine; folders of what never got there are removed.
///
/// # Errors
/// Those of the disk.
pub(super) fn left(work: &Path, scheduler: &Scheduler) -> Result<Vec<Batch>> {
    let mut batches = Vec::new();
    for entry in work.read_dir().at("read the folder", work)? {
        let folder = entry.at("read the folder", work)?.path();
        if !folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX)) {
            continue;
        }
        let noted = read_file(&folder.join(RECORD), "read", u64::MAX - 1).ok();
        let batch = noted.and_then(|bytes| serde_json::from_slice::<Batch>(&bytes).ok());
        match batch {
            Some(batch) if batch.on == scheduler.on() => batches.push(Batch { folder, ..batch }),
            _ => remove(&folder)?,
        }
    }
    Ok(batches)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracer::graph::{Dim, Graph, Init, Node, Op, Role, TensorSpec};

    fn linear(out: usize) -> Graph {
        let node = |op, inputs, tensors, width: usize| Node {
            op,
            inputs,
            tensors,
            shape: vec![Dim::Batch(1), Dim::Fixed(width)],
            module: String::new(),
            line: 0,
        };
        Graph {
            nodes: vec![node(Op::Input, vec![], vec![], 1000), node(Op::Linear { out, bias: false }, vec![0], vec![0], out)],
            output: 1,
            tensors: vec![TensorSpec { name: "w".into(), shape: vec![out, 1000], role: Role::Parameter, init: Init::Constant(0.0) }],
            aliases: vec![],
        }
    }

    #[test]
    fn long_trainings_are_tasks_of_their_own_and_short_ones_share_one() {
        // Of the widths, thousands of multiply-accumulates a pass, 14000 passes an epoch of the default recipe.
        let config = ProxyConfig { epochs: 1, ..ProxyConfig::default() };
        let named = |name: &str, out| (name.to_owned(), Job::new(0, linear(out), 0));
        let jobs = vec![named("c", 10), named("a", 20_000), named("b", 10_000), named("d", 4000), named("e", 10)];
        let tasks: Vec<Vec<String>> = group(jobs, &config).into_iter().map(|t| t.into_iter().map(|(name, _)| name).collect()).collect();
        assert_eq!(tasks, [vec!["a"], vec!["b"], vec!["d"], vec!["c", "e"]]);
        let many = (0..250).map(|n| named(&format!("{n:03}"), 1)).collect();
        assert_eq!(group(many, &config).iter().map(Vec::len).collect::<Vec<_>>(), [100, 100, 50]);
        // Of about a second each: many a task at first, fewer then.
        let equal = (0..1000).map(|n| named(&format!("{n:04}"), 1400)).collect();
        let sizes: Vec<usize> = group(equal, &config).iter().map(Vec::len).collect();
        assert!(sizes.is_sorted_by(|a, b| a >= b) && sizes[0] == 10 && sizes[sizes.len() - 2] == 2, "{sizes:?}");
    }

    #[test]
    fn a_batch_is_found_again_and_what_was_never_handed_over_is_removed() {
        let work = tempfile::tempdir().unwrap();
        let config = ProxyConfig::default();
        let tasks = || vec![vec![("x".to_owned(), Job::new(0, linear(1), 0))]];
        let (folder, names) = write(work.path(), "images", &config, tasks()).unwrap();
        let (never, _) = write(work.path(), "images", &config, tasks()).unwrap();
        let batch = Batch { on: On::Hq, job: "7".into(), name: "n".into(), tasks: names, folder: folder.clone(), ended: BTreeSet::new() };
        batch.note().unwrap();
        let found = left(work.path(), &Scheduler::HyperQueue).unwrap();
        assert!(found.len() == 1 && found[0].folder == folder && found[0].tasks == [["x"]] && !never.exists());
        std::fs::write(batch.log(0), "first\nerror: last\nhint: see\n\n").unwrap();
        assert_eq!(batch.last_words(0).as_deref(), Some("error: last"));
        // Another engine's are of no use.
        assert!(left(work.path(), &Scheduler::Slurm(None)).unwrap().is_empty() && !folder.exists());
    }
}
