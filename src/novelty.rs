//! The novelty filter: MinHash over shingles of the canonical graph; fails closed.
