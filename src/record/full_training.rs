//! Full trainings of candidates that were drawn at random, beside the short ones that give the quality.

use rusqlite::params;

use super::{NetworkId, Store};
use crate::base::error::Result;

/// One training of `epochs` epochs.
#[derive(Clone, Debug, PartialEq)]
pub struct FullTraining {
    /// A trained candidate of any cycle.
    pub network: NetworkId,
    /// How many it was to train.
    pub epochs: usize,
    /// Another than those of the trainings that gave the quality.
    pub seed: u64,
    /// On the validation split; None where it failed.
    pub accuracy: Option<f64>,
    /// Why there is no accuracy; None where there is one.
    pub failure: Option<String>,
    /// By the clock; 0 where it failed.
    pub seconds: f64,
}

impl Store {
    /// Stores a full training.
    ///
    /// # Errors
    /// Those of the database.
    pub(crate) fn put_full_training(&self, t: &FullTraining) -> Result<()> {
        self.put(
            "INSERT OR REPLACE INTO full_training VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![t.network.to_string(), t.epochs as u64, t.seed.cast_signed(), t.accuracy, t.failure, t.seconds],
        )
    }

    /// All full trainings, by network.
    ///
    /// # Errors
    /// Those of the database.
    pub fn full_trainings(&self) -> Result<Vec<FullTraining>> {
        self.rows("SELECT * FROM full_training ORDER BY network", [], |r| {
            Ok(FullTraining {
                network: r.get::<_, String>(0)?.parse()?,
                epochs: r.get::<_, u64>(1)? as usize,
                seed: r.get::<_, i64>(2)?.cast_unsigned(),
                accuracy: r.get(3)?,
                failure: r.get(4)?,
                seconds: r.get(5)?,
            })
        })
    }
}
