//! How numbers are written for people, on a terminal and in reports alike.

use std::path::Path;

/// Where there is no value.
pub(crate) const NONE: &str = "\u{2013}";

pub(crate) fn percent(share: f64) -> String {
    format!("{:.1}%", 100.0 * share)
}

pub(crate) fn or_none<T>(value: Option<T>, show: impl Fn(T) -> String) -> String {
    value.map_or_else(|| NONE.to_owned(), show)
}

/// Three significant digits, without an exponent where people would not write one.
pub(crate) fn short(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        "0".into()
    } else if !(1e-4..1e7).contains(&size) {
        format!("{value:.2e}")
    } else {
        let digits = (2 - size.log10().floor() as i64).max(0) as usize;
        format!("{value:.digits$}")
    }
}

/// `1 worker`, `2 workers`.
pub fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// 1234567 as `1,234,567`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `4 min 05 s`.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

/// A path in a command that is told, as a shell takes it.
pub fn in_shell(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+:@%,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_long_as_people_read_them() {
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!((short(0.012_345), short(1234.5), short(3e-9)), ("0.0123".into(), "1234".into(), "3.00e-9".into()));
        assert_eq!((duration(4.04), duration(245.0), duration(7260.0)), ("4.0 s".into(), "4 min 05 s".into(), "2 h 01 min".into()));
    }

    #[test]
    fn paths_in_commands_are_quoted_where_a_shell_would_take_them_apart() {
        let shown = |text: &str| in_shell(Path::new(text));
        assert_eq!([shown("runs/first-2.0"), shown("läufe")], ["runs/first-2.0", "läufe"]);
        assert_eq!([shown("my runs"), shown("it's"), shown("a;b"), shown("")], ["'my runs'", "'it'\\''s'", "'a;b'", "''"]);
    }
}
