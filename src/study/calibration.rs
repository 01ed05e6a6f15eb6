//! What the verdicts are worth: controls whose truth is known go through the very code that judges audits, many seeds each, and it is
//! counted how often each verdict comes out.
//!
//! ```toml
//! kind = "calibration"
//! dataset = "cifar10"
//! runs = 200                        # seeds of each control
//! shapes = [[5, 12], [22, 50]]      # cycles and candidates
//!
//! [settings]                        # of every control, as for `audit --set`
//!
//! [controls.exact-ce]               # what a control changes
//! policy = "mixture-ce"
//! true = [1, 2, 3]                  # claims that are true of it: not `fails`, nor `assumption not met`
//! power = [1, 2, 3]                 # .. and that are to be found true, in the last shape
//! false = []                        # .. that are false: not `holds`
//! nothing = []                      # .. where nothing changes: not `fails`
//! unmet = []                        # .. whose assumptions it breaks: `assumption not met`
//! spared = []                       # .. that no theorem promises and none denies: not `fails`
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use serde::Deserialize;
use toml::Table as Settings;

use super::file::{flatten, misread};
use crate::audit::settings::AuditConfig;
use crate::audit::simulate;
use crate::base::error::{Error, Result};
use crate::base::range::{MANY, whole};
use crate::oracle::{self, Table};
use crate::report::audit::panels;
use crate::theory::statistics::wilson;
use crate::theory::values::{self as table, Cell, Show, estimate, value, values};
use crate::theory::{Claim, Verdict};

/// The share of runs in which a control may come out wrong, and in which a true claim is to be found.
const WRONG: f64 = 0.05;
const FOUND: f64 = 0.8;

/// A calibration file: controls, and the shapes and seeds under which each is run.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    kind: String,
    /// As in an audit's settings.
    pub dataset: String,
    pub(crate) runs: u64,
    pub(crate) shapes: Vec<(u64, usize)>,
    #[serde(default)]
    settings: Settings,
    controls: Settings,
}

/// What is known of a control, and its settings.
#[derive(Clone, Debug, Deserialize)]
struct Control {
    #[serde(default, rename = "true")]
    of_true: Vec<Claim>,
    #[serde(default)]
    power: Vec<Claim>,
    #[serde(default, rename = "false")]
    of_false: Vec<Claim>,
    #[serde(default)]
    nothing: Vec<Claim>,
    #[serde(default)]
    unmet: Vec<Claim>,
    #[serde(default)]
    spared: Vec<Claim>,
    #[serde(flatten)]
    settings: Settings,
}

/// What is asked of the verdicts of a control on a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bar {
    /// The claim is true: holds or undecided in at least 95% of the runs.
    True,
    /// It is true and to be found so: holds in at least 80%, holds or undecided in at least 95%.
    Power,
    /// It is false: holds in at most 5%.
    False,
    /// Nothing changes: fails in at most 5%.
    Nothing,
    /// The control breaks an assumption: `assumption not met` in at least 95%.
    Unmet,
    /// No theorem promises the claim and none denies it: fails in at most 5%.
    Spared,
}

impl Bar {
    const fn text(self) -> &'static str {
        match self {
            Self::True => "true: holds or undecided in 95%",
            Self::Power => "true: holds in 80%, or undecided, in 95%",
            Self::False => "false: holds in 5% at most",
            Self::Nothing => "nothing changes: fails in 5% at most",
            Self::Unmet => "an assumption is broken: said in 95%",
            Self::Spared => "nothing is promised: fails in 5% at most",
        }
    }

    /// Whether the counts (in the order of [`Verdict::ALL`]) meet it.
    fn is_met(self, [holds, fails, undecided, unmet]: [u64; 4]) -> bool {
        let runs = (holds + fails + undecided + unmet).max(1) as f64;
        let share = |count: u64| count as f64 / runs;
        match self {
            Self::True => share(holds + undecided) >= 1.0 - WRONG,
            Self::Power => share(holds) >= FOUND && share(holds + undecided) >= 1.0 - WRONG,
            Self::False => share(holds) <= WRONG,
            Self::Nothing | Self::Spared => share(fails) <= WRONG,
            Self::Unmet => share(unmet) >= 1.0 - WRONG,
        }
    }
}

/// How often each verdict came out.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Name of the control.
    pub control: String,
    /// Cycles, and candidates of a cycle.
    pub shape: (u64, usize),
    /// One of claims 1 to 3, which an audit can judge by itself.
    pub claim: Claim,
    /// In the order of [`Verdict::ALL`].
    pub counts: [u64; 4],
    /// None where the file asks nothing of the control on this claim.
    pub bar: Option<Bar>,
}

impl Row {
    /// Whether the counts meet the bar; true where there is none.
    pub fn is_met(&self) -> bool {
        self.bar.is_none_or(|bar| bar.is_met(self.counts))
    }
}

/// Whether this file is a calibration and no study of runs or audits.
pub fn is_calibration(text: &str) -> bool {
    text.parse::<Settings>().is_ok_and(|file| file.get("kind").and_then(toml::Value::as_str) == Some("calibration"))
}

impl Calibration {
    /// # Errors
    /// Says where the file is wrong: a key that there is not, a number without meaning, settings that an audit refuses.
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        let read: Self = toml::from_str(text).map_err(|e| misread(text, origin, &e))?;
        let wrong = |why: String| Err(Error::input(format!("{origin}: {why}")));
        if read.kind != "calibration" {
            return wrong(format!("kind is '{}' and not 'calibration'", read.kind));
        }
        whole("runs", read.runs, 1..=MANY as u64)?;
        if read.shapes.is_empty() || read.controls.is_empty() {
            return wrong("a calibration has at least one shape and one control".into());
        }
        for (name, control) in read.controls()? {
            for &shape in &read.shapes {
                let config = read.config(&control, shape, 0).map_err(|e| Error::input(format!("{origin}: control {name}: {e}")))?;
                if config.policy.has_llm() {
                    return wrong(format!(
                        "control {name}: a control has its distribution in closed form, and policy {} has not",
                        config.policy.name()
                    ));
                }
            }
        }
        Ok(read)
    }

    fn controls(&self) -> Result<Vec<(String, Control)>> {
        let read = |(name, settings): (&String, &toml::Value)| {
            let control = settings.clone().try_into::<Control>();
            let control = control.map_err(|e| Error::input(format!("control {name}: {}", e.message())))?;
            let lists = [&control.of_true, &control.of_false, &control.nothing, &control.unmet, &control.spared];
            let twice = Claim::ALL.into_iter().find(|claim| lists.iter().filter(|list| list.contains(claim)).count() > 1);
            match twice {
                Some(claim) => Err(Error::input(format!("control {name}: claim {claim} is in two lists"))),
                None => Ok((name.clone(), control)),
            }
        };
        self.controls.iter().map(read).collect()
    }

    fn config(&self, control: &Control, (cycles, candidates): (u64, usize), seed: u64) -> Result<AuditConfig> {
        let mut assignments = vec![format!("dataset={}", self.dataset), format!("cycles={cycles}"), format!("candidates={candidates}")];
        flatten("", &self.settings, &mut assignments);
        flatten("", &control.settings, &mut assignments);
        assignments.push(format!("seed={seed}"));
        AuditConfig::resolve(None, &assignments)
    }

    /// Runs all controls; `said` hears of each that is done.
    ///
    /// # Errors
    /// Settings that an audit refuses.
    pub fn run(&self, data: &Arc<Table>, said: impl Fn(&str) + Sync) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for (name, control) in self.controls()? {
            for (number, &shape) in self.shapes.iter().enumerate() {
                let counts: Vec<[AtomicU64; 4]> = Claim::ALL.iter().map(|_| Default::default()).collect();
                (0..self.runs).into_par_iter().try_for_each(|seed| -> Result<()> {
                    let config = self.config(&control, shape, seed)?;
                    let (inputs, cycles) = simulate(config.clone(), Arc::clone(data))?;
                    for panel in panels(&config, &inputs, &cycles) {
                        let verdict = Verdict::ALL.iter().position(|v| *v == panel.finding.verdict).expect("it is one of all");
                        counts[usize::from(panel.claim.number()) - 1][verdict].fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                })?;
                let last = number + 1 == self.shapes.len();
                for (claim, counts) in Claim::ALL.into_iter().zip(&counts) {
                    let counts = counts.each_ref().map(|count| count.load(Ordering::Relaxed));
                    if counts.iter().sum::<u64>() > 0 && claim <= Claim::Convergence {
                        rows.push(Row { control: name.clone(), shape, claim, counts, bar: control.bar(claim, last) });
                    }
                }
                said(&format!("{name}, {} x {}: done", shape.0, shape.1));
            }
        }
        Ok(rows)
    }
}

impl Control {
    fn bar(&self, claim: Claim, last: bool) -> Option<Bar> {
        let lists = [
            (Bar::Power, self.power.contains(&claim) && last),
            (Bar::True, self.of_true.contains(&claim) || self.power.contains(&claim)),
            (Bar::False, self.of_false.contains(&claim)),
            (Bar::Nothing, self.nothing.contains(&claim)),
            (Bar::Unmet, self.unmet.contains(&claim)),
            (Bar::Spared, self.spared.contains(&claim)),
        ];
        lists.into_iter().find(|(_, listed)| *listed).map(|(bar, _)| bar)
    }
}

/// The counts as a table.
pub fn table(calibration: &Calibration, rows: &[Row]) -> table::Table {
    let row = |r: &Row| {
        let runs: u64 = r.counts.iter().sum();
        let share = |count: u64| {
            let e = wilson(count, runs);
            Cell::estimate(e.value, Some((e.low, e.high)), Show::Percent(0))
        };
        let mut cells: Vec<Cell> = vec![r.control.as_str().into(), format!("{} x {}", r.shape.0, r.shape.1).into(), r.claim.into()];
        cells.extend(r.counts.map(share));
        cells.push(r.bar.map_or(Cell::Unknown, |bar| bar.text().into()));
        cells.push(r.bar.map_or(Cell::Unknown, |_| r.is_met().into()));
        cells
    };
    let met = rows.iter().filter(|r| r.bar.is_some() && r.is_met()).count();
    let bars = rows.iter().filter(|r| r.bar.is_some()).count();
    table::Table {
        id: "calibration",
        title: "How often each verdict comes out".into(),
        note: format!(
            "{} runs of each control and shape (cycles x candidates) on {}; shares with Wilson's 95% intervals. {met} of {bars} bars are met.",
            calibration.runs,
            oracle::title(&calibration.dataset)
        ),
        head: [
            values(["control", "shape", "claim"]),
            vec![estimate("holds"), estimate("fails"), estimate("undecided"), estimate("assumption not met")],
            vec![value("bar"), value("met")],
        ]
        .concat(),
        rows: rows.iter().map(row).collect(),
    }
}
