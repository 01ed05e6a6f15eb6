//! How the weights of a panel lie in memory, and the sums that are made of them.

/// Outputs of a panel: what one AVX-512 register holds.
pub const WIDE: usize = 16;
/// What a panel gives: sixteen outputs of `R` rows.
pub type Sums<const R: usize> = [[f32; WIDE]; R];

/// Thirty-two inputs of a panel, weights `d q + m`; byte `j` of an output has input `j` low and `j + 16` high.
#[repr(C, align(64))]
#[derive(Clone)]
pub struct Four {
    pub d: [f32; WIDE],
    pub m: [f32; WIDE],
    pub q: [[u8; WIDE]; 16],
}

/// Sixteen inputs of a panel, weights `d q`.
#[repr(C, align(64))]
#[derive(Clone)]
pub struct Eight {
    pub d: [f32; WIDE],
    pub q: [[i8; WIDE]; 16],
}
