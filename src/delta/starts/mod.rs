//! The networks a run starts from where its settings name none.

/// Name and source of each.
#[must_use]
pub fn starts() -> &'static [(&'static str, &'static str)] {
    &[
        ("plain", include_str!("plain.py")),
        ("residual", include_str!("residual.py")),
        ("separable", include_str!("separable.py")),
        ("inception", include_str!("inception.py")),
    ]
}
