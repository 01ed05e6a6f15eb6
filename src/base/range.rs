//! Which numbers have a meaning: every table says it of its own keys, and what is refused is told in the words of the range itself.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::{Bound, RangeBounds, RangeInclusive};

use crate::base::error::{Error, Result};

/// A table of settings, or all of them.
pub(crate) trait Check {
    /// Refuses the first value without meaning.
    ///
    /// # Errors
    /// Names the key, its value, and the values it may have.
    fn check(&self) -> Result<()>;
}

/// Bytes are counted in 64 bits: more MiB than 2^30 are no memory, and far more would not fit the count.
pub(crate) const MOST_MIB: u64 = 1 << 30;
/// Above it a number of things is a slip of the keyboard, and what is made of each would not fit in memory.
pub(crate) const MANY: usize = 1_000_000;
/// Threads or processes that work at a time: more than one machine has.
pub(crate) const MOST_WORKERS: usize = 1024;

/// Above `low` and at most `high`.
pub(crate) fn above(low: f64, high: f64) -> (Bound<f64>, Bound<f64>) {
    (Bound::Excluded(low), Bound::Included(high))
}

/// Refuses a number outside the range, and with it what is no number.
///
/// # Errors
/// See [`Check::check`].
pub(crate) fn real(key: &str, value: f64, range: impl RangeBounds<f64>) -> Result<()> {
    let words = || {
        let low = match range.start_bound() {
            Bound::Included(low) => format!("from {low}"),
            Bound::Excluded(low) => format!("above {low}"),
            Bound::Unbounded => "any".into(),
        };
        let high = match (range.start_bound(), range.end_bound()) {
            (Bound::Excluded(_), Bound::Included(high)) => format!(" and at most {high}"),
            (_, Bound::Included(high)) => format!(" to {high}"),
            (_, Bound::Excluded(high)) => format!(" to below {high}"),
            (_, Bound::Unbounded) => String::new(),
        };
        format!("a number {low}{high}")
    };
    note(key, words);
    if range.contains(&value) { Ok(()) } else { Err(refused(key, toml::Value::from(value), &words())) }
}

/// Refuses a whole number outside the range.
///
/// # Errors
/// See [`Check::check`].
pub(crate) fn whole<N: PartialOrd + Display>(key: &str, value: N, range: RangeInclusive<N>) -> Result<()> {
    let words = || format!("a whole number from {} to {}", range.start(), range.end());
    note(key, words);
    if range.contains(&value) { Ok(()) } else { Err(refused(key, value, &words())) }
}

thread_local! {
    /// The ranges that checks of this thread asked for, while somebody wants to know them.
    static ASKED: RefCell<Option<Vec<(String, String)>>> = const { RefCell::new(None) };
}

fn note(key: &str, words: impl Fn() -> String) {
    ASKED.with_borrow_mut(|asked| {
        if let Some(asked) = asked {
            asked.push((key.to_owned(), words()));
        }
    });
}

/// Keys and ranges, in words, of what these checks look at.
pub(crate) fn asked(checks: impl FnOnce()) -> Vec<(String, String)> {
    ASKED.set(Some(Vec::new()));
    checks();
    ASKED.take().unwrap_or_default()
}

/// The largest is TOML's, or else the settings could not be stored.
///
/// # Errors
/// See [`Check::check`].
pub(crate) fn check_seed(seed: u64) -> Result<()> {
    whole("seed", seed, 0..=i64::MAX as u64)
}

/// `setting proxy.lr = nan: a number above 0 and at most 100 is wanted`.
pub(crate) fn refused(key: &str, value: impl Display, wanted: &str) -> Error {
    Error::input(format!("setting {key} = {value}: {wanted} is wanted"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_the_key_the_value_and_the_range_in_words() {
        let said = |result: Result<()>| result.unwrap_err().to_string();
        assert_eq!(said(real("a.b", f64::NAN, above(0.0, 1.0))), "setting a.b = nan: a number above 0 and at most 1 is wanted");
        assert_eq!(said(real("a.b", 1.0, 0.0..1.0)), "setting a.b = 1.0: a number from 0 to below 1 is wanted");
        assert_eq!(said(real("a.b", f64::NEG_INFINITY, 0.0..=2.5)), "setting a.b = -inf: a number from 0 to 2.5 is wanted");
        assert_eq!(said(whole("a", 0, 1..=9)), "setting a = 0: a whole number from 1 to 9 is wanted");
        let ranges = asked(|| drop((real("a.b", 0.5, 0.0..1.0), whole("c", 10, 1..=9))));
        assert_eq!(
            ranges,
            [("a.b", "a number from 0 to below 1"), ("c", "a whole number from 1 to 9")].map(|(key, words)| (key.into(), words.into()))
        );
        for fine in [real("a", 1.0, above(0.0, 1.0)), real("a", 0.0, 0.0..1.0), whole("a", 9, 1..=9)] {
            fine.unwrap();
        }
    }
}
