//! What tests ask of a page: that it is well formed, and that a browser shows all of it so that it can be read.

use std::path::Path;
use std::process::Command;

use crate::needs::browser;

/// A strict reader of tags: every element is closed in order, attributes are quoted and not repeated, text holds no bare
/// `<` or `&`. Gives the number of elements.
pub fn well_formed(html: &str) -> Result<usize, String> {
    let mut rest = html.strip_prefix("<!DOCTYPE html>").ok_or("no doctype")?;
    let (mut open, mut count) = (Vec::new(), 0);
    let entities = |text: &str| {
        text.match_indices('&').all(|(at, _)| {
            let name = text[at + 1..].split(';').next().unwrap_or("");
            ["amp", "lt", "gt", "quot", "#39"].contains(&name)
        })
    };
    while let Some(start) = rest.find('<') {
        let text = &rest[..start];
        if !(open.last() == Some(&"style") || entities(text) && !text.contains('>')) {
            return Err(format!("bare character in text: {text}"));
        }
        let end = start + rest[start..].find('>').ok_or("a tag that does not end")?;
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return Err(format!("</{name}> closes nothing"));
            }
            continue;
        }
        count += 1;
        let (name, mut attributes) = tag.trim_end_matches('/').split_once(' ').unwrap_or((tag.trim_end_matches('/'), ""));
        let mut seen = Vec::new();
        while !attributes.trim().is_empty() {
            let (key, after) = attributes.trim_start().split_once("=\"").ok_or(format!("an unquoted attribute in <{tag}>"))?;
            let (value, after) = after.split_once('"').ok_or(format!("an open quote in <{tag}>"))?;
            if seen.contains(&key) || !entities(value) || key.contains(|c: char| !c.is_ascii_alphabetic() && c != '-') {
                return Err(format!("attribute {key} in <{tag}>"));
            }
            if key.starts_with("on") || key == "href" && !value.starts_with('#') || key == "src" {
                return Err(format!("attribute {key} reaches out of the page"));
            }
            seen.push(key);
            attributes = after;
        }
        if !tag.ends_with('/') {
            open.push(name);
        }
    }
    if open.is_empty() && rest.trim().is_empty() { Ok(count) } else { Err(format!("left open: {open:?}")) }
}

/// Kept in the build folder, to be looked at.
pub fn keep(name: &str, html: &str) {
    std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name), html).unwrap();
}

#[derive(Clone, Copy, Debug)]
pub enum Scheme {
    Dark,
    Light,
}

/// What a browser makes of a page: the page as it stands after layout, with what a script appended to it, and what it printed to
/// its console.
fn browse(chromium: &Path, page: &Path, width: u32, scheme: Scheme) -> (String, String) {
    let profile = tempfile::tempdir().unwrap();
    let flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"];
    let run = Command::new(chromium)
        .args(flags)
        .args(["--disable-component-update", "--enable-logging=stderr", "--dump-dom"])
        .arg(format!("--blink-settings=preferredColorScheme={}", scheme as u8))
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--window-size={width},900"))
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap();
    (String::from_utf8(run.stdout).unwrap(), String::from_utf8_lossy(&run.stderr).into_owned())
}

/// Appended to a copy of the page, which itself has no script: what overflows, what has no size, and the lowest contrasts of running
/// text, of any text, and of what charts are drawn with (bands and the ends of a funnel apart, which others tell too).
const MEASURE: &str = r#"<script>
const parts = c => (c.match(/[\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
const luminance = c => { const [r, g, b] = parts(c).map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
  return .2126 * r + .7152 * g + .0722 * b; };
const contrast = (a, b) => { const [x, y] = [luminance(a), luminance(b)]; return (Math.max(x, y) + .05) / (Math.min(x, y) + .05); };
const clear = c => c === "none" || parts(c)[3] === 0;
const paper = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (!clear(c)) return c; }
  return getComputedStyle(document.body).backgroundColor; };
const shown = e => e.getClientRects().length > 0;
const hasText = e => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
const charts = "svg[viewBox^='0 0 640']";
const empty = [...document.querySelectorAll("section, " + charts)].filter(e => !e.closest("details:not([open])"))
  .filter(e => { const box = e.getBoundingClientRect(); return box.width < 50 || box.height < 10; });
const texts = [...document.body.querySelectorAll("*")].filter(e => shown(e) && hasText(e) && e.id !== "measured")
  .map(e => contrast(e instanceof SVGElement ? getComputedStyle(e).fill : getComputedStyle(e).color, paper(e)));
const drawn = ["polyline", "circle", "path:not(.grid)", "rect"].map(e => charts + " " + e).join(", ");
const marks = [...document.querySelectorAll(drawn)].filter(e => shown(e) && !/\b(end\d|candidate)\b/.test(e.getAttribute("class")))
  .map(e => { const s = getComputedStyle(e); return Math.max(...[s.fill, s.stroke].filter(c => !clear(c)).map(c => contrast(c, paper(e)))); });
const body = getComputedStyle(document.body);
const result = document.createElement("output");
result.id = "measured";
result.textContent = [document.documentElement.scrollWidth - window.innerWidth, empty.length, contrast(body.color, body.backgroundColor),
  Math.min(...texts), Math.min(...marks)].join(" ");
document.body.append(result);
</script>"#;

/// Opens a page, once as it is (its console must stay empty) and once measured; every one of these ids must be there, and all of
/// it must be readable.
pub fn assert_readable(html: &str, width: u32, scheme: Scheme, ids: &[&str]) {
    let chromium = &browser().expect("the test said that it needs a browser");
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.html");
    std::fs::write(&page, html).unwrap();
    let (_, console) = browse(chromium, &page, width, scheme);
    assert!(!console.contains("CONSOLE"), "{console}");
    // The page itself allows no script.
    let measured = html.replace("default-src 'none'", "default-src 'none'; script-src 'unsafe-inline'");
    std::fs::write(&page, measured.replace("</body>", &format!("{MEASURE}</body>"))).unwrap();
    let (dom, console) = browse(chromium, &page, width, scheme);
    for id in ids {
        assert!(dom.contains(&format!("id=\"{id}\"")), "{id} at {width}");
    }
    let measured = dom.split("<output id=\"measured\">").nth(1).unwrap_or_else(|| panic!("the page was not measured: {console}"));
    let numbers: Vec<f64> = measured.split('<').next().unwrap().split(' ').map(|n| n.parse().unwrap()).collect();
    let [overflow, empty, reading, text, marks] = numbers[..] else { panic!("{numbers:?}") };
    assert!(overflow <= 0.0, "{overflow} pixels wider than the window of {width}");
    assert!(empty == 0.0, "{empty} sections or charts without a size at {width}");
    // WCAG: AAA for what is read, AA for all text, and for what charts are drawn with.
    assert!(reading >= 7.0 && text >= 4.5 && marks >= 3.0, "{scheme:?} at {width}: contrasts {reading}, {text}, {marks}");
}
