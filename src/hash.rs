//! SHA-256 as text.

use std::fmt::Write as _;

/// Lower-case hexadecimal.
///
/// ```
/// assert_eq!(eliteloop::hash::hex(&[0, 171]), "00ab");
/// ```
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
