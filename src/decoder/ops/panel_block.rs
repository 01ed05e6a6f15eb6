//! How the weights of a panel lie in memory, and the sums that are made of them.

/// Outputs of a panel: what one AVX-512 register holds.
pub(crate) const WIDE: usize = 16;
/// What a panel gives: sixteen outputs of `R` rows.
pub(crate) type Sums<const R: usize> = [[f32; WIDE]; R];

/// Thirty-two inputs of a panel, weights `d q + m`; byte `j` of an output has input `j` low and `j + 16` high.
#[repr(C, align(64))]
#[derive(Clone)]
pub(crate) struct Four {
    pub(crate) d: [f32; WIDE],
    pub(crate) m: [f32; WIDE],
    pub(crate) q: [[u8; WIDE]; 16],
}

/// Sixteen inputs of a panel, weights `d q`.
#[repr(C, align(64))]
#[derive(Clone)]
pub(crate) struct Eight {
    pub(crate) d: [f32; WIDE],
    pub(crate) q: [[i8; WIDE]; 16],
}
