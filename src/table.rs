//! A table of text, as it goes to a terminal, into Markdown, and into CSV and JSON files.

use std::path::Path;

use serde_json::{Map, Value};

use crate::error::{AtPath, Result};
use crate::files::write_whole;

/// A head and its rows.
pub struct Table {
    /// Of the file it is written to.
    pub id: &'static str,
    pub title: String,
    /// Under the title; empty where there is none.
    pub note: String,
    pub head: Vec<&'static str>,
    pub rows: Vec<Vec<String>>,
}

/// Text in columns, as wide as their longest entry.
pub fn columns(table: &Table) -> String {
    let head: Vec<String> = table.head.iter().map(|h| (*h).to_owned()).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&head).chain(&table.rows).collect();
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
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells: Vec<String> = cells.map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule = format!("|{}\n", "---|".repeat(table.head.len()));
    let rows = table.rows.iter().map(|row| line(&mut row.iter().map(String::as_str)));
    let note = if table.note.is_empty() { String::new() } else { format!("{}\n\n", table.note) };
    format!("\n## {}\n\n{note}{}{rule}{}", table.title, line(&mut table.head.iter().copied()), rows.collect::<String>())
}

/// Rows as CSV (RFC 4180).
pub fn csv(head: &[&str], rows: &[Vec<String>]) -> String {
    let cell = |text: &str| {
        if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
    };
    let line = |cells: Vec<String>| cells.join(",") + "\r\n";
    let first = line(head.iter().map(|h| cell(h)).collect());
    first + &rows.iter().map(|row| line(row.iter().map(|c| cell(c)).collect())).collect::<String>()
}

/// Rows as JSON: an object each, numbers as numbers, empty cells as null.
pub fn json(table: &Table) -> Value {
    let value = |cell: &String| match cell.parse::<f64>() {
        _ if cell.is_empty() => Value::Null,
        Ok(number) if number.is_finite() => serde_json::from_str(cell).unwrap_or_else(|_| number.into()),
        _ => Value::String(cell.clone()),
    };
    let row = |row: &Vec<String>| table.head.iter().zip(row).map(|(head, cell)| ((*head).to_owned(), value(cell))).collect::<Map<_, _>>();
    table.rows.iter().map(|cells| Value::Object(row(cells))).collect()
}

/// Writes each table as `<id>.csv` and `<id>.json` into a folder.
///
/// # Errors
/// When the folder cannot be made or written to.
pub fn write(tables: &[Table], folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).at("make the folder", folder)?;
    for table in tables {
        write_whole(&folder.join(format!("{}.csv", table.id)), csv(&table.head, &table.rows).as_bytes())?;
        write_whole(&folder.join(format!("{}.json", table.id)), (serde_json::to_string_pretty(&json(table))? + "\n").as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_come_back_from_csv_and_json() {
        let rows = vec![vec!["a \"b\", c".to_owned(), "0.1".to_owned()], vec!["two\nlines".to_owned(), String::new()]];
        let table = Table { id: "t", title: "T".into(), note: String::new(), head: vec!["name", "value"], rows };
        assert_eq!(csv(&table.head, &table.rows), "name,value\r\n\"a \"\"b\"\", c\",0.1\r\n\"two\nlines\",\r\n");
        assert_eq!(json(&table), serde_json::json!([{"name": "a \"b\", c", "value": 0.1}, {"name": "two\nlines", "value": null}]));
        // What looks like no JSON number is one all the same; a hash of digits and letters is text.
        let odd = Table { rows: vec![vec!["+1".into(), "NaN".into()], vec!["1e999".into(), "7a3f".into()]], ..table };
        assert_eq!(json(&odd), serde_json::json!([{"name": 1.0, "value": "NaN"}, {"name": "1e999", "value": "7a3f"}]));
    }
}
