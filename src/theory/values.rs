//! A table of values: people read it on a terminal, in Markdown and in HTML, programs as CSV and JSON.
//!
//! A cell holds a value at full precision and how people shall see it; both forms are made from the one value. In data files
//! a column is named by its head in lower case, `mean quality` as `mean_quality`; an estimate has `mean_quality_low` and
//! `mean_quality_high` beside it (95% intervals), a part of a whole `seeds_of`, a time is `time_s` in seconds. Shares, accuracies and
//! their differences are those of 1, not of 100. What is unknown is empty in CSV and null in JSON.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::base::error::{AtPath, Result};
use crate::base::files::write_whole;
use crate::base::show::{NONE, duration};
use crate::theory::statistics::Estimate;

/// A head and its rows.
#[derive(Clone, Debug)]
pub struct Table {
    /// Of the file it is written to.
    pub id: &'static str,
    /// As people see it above the table.
    pub title: String,
    /// Under the title; empty where there is none.
    pub note: String,
    /// The columns, from left to right.
    pub head: Vec<Column>,
    /// From the top; a row has a cell for each column.
    pub rows: Vec<Vec<Cell>>,
}

/// What a column is called, and which fields of a data file it fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    pub(crate) name: &'static str,
    fields: Fields,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fields {
    Value,
    /// The value and the ends of its interval.
    Estimate,
    /// A count, and of how many.
    Part,
    Seconds,
}

/// A column of one field.
pub const fn value(name: &'static str) -> Column {
    Column { name, fields: Fields::Value }
}

/// Columns of one field each.
pub(crate) fn values<const N: usize>(names: [&'static str; N]) -> Vec<Column> {
    names.map(value).to_vec()
}

/// A column of three fields: a value and the ends of its 95% interval.
pub const fn estimate(name: &'static str) -> Column {
    Column { name, fields: Fields::Estimate }
}

pub(crate) const fn part(name: &'static str) -> Column {
    Column { name, fields: Fields::Part }
}

pub(crate) const fn seconds(name: &'static str) -> Column {
    Column { name, fields: Fields::Seconds }
}

/// What stands in one place of a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cell {
    /// Not known, or without meaning in this row.
    Unknown,
    /// As it is.
    Text(String),
    /// People see `yes` or `no`.
    Flag(bool),
    /// A whole number.
    Count(u64),
    /// `3 of 5`.
    Part(u64, u64),
    /// A real number.
    Number {
        /// At full precision; people see no value where it is NaN.
        value: f64,
        /// The ends of its 95% interval.
        interval: Option<(f64, f64)>,
        /// How people see the value and the ends.
        show: Show,
    },
}

/// How people see a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Show {
    /// With so many digits after the point.
    Fixed(usize),
    /// The same with a sign, as of a change.
    Signed(usize),
    /// With an exponent.
    Scientific(usize),
    /// A share of 1 in percent. An interval of Student's may reach beyond what a share can be: people see it cut off.
    Percent(usize),
    /// A difference of shares in percentage points.
    Points,
    /// Seconds.
    Duration,
}

impl Cell {
    pub(crate) fn number(value: impl Into<Option<f64>>, show: Show) -> Self {
        value.into().map_or(Self::Unknown, |value| Self::Number { value, interval: None, show })
    }

    /// A number with the ends of its 95% interval, where it has one.
    pub const fn estimate(value: f64, interval: Option<(f64, f64)>, show: Show) -> Self {
        Self::Number { value, interval, show }
    }

    pub(crate) fn is_number(&self) -> bool {
        !matches!(self, Self::Text(_) | Self::Flag(_))
    }

    /// As one field.
    fn data(&self) -> Value {
        match self {
            Self::Unknown => Value::Null,
            Self::Text(text) => text.as_str().into(),
            Self::Flag(flag) => (*flag).into(),
            Self::Count(count) | Self::Part(count, _) => (*count).into(),
            // Null where it is not finite.
            Self::Number { value, .. } => (*value).into(),
        }
    }
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown => f.write_str(NONE),
            Self::Text(text) => f.write_str(text),
            Self::Flag(flag) => f.write_str(if *flag { "yes" } else { "no" }),
            Self::Count(count) => write!(f, "{count}"),
            Self::Part(count, of) => write!(f, "{count} of {of}"),
            Self::Number { value, .. } if value.is_nan() => f.write_str(NONE),
            Self::Number { value, interval, show } => {
                write!(f, "{}{}", show.digits(*value), show.unit())?;
                match interval {
                    Some((low, high)) => write!(f, " [{}, {}]", show.digits(*low), show.digits(*high)),
                    None => Ok(()),
                }
            }
        }
    }
}

impl Show {
    fn digits(self, value: f64) -> String {
        match self {
            _ if value == f64::INFINITY => "infinite".into(),
            _ if value == f64::NEG_INFINITY => "-infinite".into(),
            Self::Fixed(digits) => format!("{value:.digits$}"),
            Self::Signed(digits) => format!("{value:+.digits$}"),
            Self::Scientific(digits) => format!("{value:.digits$e}"),
            Self::Percent(digits) => format!("{:.digits$}", 100.0 * value.clamp(0.0, 1.0)),
            Self::Points => format!("{:+.1}", 100.0 * value),
            Self::Duration => duration(value),
        }
    }

    const fn unit(self) -> &'static str {
        match self {
            Self::Percent(_) => "%",
            Self::Points => " points",
            Self::Fixed(_) | Self::Signed(_) | Self::Scientific(_) | Self::Duration => "",
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Cell {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<usize> for Cell {
    fn from(count: usize) -> Self {
        Self::Count(count as u64)
    }
}

impl From<bool> for Cell {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

/// To four digits.
impl From<Estimate> for Cell {
    fn from(e: Estimate) -> Self {
        let interval = (e.low.is_finite() && e.high.is_finite()).then_some((e.low, e.high));
        Self::estimate(e.value, interval, Show::Fixed(4))
    }
}

impl<T: Into<Self>> From<Option<T>> for Cell {
    fn from(known: Option<T>) -> Self {
        known.map_or(Self::Unknown, Into::into)
    }
}

impl Column {
    /// The names of its fields.
    fn names(self) -> Vec<String> {
        let name = field_name(self.name);
        let ends: &[&str] = match self.fields {
            Fields::Value => &[""],
            Fields::Estimate => &["", "_low", "_high"],
            Fields::Part => &["", "_of"],
            Fields::Seconds => &["_s"],
        };
        ends.iter().map(|end| format!("{name}{end}")).collect()
    }

    /// What a cell says in each of its fields.
    fn data(self, cell: &Cell) -> Vec<Value> {
        let interval = if let Cell::Number { interval, .. } = cell { *interval } else { None };
        assert!(interval.is_none() || self.fields == Fields::Estimate, "column {} has no room for an interval", self.name);
        match self.fields {
            Fields::Value | Fields::Seconds => vec![cell.data()],
            Fields::Estimate => vec![cell.data(), interval.map(|i| i.0).into(), interval.map(|i| i.1).into()],
            Fields::Part => vec![cell.data(), if let Cell::Part(_, of) = cell { (*of).into() } else { Value::Null }],
        }
    }
}

/// `E[S], first cycle` as `e_s_first_cycle`.
fn field_name(head: &str) -> String {
    let words = head.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join("_")
}

impl Table {
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.head.iter().map(|column| column.name).collect()
    }

    /// The names of the fields of its data files.
    pub(crate) fn fields(&self) -> Vec<String> {
        self.head.iter().flat_map(|column| column.names()).collect()
    }

    fn data(&self) -> impl Iterator<Item = Vec<Value>> {
        self.rows.iter().map(|row| self.head.iter().zip(row).flat_map(|(column, cell)| column.data(cell)).collect())
    }
}

/// Text in columns, as wide as their longest entry.
pub(crate) fn columns(table: &Table) -> String {
    let head: Vec<String> = table.names().into_iter().map(str::to_owned).collect();
    let rows = table.rows.iter().map(|row| row.iter().map(Cell::to_string).collect::<Vec<_>>());
    let all: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| all.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let lines = all.iter().map(|row| {
        let cells = row.iter().enumerate().map(|(i, cell)| format!("{cell}{}", " ".repeat(width(i) - cell.chars().count())));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A table for a terminal, with its title.
pub fn section(table: &Table) -> String {
    let note = if table.note.is_empty() { String::new() } else { format!("{}\n", table.note) };
    format!("\n{}\n{note}{}", table.title, columns(table))
}

/// The table in Markdown, with its title.
pub fn markdown(table: &Table) -> String {
    let line = |cells: &mut dyn Iterator<Item = String>| {
        let cells: Vec<String> = cells.map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule = format!("|{}\n", "---|".repeat(table.head.len()));
    let rows = table.rows.iter().map(|row| line(&mut row.iter().map(Cell::to_string)));
    let note = if table.note.is_empty() { String::new() } else { format!("{}\n\n", table.note) };
    let head = line(&mut table.names().into_iter().map(str::to_owned));
    format!("\n## {}\n\n{note}{head}{rule}{}", table.title, rows.collect::<String>())
}

/// The table as CSV (RFC 4180).
pub(crate) fn csv(table: &Table) -> String {
    let quoted = |text: &str| {
        if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
    };
    let field = |value: Value| match value {
        Value::Null => String::new(),
        Value::String(text) => quoted(&text),
        other => other.to_string(),
    };
    let line = |fields: Vec<String>| fields.join(",") + "\r\n";
    let rows = table.data().map(|row| line(row.into_iter().map(field).collect()));
    line(table.fields()) + &rows.collect::<String>()
}

/// The table as JSON: an object a row.
pub fn json(table: &Table) -> Value {
    let fields = table.fields();
    table.data().map(|row| Value::Object(fields.iter().cloned().zip(row).collect::<Map<_, _>>())).collect()
}

/// Writes each table as `<id>.csv` and `<id>.json` into a folder.
///
/// # Errors
/// When the folder cannot be made or written to.
pub fn write(tables: &[Table], folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).at("make the folder", folder)?;
    for table in tables {
        write_whole(&folder.join(format!("{}.csv", table.id)), csv(table).as_bytes())?;
        write_whole(&folder.join(format!("{}.json", table.id)), (serde_json::to_string_pretty(&json(table))? + "\n").as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(head: Vec<Column>, rows: Vec<Vec<Cell>>) -> Table {
        Table { id: "t", title: "T".into(), note: String::new(), head, rows }
    }

    #[test]
    fn text_comes_back_from_csv_and_json() {
        let t =
            table(values(["name", "What is it?"]), vec![vec!["a \"b\", c".into(), "7e3".into()], vec!["two\nlines".into(), Cell::Unknown]]);
        assert_eq!(csv(&t), "name,what_is_it\r\n\"a \"\"b\"\", c\",7e3\r\n\"two\nlines\",\r\n");
        let text = serde_json::json!([{"name": "a \"b\", c", "what_is_it": "7e3"}, {"name": "two\nlines", "what_is_it": null}]);
        assert_eq!(json(&t), text, "a text that looks like a number is text");
    }

    #[test]
    fn people_and_programs_read_the_same_values() {
        let share = Cell::estimate(1.0 / 3.0, Some((-0.05, 0.7)), Show::Percent(2));
        let gain = Cell::estimate(0.0101, Some((-0.0172, 0.037)), Show::Points);
        let head = vec![estimate("mean quality"), estimate("gain"), part("seeds"), seconds("time of a run"), value("beats it")];
        let rows = vec![
            vec![share, gain, Cell::Part(2, 3), Cell::number(421.25, Show::Duration), true.into()],
            vec![Cell::Unknown, Cell::number(0.5, Show::Points), Cell::Unknown, Cell::number(None::<f64>, Show::Duration), false.into()],
        ];
        let t = table(head, rows);
        assert_eq!(
            csv(&t),
            "mean_quality,mean_quality_low,mean_quality_high,gain,gain_low,gain_high,seeds,seeds_of,time_of_a_run_s,beats_it\r\n\
             0.3333333333333333,-0.05,0.7,0.0101,-0.0172,0.037,2,3,421.25,true\r\n\
             ,,,0.5,,,,,,false\r\n"
        );
        let line = "| 33.33% [0.00, 70.00] | +1.0 points [-1.7, +3.7] | 2 of 3 | 7 min 01 s | yes |";
        assert!(markdown(&t).contains(line), "{}", markdown(&t));
        assert!(columns(&t).ends_with("no") && columns(&t).contains("+50.0 points"));
        assert_eq!(json(&t)[0]["mean_quality_high"], 0.7);
        assert_eq!((&json(&t)[1]["mean_quality"], &json(&t)[0]["seeds"]), (&Value::Null, &2.into()));
    }

    #[test]
    fn what_is_not_finite_is_unknown_to_programs() {
        let t = table(values(["x"]), [f64::NAN, f64::INFINITY].map(|x| vec![Cell::number(x, Show::Fixed(1))]).to_vec());
        assert_eq!(csv(&t), "x\r\n\r\n\r\n");
        assert_eq!(json(&t), serde_json::json!([{"x": null}, {"x": null}]));
        assert!(columns(&t).contains(NONE));
    }

    #[test]
    #[should_panic(expected = "no room for an interval")]
    fn an_interval_is_never_dropped() {
        csv(&table(values(["x"]), vec![vec![Cell::estimate(1.0, Some((0.0, 2.0)), Show::Fixed(1))]]));
    }
}
