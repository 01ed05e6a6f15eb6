//! What every setting is, from the code that reads it: the doc comment of its field, its default, the values that its type has, and the range
//! that its check asks for.

use std::fmt::Write as _;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde_json::Value;

use super::layers::{Settings, nearest};
use crate::base::error::{Error, Result};
use crate::base::range;

/// One setting.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Setting {
    /// As it is set: `elite.rho`.
    pub key: String,
    /// What it does.
    pub doc: String,
    /// What it is: `a number`, `true or false`, ..
    pub kind: &'static str,
    /// As TOML; None where it is not given by default.
    pub default: Option<String>,
    /// The words it may be, each with what it means.
    pub values: Vec<(String, String)>,
    /// The numbers it may be, in words.
    pub range: Option<String>,
}

/// All settings of something, in the order of its tables.
#[derive(Clone, Debug)]
pub struct Reference {
    /// The settings.
    pub settings: Vec<Setting>,
    /// Their JSON schema (draft 2020-12), for editors.
    pub schema: Value,
}

impl Reference {
    /// Of all settings with these defaults. `given` has a value in each place that the defaults leave empty, so that its check asks for it.
    pub(crate) fn of<S: Settings + JsonSchema + Serialize>(defaults: &S, given: &S) -> Self {
        let tables = toml::Value::try_from(defaults).expect("settings are plain TOML");
        // What is refused does not count here: only what was looked at.
        let ranges = range::asked(|| drop(given.check()));
        let generator = |inline| SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = inline).into_generator();
        let mut settings = Vec::new();
        gather("", generator(true).into_root_schema_for::<S>().as_value(), Some(&tables), &mut settings);
        for setting in &mut settings {
            setting.range = ranges.iter().find(|(key, _)| *key == setting.key).map(|(_, range)| range.clone());
        }
        Self { settings, schema: Schema::to_value(generator(false).into_root_schema_for::<S>()) }
    }

    /// One setting, or those of a table.
    ///
    /// # Errors
    /// There is none of that name; names the nearest.
    pub fn find(&self, key: &str) -> Result<Vec<&Setting>> {
        let within = format!("{key}.");
        let found: Vec<&Setting> = self.settings.iter().filter(|s| s.key == key || s.key.starts_with(&within)).collect();
        if !found.is_empty() {
            return Ok(found);
        }
        let error = Error::input(format!("there is no setting '{key}'"));
        let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
        let near = self.settings.iter().find(|s| last(&s.key) == last(key)).map(|s| s.key.as_str());
        let near = near.or_else(|| nearest(self.settings.iter().map(|s| s.key.as_str()), key));
        Err(match near {
            Some(near) => error.hint(format!("did you mean '{near}'?")),
            None => error.hint("`eliteloop settings` lists them"),
        })
    }

    /// A file of settings that changes nothing: every key with its doc and default, commented out.
    pub fn template(&self) -> String {
        self.written(&[])
    }

    /// The same with these keys given, as TOML.
    pub fn written(&self, given: &[(String, String)]) -> String {
        let (mut text, mut table) = (String::new(), "");
        for setting in &self.settings {
            let own = setting.key.split_once('.').map_or("", |(table, _)| table);
            if own != table {
                table = own;
                let _ = write!(text, "\n# ---- {own}\n\n");
            }
            for line in setting.lines(98) {
                let _ = writeln!(text, "# {line}");
            }
            // In full, as --set has it: a table that is only named would count as given.
            let key = &setting.key;
            let _ = match given.iter().find(|(given, _)| given == key) {
                Some((_, value)) => writeln!(text, "{key} = {value}"),
                None => writeln!(text, "#{key} = {}", setting.default.as_deref().unwrap_or("...")),
            };
        }
        text
    }
}

impl Setting {
    /// What there is to say of it beside key and default, in lines of at most `width` characters, words permitting.
    pub fn lines(&self, width: usize) -> Vec<String> {
        let mut said = wrapped(&self.doc, width);
        match (&self.range, self.default.is_some()) {
            (Some(range), true) => said.extend(wrapped(&format!("{}.", capital(range)), width)),
            (Some(range), false) => said.extend(wrapped(&format!("{}; not given by default.", capital(range)), width)),
            (None, _) if self.values.is_empty() => {
                let also = if self.default.is_some() { "." } else { "; not given by default." };
                said.push(format!("{}{also}", capital(self.kind)));
            }
            (None, _) => {}
        }
        for (value, doc) in &self.values {
            said.extend(
                wrapped(&format!("- \"{value}\": {doc}"), width)
                    .into_iter()
                    .enumerate()
                    .map(|(at, line)| if at == 0 { line } else { format!("  {line}") }),
            );
        }
        said
    }
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Adds what a schema says of `key` and of what is below it; plain values before tables, as TOML wants them.
fn gather(key: &str, schema: &Value, default: Option<&toml::Value>, into: &mut Vec<Setting>) {
    let schema = given(schema);
    if let Some(properties) = schema["properties"].as_object() {
        let is_table = |schema: &Value| given(schema)["properties"].is_object();
        for tables in [false, true] {
            for (name, below) in properties.iter().filter(|(_, below)| is_table(below) == tables) {
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                gather(&key, below, default.and_then(|table| table.get(name)), into);
            }
        }
        return;
    }
    let doc = |schema: &Value| plain(schema["description"].as_str().unwrap_or_default());
    let word = |schema: &Value| schema["const"].as_str().map(|word| (word.to_owned(), doc(schema)));
    let values = schema["oneOf"].as_array().into_iter().flatten().filter_map(word).collect();
    let default = default.map(ToString::to_string);
    into.push(Setting { key: key.into(), doc: doc(schema), kind: kind(schema), default, values, range: None });
}

/// Of what may be left out, what it is where it is given.
fn given(schema: &Value) -> &Value {
    let either = schema["anyOf"].as_array().into_iter().flatten().find(|either| either["type"] != "null");
    either.filter(|either| either["properties"].is_object()).unwrap_or(schema)
}

fn kind(schema: &Value) -> &'static str {
    let is = |wanted: &str| match &schema["type"] {
        Value::String(name) => name == wanted,
        Value::Array(names) => names.iter().any(|name| name == wanted),
        _ => false,
    };
    match () {
        () if is("boolean") => "true or false",
        () if is("integer") => "a whole number",
        () if is("number") => "a number",
        () if is("string") => "a text",
        () if is("array") => "a list",
        () => "one of these",
    }
}

/// How a doc comment refers to another item, before the link and after it.
const REFERENCES: [(&str, &str); 5] = [(" (see ", ")"), (" (", ")"), ("; see ", ""), (": see ", ""), (" See ", ".")];

/// A doc comment without what only a browser reads: links to other items.
fn plain(doc: &str) -> String {
    let mut text = doc.split_whitespace().collect::<Vec<_>>().join(" ");
    while let Some(start) = text.find("[`") {
        let Some(length) = text[start..].find("`]") else { break };
        let end = start + length + 2;
        // What only says where more is to be read goes with the link.
        let around = REFERENCES.iter().find(|(before, after)| text[..start].ends_with(before) && text[end..].starts_with(after));
        if let Some((before, after)) = around {
            text.replace_range(start - before.len()..end + after.len(), "");
            continue;
        }
        let name = text[start + 2..start + length].rsplit("::").next().unwrap_or_default().to_owned();
        text.replace_range(start..start + length + 2, &format!("`{name}`"));
    }
    text
}
