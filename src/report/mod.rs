//! One self-contained HTML file about a run.

pub mod collect;
pub mod data;

pub use data::ReportData;
