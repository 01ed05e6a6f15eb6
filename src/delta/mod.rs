//! Deltas: how a change to a source is written, applied, and made up at random.
