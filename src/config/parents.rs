//! `[parents]`: which networks are shown to the policy.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::error::Result;
use crate::base::range::{Check, MANY, real, whole};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ParentsConfig {
    /// Source files to start from, or folders of them; empty means the start networks built into the program.
    pub(crate) start: Vec<PathBuf>,
    /// Whether the policy is shown start networks of yours with the widths that layers read left to lazy modules
    /// ([`crate::tracer::normal_form`]); small LLMs edit these far better.
    pub(crate) normal_form: bool,
    /// Distinct parents shown in a cycle; the candidates are shared out evenly among them.
    pub(crate) per_cycle: usize,
    /// Elites (best first) that may become parents; the start networks always may.
    pub(crate) pool: usize,
    /// The r-th best of the pool, from 0, is drawn with weight `(1 + r)^-power`.
    pub(crate) power: f64,
    /// Of `policy = evolution`: how many of the youngest trained networks are alive.
    pub(crate) population: usize,
    /// Of `policy = evolution`: how many of these a tournament draws, of which the best becomes the parent.
    pub(crate) tournament: usize,
}

impl Default for ParentsConfig {
    fn default() -> Self {
        Self { start: Vec::new(), normal_form: true, per_cycle: 3, pool: 12, power: 2.0, population: 24, tournament: 6 }
    }
}

impl Check for ParentsConfig {
    fn check(&self) -> Result<()> {
        whole("parents.per_cycle", self.per_cycle, 1..=MANY)?;
        whole("parents.pool", self.pool, 0..=MANY)?;
        check_power(self.power)?;
        whole("parents.population", self.population, 1..=MANY)?;
        // Drawn for every candidate.
        whole("parents.tournament", self.tournament, 1..=10_000)
    }
}

/// Below 0 the worst would be drawn most; well before 100 it is the best alone.
pub(crate) fn check_power(power: f64) -> Result<()> {
    real("parents.power", power, 0.0..=100.0)
}
