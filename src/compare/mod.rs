//! Runs side by side, at the same budget of trained candidates and with paired seeds.

pub(crate) mod arms;
pub mod contest;
pub(crate) mod curves;
pub mod page;
pub mod runs;
pub mod searches;
pub mod text;

use std::path::PathBuf;

use serde::Serialize;

use crate::base::error::Result;
use crate::config::TuneData;
use crate::config::{Policy, RunConfig};
use crate::delta::settings::Format;
use crate::theory::Panel;
use contest::{Contest, Level, Side};
use runs::{Arm, RunFacts};

pub use page::page;

/// Arms side by side: all that the page and the text show.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Whether tuning on elites, and the LLM, beat their controls: the first line.
    pub verdict: String,
    /// In the order of their first run.
    pub arms: Vec<Arm>,
    /// Trained candidates that every run has; the best is of so many.
    pub budget: usize,
    /// One an arm.
    pub levels: Vec<Level>,
    /// The method (or else the first arm) against every other arm.
    pub contests: Vec<Contest>,
    /// Claims 4 and 5, where there are arms with deltas and with full code, with the filter on and off.
    pub panels: Vec<Panel>,
}

/// Reads the runs and compares them.
pub fn compare(folders: &[PathBuf]) -> Result<Comparison> {
    let runs = folders.iter().map(|f| RunFacts::read(f)).collect::<Result<Vec<_>>>()?;
    Ok(of_arms(runs::arms(runs)?))
}

pub(crate) fn of_arms(arms: Vec<Arm>) -> Comparison {
    let budget = arms.iter().flat_map(|a| &a.runs).map(|r| r.qualities.len()).min().unwrap_or(0);
    let reference = arms.iter().position(Arm::is_method).unwrap_or(0);
    let sides: Vec<Side> = arms.iter().map(Arm::side).collect();
    let others = sides.iter().enumerate().filter(|(place, _)| *place != reference);
    let contests: Vec<Contest> = others.map(|(_, side)| Contest::hold(&sides[reference], side)).collect();
    Comparison {
        verdict: [verdict(&arms), refused(&contests)].concat(),
        budget,
        levels: arms.iter().zip(&sides).map(|(arm, side)| Level::of(side, budget, &arm.valid())).collect(),
        contests,
        panels: panels(&arms),
        arms,
    }
}

/// Which arms are no pair, and why.
fn refused(contests: &[Contest]) -> String {
    let one = |contest: &Contest| {
        let (seed, keys) = contest.refused.first()?;
        let (arm, against) = (&contest.arm, &contest.against);
        Some(format!(" Not comparable: {arm} and {against} (seed {seed}) differ in {}.", keys.join(", ")))
    };
    contests.iter().filter_map(one).collect()
}

/// Whether the two differ in nothing but what `change` sets alike.
fn differ_only(a: &Arm, b: &Arm, change: impl Fn(&mut RunConfig)) -> bool {
    let same = |arm: &Arm| {
        let mut config = runs::identity(arm.config());
        change(&mut config);
        config
    };
    same(a) == same(b)
}

/// A control without an LLM has no use for the settings of one.
fn without_llm(config: &mut RunConfig) {
    let plain = RunConfig::default();
    (config.policy, config.llm, config.lora, config.tune) = (plain.policy, plain.llm, plain.lora, plain.tune);
    (config.delta.mask, config.delta.temperature, config.delta.top_p) = (plain.delta.mask, plain.delta.temperature, plain.delta.top_p);
    config.delta.max_tokens = plain.delta.max_tokens;
}

fn verdict(arms: &[Arm]) -> String {
    let mut sentences = Vec::new();
    for method in arms.iter().filter(|a| a.is_method()) {
        let of = if arms.iter().filter(|a| a.is_method()).count() > 1 { format!(" ({})", method.name) } else { String::new() };
        let subset = arms
            .iter()
            .find(|a| a.config().tune.data == TuneData::RandomSubset && differ_only(method, a, |c| c.tune.data = TuneData::Elites));
        if let Some(subset) = subset {
            let contest = Contest::hold(&method.side(), &subset.side());
            sentences.push(sentence(&format!("Tuning on elites{of}"), "tuning on a random subset of the same size", &contest));
        }
        let random = arms.iter().find(|a| a.config().policy == Policy::Random && differ_only(method, a, without_llm));
        if let Some(random) = random {
            let contest = Contest::hold(&method.side(), &random.side());
            sentences.push(sentence(&format!("The LLM{of}"), "random mutation", &contest));
        }
    }
    if sentences.is_empty() {
        let runs: usize = arms.iter().map(|a| a.runs.len()).sum();
        let (s, t) = (if runs == 1 { "" } else { "s" }, if arms.len() == 1 { "" } else { "s" });
        return format!(
            "{runs} run{s} of {} arm{t}; without the controls random-subset and random nothing is said of the method.",
            arms.len()
        );
    }
    sentences.join(" ")
}

/// Who beats whom, and by how much.
fn sentence(who: &str, whom: &str, contest: &Contest) -> String {
    let pairs = contest.seeds.len();
    if let (0, Some((_, keys))) = (pairs, contest.refused.first()) {
        return format!("{who} is not comparable with {whom}: they differ in {}.", keys.join(", "));
    }
    if pairs == 0 {
        return format!("{who} cannot be compared with {whom}: no two runs share a seed.");
    }
    let show = |m: Option<contest::Measured>| m.map_or("unknown".to_owned(), text::points);
    let plural = if pairs == 1 { "" } else { "s" };
    let least = contest.mean.and_then(|m| m.detectable).filter(|_| contest.standing() == contest::Standing::Open);
    let least = least.map_or_else(String::new, |d| format!("; a mean of {:.1} points would have been seen", 100.0 * d));
    format!(
        "{who} {} {whom}: mean quality {}, best {} ({pairs} paired seed{plural}{least}).",
        contest.standing().verb(),
        show(contest.mean),
        show(contest.best)
    )
}

/// Claims that take two arms.
pub(crate) fn panels(arms: &[Arm]) -> Vec<Panel> {
    let mut panels = Vec::new();
    let pair =
        |of: &dyn Fn(&Arm, &Arm) -> bool| arms.iter().find_map(|a| arms.iter().find(|b| of(a, b)).map(|b| (a.evidence(), b.evidence())));
    let formats = pair(&|a, b| {
        let full = |arm: &Arm| arm.config().delta.format == Format::Full;
        a.config().policy.has_llm()
            && !full(a)
            && full(b)
            && differ_only(a, b, |c| {
                // A full source is longer, so its limits are.
                (c.delta.format, c.delta.max_tokens, c.llm.max_context) = (Format::Edit, 0, 0);
                c.llm.adapter.clear();
            })
    });
    if let Some((deltas, full)) = formats {
        panels.push(deltas.formats(Some(&full)).panel());
    }
    let filters =
        pair(&|a, b| a.config().novelty.enabled && !b.config().novelty.enabled && differ_only(a, b, |c| c.novelty.enabled = true));
    if let Some((on, off)) = filters {
        panels.push(on.filter(Some(&off)).panel());
    }
    panels
}
