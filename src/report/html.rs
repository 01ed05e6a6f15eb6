//! Pieces of HTML. What comes from outside (sources, completions, reasons, names) goes through [`escape`] only.
//! The output is XML as well, so that a test can check that it is well formed.

use std::fmt::Write as _;

use crate::base::show::NONE;
use crate::theory::values::Table;

/// Nothing may run or be loaded, even if some text got through.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// A part of a page; `body` is HTML.
pub(crate) struct Section {
    id: &'static str,
    heading: &'static str,
    body: String,
}

impl Section {
    pub(crate) fn new(id: &'static str, heading: &'static str, body: String) -> Self {
        Self { id, heading, body }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.body.is_empty()
    }
}

/// A page by itself: nothing in it runs or is loaded. `header` is HTML, `title` is text; it loads itself again after `reload` seconds.
pub(crate) fn document(title: &str, header: &str, sections: &[Section], reload: Option<u32>) -> String {
    let title = escape(title);
    let reload = reload.map_or_else(String::new, |seconds| format!("<meta http-equiv=\"refresh\" content=\"{seconds}\"/>\n"));
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta name=\"color-scheme\" content=\"light dark\"/>\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\"/>\n\
         {reload}<title>{title}</title>\n<style>\n{}</style></head>\n<body>\n\
         <a class=\"skip\" href=\"#main\">Skip to the report</a>\n{header}<nav aria-label=\"Sections\"><ul>",
        include_str!("style.css"),
    );
    for Section { id, heading, .. } in sections {
        let _ = write!(page, "<li><a href=\"#{id}\">{heading}</a></li>");
    }
    page.push_str("</ul></nav>\n<main id=\"main\">\n");
    for Section { id, heading, body } in sections {
        let _ = writeln!(page, "<section id=\"{id}\"><h2>{heading}</h2>\n{body}</section>");
    }
    page.push_str("</main>\n</body></html>\n");
    page
}

/// Text as it may stand between tags and in quoted attributes. Characters that no document may hold, and those that
/// turn the direction of writing, become a replacement character: a source must look like what it is.
pub(crate) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' | '\t' => safe.push(c),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            c if c.is_control() => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

/// A table in a box that scrolls by itself on narrow screens. All cells are plain text; numbers are set to the right.
pub(crate) fn table(label: &str, head: &[&str], rows: &[Vec<String>]) -> String {
    let rows = rows.iter().map(|row| row.iter().map(|cell| (cell.clone(), is_number(cell))).collect()).collect::<Vec<_>>();
    grid(label, head, &rows)
}

/// A table of cells, of each of which is known whether it is a number.
fn grid(label: &str, head: &[&str], rows: &[Vec<(String, bool)>]) -> String {
    let label = escape(label);
    let mut html = format!("<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"{label}\"><table><thead><tr>");
    for (column, name) in head.iter().enumerate() {
        let number = rows.iter().any(|row| row.get(column).is_some_and(|(_, number)| *number));
        html.push_str(if number { "<th scope=\"col\" class=\"n\">" } else { "<th scope=\"col\">" });
        html.push_str(&escape(name));
        html.push_str("</th>");
    }
    html.push_str("</tr></thead><tbody>");
    for row in rows {
        html.push_str("<tr>");
        for (cell, number) in row {
            html.push_str(if *number { "<td class=\"n\">" } else { "<td>" });
            html.push_str(&escape(cell));
            html.push_str("</td>");
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody></table></div>\n");
    html
}

fn is_number(cell: &str) -> bool {
    let digits = cell.trim_start_matches(['+', '\u{2212}', '-']);
    cell == NONE || digits.starts_with(|c: char| c.is_ascii_digit()) && !digits.contains(|c: char| c.is_alphabetic() && c != 'e')
}

/// A table under its title.
pub(crate) fn titled_table(t: &Table) -> String {
    let note = if t.note.is_empty() { String::new() } else { format!("<p>{}</p>\n", escape(&t.note)) };
    format!("<h3>{}</h3>\n{note}{}", escape(&t.title), cells(t))
}

/// A table without its title.
pub(crate) fn cells(t: &Table) -> String {
    let rows: Vec<_> = t.rows.iter().map(|row| row.iter().map(|cell| (cell.to_string(), cell.is_number())).collect()).collect();
    grid(&t.title, &t.names(), &rows)
}

/// The table of a chart: folded away where it is long.
pub(crate) fn chart_table(label: &str, head: &[&str], rows: &[Vec<String>]) -> String {
    let table = table(label, head, rows);
    if rows.len() > 8 { details(&format!("{label}: the numbers"), &table) } else { table }
}

/// A list of terms and their values.
pub(crate) fn terms(entries: &[(String, String)]) -> String {
    let mut html = String::from("<dl class=\"terms\">");
    for (term, value) in entries {
        write!(html, "<div><dt>{}</dt><dd>{}</dd></div>", escape(term), escape(value)).expect("a String takes any text");
    }
    html.push_str("</dl>\n");
    html
}

/// A part that is folded away at first; `body` is HTML.
pub(crate) fn details(summary: &str, body: &str) -> String {
    format!("<details><summary>{}</summary>\n{body}</details>\n", escape(summary))
}

pub(crate) fn source(text: &str) -> String {
    format!("<pre class=\"source\" tabindex=\"0\"><code>{}</code></pre>\n", escape(text))
}

/// A unified diff, its lines marked by sign and by colour.
pub(crate) fn diff(before: &str, after: &str) -> String {
    let diff = similar::TextDiff::from_lines(before, after);
    let text = diff.unified_diff().context_radius(3).to_string();
    if text.is_empty() {
        return "<p class=\"quiet\">No difference.</p>\n".into();
    }
    let mut html = String::from("<pre class=\"source diff\" tabindex=\"0\"><code>");
    for line in text.lines() {
        let class = match line.as_bytes().first() {
            Some(b'+') => "added",
            Some(b'-') => "removed",
            Some(b'@') => "hunk",
            _ => "same",
        };
        writeln!(html, "<span class=\"{class}\">{}</span>", escape(line)).expect("a String takes any text");
    }
    html.push_str("</code></pre>\n");
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_text() {
        assert_eq!(escape("<a b=\"c\">&'\u{0}\u{202e}"), "&lt;a b=&quot;c&quot;&gt;&amp;&#39;\u{fffd}\u{fffd}");
    }

    #[test]
    fn numbers_read_like_numbers() {
        assert!(
            is_number("+1.5%") && is_number("12") && is_number(NONE) && is_number("2.9e-6") && !is_number("c12") && !is_number("12 min")
        );
    }
}
