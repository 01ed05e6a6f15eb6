//! Charts as inline SVG: a frame with two axes, marks in data coordinates, a legend that wraps like text.
//!
//! Colours and sizes of type are CSS (`style.css`), so that a chart follows the page into dark mode and print, and its
//! labels grow on narrow screens.

use std::fmt::Write as _;

use super::html::escape;
use crate::base::show::short;

const WIDTH: f64 = 640.0;
const LEFT: f64 = 96.0;
/// Where the rows are named inside the frame.
const LEFT_OF_ROWS: f64 = 24.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 52.0;

pub(crate) struct Axis {
    label: String,
    low: f64,
    high: f64,
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From the first round number at or below `low` to the last at or above `high`.
    fn linear(label: &str, low: f64, high: f64, show: impl Fn(f64) -> String) -> Self {
        let (low, high) = if low.is_finite() && high.is_finite() { (low.min(high), high.max(low)) } else { (0.0, 1.0) };
        let span = if high > low { high - low } else { high.abs().max(1.0) * 0.1 };
        let rough = span / 5.0;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|m| m * power).into_iter().find(|&step| step >= rough * 0.999).unwrap_or(10.0 * power);
        let first = (low / step + 1e-9).floor() as i64;
        let last = ((high / step - 1e-9).ceil() as i64).max(first + 1);
        let ticks = (first..=last).map(|i| i as f64 * step).map(|value| (value, show(value))).collect();
        Self { label: label.into(), low: first as f64 * step, high: last as f64 * step, ticks }
    }

    /// Whole numbers from `first` to `last`, each with a band of width 1.
    pub(crate) fn bands(label: &str, first: u64, last: u64) -> Self {
        let every = (last - first) / 12 + 1;
        let ticks = (first..=last).filter(|n| (n - first).is_multiple_of(every)).map(|n| (n as f64, n.to_string())).collect();
        Self { label: label.into(), low: first as f64 - 0.5, high: last as f64 + 0.5, ticks }
    }

    /// Counts from 0, with whole steps.
    pub(crate) fn counts(label: &str, most: u64) -> Self {
        let power = 10u64.pow((most.max(1) / 5).max(1).ilog10());
        let step = [1, 2, 5, 10].map(|m| m * power).into_iter().find(|step| most <= 6 * step).unwrap_or(10 * power);
        let last = most.max(1).div_ceil(step);
        let ticks = (0..=last).map(|i| ((i * step) as f64, (i * step).to_string())).collect();
        Self { label: label.into(), low: 0.0, high: (last * step) as f64, ticks }
    }

    /// Shares of 1 in percent.
    pub(crate) fn percent(label: &str, low: f64, high: f64) -> Self {
        Self::linear(label, low, high, |value| trim(&format!("{:.2}", 100.0 * value)) + "%")
    }

    /// For plots whose data may be anything.
    pub(crate) fn plain(label: &str, low: f64, high: f64) -> Self {
        Self::linear(label, low, high, |value| if value.abs() < 1e-12 { "0".into() } else { trim(&short(value)) })
    }

    fn place(&self, value: f64) -> f64 {
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }
}

/// `0.500` as `0.5`.
fn trim(number: &str) -> String {
    if number.contains('.') && !number.contains('e') {
        number.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        number.to_owned()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Dot,
    Diamond,
    Square,
}

/// How one of several series is told from the others: by color, and without color by dash and shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    color: &'static str,
    dash: &'static str,
    pub(crate) shape: Shape,
}

impl Style {
    /// Of the series at this place; twelve differ even in grey.
    pub(crate) fn of(place: usize) -> Self {
        const COLORS: [&str; 6] = ["tuned", "unseen", "third", "fourth", "fifth", "sixth"];
        const DASHES: [&str; 4] = ["dash0", "dash1", "dash2", "dash3"];
        const SHAPES: [Shape; 3] = [Shape::Dot, Shape::Diamond, Shape::Square];
        Self { color: COLORS[place % COLORS.len()], dash: DASHES[place % DASHES.len()], shape: SHAPES[place % SHAPES.len()] }
    }

    /// The class of its points and whiskers.
    pub(crate) fn color(self) -> &'static str {
        self.color
    }

    /// The class of its lines.
    fn line(self) -> String {
        format!("{} {}", self.color, self.dash)
    }
}

/// A range and a value within it, at one place of the x axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Band {
    pub(crate) x: f64,
    pub(crate) low: f64,
    pub(crate) middle: f64,
    pub(crate) high: f64,
}

/// How a curve goes from one value to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    /// A value stays until the next one, like that of the best so far.
    Steps,
    Straight,
}

impl Course {
    /// What is drawn of a curve: the corners of steps, and of a long curve every so many values and the last.
    fn corners(self, bands: &[Band]) -> Vec<Band> {
        const MOST: usize = 400;
        let Some(&last) = bands.last() else { return Vec::new() };
        let mut corners = Vec::new();
        match self {
            Self::Steps => {
                for (n, &band) in bands.iter().enumerate() {
                    let before = n.checked_sub(1).map(|before| Band { x: band.x, ..bands[before] });
                    if before != Some(band) {
                        corners.extend(before);
                        corners.push(band);
                    }
                }
            }
            Self::Straight => corners.extend(bands.iter().step_by(bands.len().div_ceil(MOST))),
        }
        if corners.last() != Some(&last) {
            corners.push(last);
        }
        corners
    }
}

pub(crate) struct Chart {
    x: Axis,
    y: Axis,
    left: f64,
    height: f64,
    marks: String,
    legend: Vec<(String, String)>,
}

impl Chart {
    pub(crate) fn new(x: Axis, y: Axis, height: f64) -> Self {
        Self { x, y, left: LEFT, height, marks: String::new(), legend: Vec::new() }
    }

    /// A chart of rows from the top down, each named above its marks. Row `n` (from 0) is `y` from `-n` down to `-(n + 1)`, its name
    /// in the uppermost third.
    pub(crate) fn rows(x: Axis, names: &[String], height_of_row: f64) -> Self {
        let rows = names.len().max(1) as f64;
        let y = Axis { label: String::new(), low: -rows, high: 0.0, ticks: Vec::new() };
        let mut chart = Self { left: LEFT_OF_ROWS, ..Self::new(x, y, rows * height_of_row + TOP + BOTTOM) };
        for (row, name) in names.iter().enumerate() {
            let (x, y) = (chart.left, chart.y(-(row as f64) - 0.18));
            chart.add(format_args!("<text class=\"row\" x=\"{x}\" y=\"{y:.1}\" dy=\"0.34em\">{}</text>", escape(name)));
        }
        chart
    }

    fn x(&self, value: f64) -> f64 {
        self.left + self.x.place(value) * (WIDTH - self.left - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        self.height - BOTTOM - self.y.place(value) * (self.height - TOP - BOTTOM)
    }

    fn add(&mut self, mark: std::fmt::Arguments<'_>) {
        self.marks.write_fmt(mark).expect("a String takes any text");
        self.marks.push('\n');
    }

    /// One value; `title` is what the pointer shows.
    pub(crate) fn point(&mut self, x: f64, y: f64, shape: Shape, class: &str, title: &str) {
        let (x, y) = (self.x(x), self.y(y));
        let mark = shape_at(shape, x, y, class, &format!("<title>{}</title>", escape(title)));
        self.add(format_args!("{mark}"));
    }

    /// Straight lines from point to point, as they are.
    pub(crate) fn line(&mut self, points: &[(f64, f64)], class: &str) {
        let path: Vec<String> = points.iter().map(|&(x, y)| format!("{:.1},{:.1}", self.x(x), self.y(y))).collect();
        self.add(format_args!("<polyline class=\"line {class}\" points=\"{}\"/>", path.join(" ")));
    }

    /// A vertical whisker from `low` to `high`.
    pub(crate) fn interval(&mut self, x: f64, low: f64, high: f64, class: &str, title: &str) {
        let (x, top, bottom) = (self.x(x), self.y(high), self.y(low));
        let (left, right) = (x - 4.0, x + 4.0);
        self.add(format_args!(
            "<path class=\"line {class}\" d=\"M{left:.1} {top:.1}H{right:.1}M{x:.1} {top:.1}V{bottom:.1}M{left:.1} {bottom:.1}H{right:.1}\"><title>{}</title></path>",
            escape(title)
        ));
    }

    /// A horizontal whisker from `low` to `high`.
    pub(crate) fn span(&mut self, (low, high): (f64, f64), y: f64, class: &str, title: &str) {
        let (left, right, y) = (self.x(low), self.x(high), self.y(y));
        let (top, bottom) = (y - 4.0, y + 4.0);
        self.add(format_args!(
            "<path class=\"line {class}\" d=\"M{left:.1} {top:.1}V{bottom:.1}M{left:.1} {y:.1}H{right:.1}M{right:.1} {top:.1}V{bottom:.1}\"><title>{}</title></path>",
            escape(title)
        ));
    }

    /// A line through the middles over a pale band, with a few marks of the series' shape on it.
    pub(crate) fn curve(&mut self, bands: &[Band], style: Style, course: Course, title: &str) {
        const MARKS: usize = 7;
        let drawn = course.corners(bands);
        let at = |x: f64, y: f64| format!("{:.1},{:.1}", self.x(x), self.y(y));
        let there = drawn.iter().map(|b| at(b.x, b.high));
        let back = drawn.iter().rev().map(|b| at(b.x, b.low));
        let outline: Vec<String> = there.chain(back).collect();
        self.add(format_args!(
            "<polygon class=\"{} band\" points=\"{}\"><title>{}</title></polygon>",
            style.color,
            outline.join(" "),
            escape(title)
        ));
        self.line(&drawn.iter().map(|b| (b.x, b.middle)).collect::<Vec<_>>(), &style.line());
        let mut places: Vec<usize> = (0..=MARKS).map(|mark| mark * bands.len().saturating_sub(1) / MARKS).collect();
        places.dedup();
        for band in places.into_iter().filter_map(|place| bands.get(place)) {
            let name = format!("{title}: {} at {}", short(band.middle), band.x);
            self.point(band.x, band.middle, style.shape, style.color, &name);
        }
    }

    /// Whether the y axis reaches so far.
    pub(crate) fn holds(&self, y: f64) -> bool {
        (self.y.low..=self.y.high).contains(&y)
    }

    /// A filled box in data coordinates.
    pub(crate) fn bar(&mut self, x: (f64, f64), y: (f64, f64), class: &str, title: &str) {
        let (left, right, top, bottom) = (self.x(x.0), self.x(x.1), self.y(y.1), self.y(y.0));
        let (width, height) = (right - left, bottom - top);
        self.add(format_args!(
            "<rect class=\"bar {class}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"><title>{}</title></rect>",
            escape(title)
        ));
    }

    pub(crate) fn legend_shape(&mut self, shape: Shape, class: &str, text: &str) {
        self.legend.push((shape_at(shape, 12.0, 7.0, class, ""), text.into()));
    }

    pub(crate) fn legend_line(&mut self, class: &str, text: &str) {
        self.legend.push((format!("<path class=\"line {class}\" d=\"M1 7H23\"/>"), text.into()));
    }

    pub(crate) fn legend_series(&mut self, style: Style, text: &str) {
        let mark = shape_at(style.shape, 12.0, 7.0, style.color, "");
        self.legend.push((format!("<path class=\"line {}\" d=\"M0 7H24\"/>{mark}", style.line()), text.into()));
    }

    pub(crate) fn legend_bar(&mut self, class: &str, text: &str) {
        self.legend.push((format!("<rect class=\"bar {class}\" x=\"6\" y=\"1\" width=\"12\" height=\"12\"/>"), text.into()));
    }

    /// The figure: chart, legend, caption. `caption` is plain text and names the chart for those who cannot see it.
    pub(crate) fn figure(self, caption: &str) -> String {
        let caption = escape(caption);
        let height = self.height;
        let (left, right, floor) = (self.left, WIDTH - RIGHT, height - BOTTOM);
        let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{caption}\">\n");
        let mut add = |piece: std::fmt::Arguments<'_>| svg.write_fmt(piece).expect("a String takes any text");
        for (value, text) in &self.y.ticks {
            let (y, text) = (self.y(*value), escape(text));
            add(format_args!("<path class=\"grid\" d=\"M{left} {y:.1}H{right}\"/>"));
            add(format_args!("<text class=\"tick y\" x=\"{}\" y=\"{y:.1}\" dy=\"0.34em\">{text}</text>\n", left - 8.0));
        }
        for (value, text) in &self.x.ticks {
            let (x, text) = (self.x(*value), escape(text));
            add(format_args!("<path class=\"axis\" d=\"M{x:.1} {floor}v5\"/>"));
            add(format_args!("<text class=\"tick x\" x=\"{x:.1}\" y=\"{}\" dy=\"0.75em\">{text}</text>\n", floor + 9.0));
        }
        add(format_args!("<path class=\"axis\" d=\"M{left} {floor}H{right}\"/>\n"));
        let middle = f64::midpoint(left, right);
        add(format_args!("<text class=\"label\" x=\"{middle}\" y=\"{}\">{}</text>\n", height - 8.0, escape(&self.x.label)));
        if !self.y.label.is_empty() {
            let (middle, label) = (f64::midpoint(TOP, floor), escape(&self.y.label));
            add(format_args!("<text class=\"label\" transform=\"translate(16 {middle}) rotate(-90)\">{label}</text>\n"));
        }
        add(format_args!("{}</svg>", self.marks));
        let mut legend = String::new();
        if !self.legend.is_empty() {
            legend.push_str("<ul class=\"legend\">");
            for (key, text) in &self.legend {
                let text = escape(text);
                write!(legend, "<li><svg class=\"key\" viewBox=\"0 0 24 14\" aria-hidden=\"true\">{key}</svg>{text}</li>")
                    .expect("a String takes any text");
            }
            legend.push_str("</ul>\n");
        }
        format!("<figure>{legend}{svg}\n<figcaption>{caption}</figcaption></figure>\n")
    }
}

fn shape_at(shape: Shape, x: f64, y: f64, class: &str, inside: &str) -> String {
    match shape {
        Shape::Dot => format!("<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.2\">{inside}</circle>"),
        Shape::Diamond => format!("<path class=\"{class}\" d=\"M{x:.1} {:.1}l5 5-5 5-5-5z\">{inside}</path>", y - 5.0),
        Shape::Square => {
            format!("<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"8\" height=\"8\">{inside}</rect>", x - 4.0, y - 4.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_on_round_numbers() {
        let axis = Axis::plain("", 0.13, 0.58);
        assert!((axis.low - 0.1).abs() < 1e-9 && (axis.high - 0.6).abs() < 1e-9);
        let texts: Vec<&str> = axis.ticks.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["0.1", "0.2", "0.3", "0.4", "0.5", "0.6"]);
        let flat = Axis::plain("", 0.5, 0.5);
        assert!(flat.low < flat.high && flat.place(0.5).is_finite());
        let broken = Axis::plain("", f64::NAN, f64::INFINITY);
        assert!(broken.low < broken.high);
    }

    #[test]
    fn counts_have_whole_steps() {
        for most in [0, 1, 7, 12, 50, 61, 1100, 12_345] {
            let axis = Axis::counts("", most);
            assert!(axis.high >= most as f64 && (2..=7).contains(&axis.ticks.len()), "{most}: {}", axis.ticks.len());
            assert!(axis.ticks.iter().all(|(value, text)| value.to_string() == *text));
        }
    }

    #[test]
    fn twelve_series_differ_without_color() {
        let known: std::collections::HashSet<_> = (0..12).map(Style::of).map(|s| (s.dash, format!("{:?}", s.shape))).collect();
        assert_eq!(known.len(), 12);
    }

    #[test]
    fn many_bands_are_not_all_labelled() {
        assert_eq!(Axis::bands("", 0, 21).ticks.len(), 11);
        assert_eq!(Axis::bands("", 0, 2).ticks.len(), 3);
    }
}
