//! `[proxy]`: the short trainings that give a candidate its quality.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::Table;

use crate::base::device::Place;
use crate::base::error::Result;
use crate::base::range::{Check, MANY, MOST_MIB, MOST_WORKERS, above, real, refused, whole};
use crate::proxy::dataset::{self, Dataset, Split, is_uneven, usable};
use crate::proxy::halving::Halving;

/// The recipe of a training, the images it sees, and the processes that train.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProxyConfig {
    /// `cifar10`, `fashion-mnist`, `mnist`, `synthetic`, or a set of your own by the name it was imported under.
    pub dataset: String,
    /// Images of the training split that are trained on; drawn once per run. Where it is not given, a set of your own says how many it has.
    pub train_images: usize,
    /// The same for those that give the quality.
    pub valid_images: usize,
    /// `balanced`, the same count of each class, or `stratified`, of each class in the proportion that the set has; the quality is then the
    /// mean of the classes' accuracies. Where it is not given, a set of your own of uneven classes is stratified.
    pub split: Shares,
    /// Passes over the training images.
    pub epochs: usize,
    /// Images of one step; the rest of an epoch that does not fill a batch is left out.
    pub batch: usize,
    /// What moves the parameters.
    pub optimizer: Optimizer,
    /// Multi-fidelity: `"off"`, or `{ epochs = 1, eta = 3 }`: only the best 1/eta of a cycle's candidates go on after so many epochs, and
    /// so on; the others keep the accuracy they have then. See [`crate::proxy::halving`].
    pub halving: Halving,
    /// Peak learning rate; one warm-up epoch at most, then a cosine to zero.
    pub lr: f64,
    /// Of SGD (Nesterov off).
    pub momentum: f64,
    /// Of SGD a part of the gradient, of AdamW decoupled from it.
    pub weight_decay: f64,
    /// Largest gradient norm; 0 is no clipping.
    pub clip: f64,
    /// Share of a label that goes to all classes alike, below 1; in training only.
    pub label_smoothing: f64,
    /// Random horizontal flip (not for digits) and crop from a border of 4 zeros.
    pub augment: bool,
    /// Independent trainings of a candidate; quality is their mean.
    pub seeds: u64,
    /// Where the n-th training of a network takes its random numbers from.
    pub random_numbers: RandomNumbers,
    /// Candidates drawn at random in each cycle that are trained once more with another seed, to measure the noise of the
    /// quality (claim 6). It does not change the quality.
    pub repeats: usize,
    /// `{ networks = 2, epochs = 30 }`: so many of the candidates that each cycle trained, drawn at random, are trained once more, for so
    /// many epochs and with another seed, to see whether the proxy orders networks as a full training does (claim 6). It does not change the
    /// quality.
    pub full: Full,
    /// What does a run's trainings: `local`, processes of this machine; `hq`, a HyperQueue server and its workers; `slurm`. See
    /// [`crate::proxy::engine`].
    pub on: On,
    /// The batch script for `on = "slurm"` (partition, account, module lines); empty is `src/presets/slurm.sh`.
    pub slurm_script: String,
    /// Processes of one thread that train at the same time, where they are of this machine.
    pub workers: usize,
    /// Multiply-accumulates of one training, forward and backward, validation included (see [`crate::tracer::cost::Cost::of_training`]);
    /// a network of which it would take more is over the budget and is not trained. 0 is no limit.
    pub max_training_macs: u64,
    /// Seconds of processor time that a worker may spend on one training: an end for one that has none, far beyond what
    /// `max_training_macs` take. No clock ends a training. 0 is no limit.
    pub cpu_seconds: u64,
    /// Address space of a worker, where it trains on the processor.
    pub memory_mib: u64,
    /// Where the workers train: see `llm.device`.
    pub device: Place,
    /// Memory of the card that the workers may take together, in MiB; 0 is what is free when a cycle's trainings begin. It bounds how many
    /// work at a time, and changes no result.
    pub card_memory_mib: u64,
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self {
            dataset: "cifar10".into(),
            train_images: 4000,
            valid_images: 2000,
            split: Shares::Balanced,
            epochs: 2,
            halving: Halving::Off,
            batch: 64,
            optimizer: Optimizer::Sgd,
            lr: 0.05,
            momentum: 0.9,
            weight_decay: 5e-4,
            clip: 5.0,
            label_smoothing: 0.0,
            augment: true,
            seeds: 1,
            random_numbers: RandomNumbers::Own,
            repeats: 2,
            full: Full::default(),
            on: On::Local,
            slurm_script: String::new(),
            workers: 2,
            max_training_macs: 10_000_000_000_000,
            cpu_seconds: 36_000,
            memory_mib: 4096,
            device: Place::Cpu,
            card_memory_mib: 0,
        }
    }
}

impl ProxyConfig {
    /// Draws the images of a run from the training part of its set.
    ///
    /// # Errors
    /// There are too few.
    pub fn draw(&self, dataset: &Dataset, seed: u64) -> Result<Split> {
        match self.split {
            Shares::Balanced => Split::draw(dataset, seed, self.train_images, self.valid_images),
            Shares::Stratified => Split::stratified(dataset, seed, self.train_images, self.valid_images),
        }
    }

    /// Takes what was not `given` in the table `[proxy]` from the set, where it is one of the user's own that is there: how many images it
    /// lets one use, and whether its classes are even.
    ///
    /// # Errors
    /// Where the set is damaged.
    pub fn suit(&mut self, given: &Table, data: &Path) -> Result<()> {
        let name = &self.dataset;
        if dataset::NAMES.contains(&name.as_str()) || !dataset::is_present(name, data) {
            return Ok(());
        }
        let counts = dataset::stored::counts(data, name)?;
        let is_given = |key: &str| given.get("proxy").is_some_and(|table| table.get(key).is_some());
        let own = [("train_images", self.train_images), ("valid_images", self.valid_images)];
        if !is_given("split") && is_uneven(&counts) {
            self.split = Shares::Stratified;
        }
        let usual = Self::default();
        let given = own.map(|(key, images)| is_given(key).then_some(images));
        [self.train_images, self.valid_images] = usable(&counts, given, [usual.train_images, usual.valid_images]);
        Ok(())
    }
}

impl Check for ProxyConfig {
    fn check(&self) -> Result<()> {
        // A split larger than its data set is refused with what there is; this only keeps sums within bounds.
        whole("proxy.train_images", self.train_images, 1..=1_000_000_000)?;
        whole("proxy.valid_images", self.valid_images, 1..=1_000_000_000)?;
        whole("proxy.epochs", self.epochs, 1..=MANY)?;
        whole("proxy.batch", self.batch, 1..=MANY)?;
        if let Halving::On(rungs) = self.halving {
            whole("proxy.halving.epochs", rungs.epochs, 1..=MANY)?;
            whole("proxy.halving.eta", rungs.eta, 2..=MANY)?;
            if rungs.epochs >= self.epochs {
                return Err(refused("proxy.halving.epochs", rungs.epochs, &format!("less than proxy.epochs = {}", self.epochs)));
            }
        }
        // Far above any rate that trains; a rate of 0 trains nothing.
        real("proxy.lr", self.lr, above(0.0, 1000.0))?;
        real("proxy.momentum", self.momentum, 0.0..1.0)?;
        real("proxy.weight_decay", self.weight_decay, 0.0..=1000.0)?;
        // A norm above it is no number a step later.
        real("proxy.clip", self.clip, 0.0..=1e9)?;
        // At 1 every class is as right as the label.
        real("proxy.label_smoothing", self.label_smoothing, 0.0..1.0)?;
        whole("proxy.seeds", self.seeds, 1..=1000)?;
        whole("proxy.repeats", self.repeats, 0..=MANY)?;
        whole("proxy.full.networks", self.full.networks, 0..=MANY)?;
        whole("proxy.full.epochs", self.full.epochs, 1..=MANY)?;
        if self.on != On::Local && self.device.is_card() {
            let wanted = format!("cpu where proxy.on = \"{}\": trainings on a card are done here", self.on.name());
            return Err(refused("proxy.device", self.device, &wanted));
        }
        whole("proxy.workers", self.workers, 1..=MOST_WORKERS)?;
        whole("proxy.max_training_macs", self.max_training_macs, 0..=1 << 60)?;
        whole("proxy.cpu_seconds", self.cpu_seconds, 0..=1 << 30)?;
        whole("proxy.memory_mib", self.memory_mib, 1..=MOST_MIB)?;
        whole("proxy.card_memory_mib", self.card_memory_mib, 0..=MOST_MIB)
    }
}

/// What does the trainings of a run. It is about place and time: the rows are the same, on processors of the same kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum On {
    /// Processes of this machine.
    #[default]
    Local,
    /// The workers of a HyperQueue server that runs already.
    Hq,
    /// The nodes of a Slurm cluster.
    Slurm,
}

impl On {
    /// Its word in settings and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Hq => "hq",
            Self::Slurm => "slurm",
        }
    }
}

/// The streams that a training draws from: starting values (by the name of each tensor), order of the images, crops and flips, dropout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RandomNumbers {
    /// Each network's are its own.
    Own,
    /// All networks of a run have the same (common random numbers): what they share then starts alike and sees the same images in the same
    /// order, so that less of a difference between two of them is chance.
    Common,
}

/// Full trainings beside the short ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Full {
    /// In each cycle; 0 is none.
    pub(crate) networks: usize,
    /// Passes over the training images.
    pub(crate) epochs: usize,
}

impl Default for Full {
    fn default() -> Self {
        Self { networks: 0, epochs: 30 }
    }
}

/// How many images each class has in a split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Shares {
    /// The same count of each class.
    Balanced,
    /// Of each class in the proportion that the set has.
    Stratified,
}

/// What moves the parameters of a network: `proxy/optimizer.rs` has the formulas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Optimizer {
    /// Stochastic gradient descent, with `momentum`.
    Sgd,
    /// Loshchilov and Hutter 2019, with betas 0.9 and 0.999; `momentum` is not used.
    Adamw,
}
