//! How it is drawn.

use ratatui::Frame;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Chart, Dataset, GraphType, Paragraph, Row, Table};
use similar::{ChangeTag, TextDiff};

use super::list::State;
use super::{List, Watched};
use crate::base::error::{Error, Result};
use crate::base::printer::Plain;
use crate::base::show::{duration, percent};
use crate::record::{Candidate, Funnel, NetworkId};

/// A run.
pub fn draw(frame: &mut Frame<'_>, watched: &Watched) {
    let [head, middle, bottom, keys] =
        Layout::vertical([Constraint::Length(4), Constraint::Length(11), Constraint::Min(6), Constraint::Length(1)]).areas(frame.area());
    frame.render_widget(Paragraph::new(header(watched)).block(Block::bordered().title(title(watched))), head);
    let [left, right] = Layout::horizontal([Constraint::Length(38), Constraint::Min(20)]).areas(middle);
    frame.render_widget(Paragraph::new(funnel(watched)).block(Block::bordered().title(format!(" cycle {} ", watched.cycle()))), left);
    scatter(frame, right, watched);
    let [left, right] = Layout::horizontal([Constraint::Length(38), Constraint::Min(20)]).areas(bottom);
    frame.render_widget(Paragraph::new(best(watched, left.height)).block(Block::bordered().title(" best ")), left);
    delta(frame, right, watched);
    frame.render_widget(Line::from(" left, right: cycle   up, down: candidate   end: newest   q: leave; the run goes on").dim(), keys);
}

/// Several runs.
pub fn draw_list(frame: &mut Frame<'_>, list: &List) {
    let [body, keys] = Layout::vertical([Constraint::Min(3), Constraint::Length(1)]).areas(frame.area());
    let rows = list.rows.iter().map(|row| {
        let best = row.best.map_or_else(String::new, percent);
        Row::new([
            plain(&row.name),
            row.policy.into(),
            bar(row.closed, row.cycles, 20),
            format!("{}/{}", row.closed, row.cycles),
            best,
            <&str>::from(row.state).into(),
        ])
    });
    let widths = [
        Constraint::Min(20),
        Constraint::Length(12),
        Constraint::Length(20),
        Constraint::Length(9),
        Constraint::Length(7),
        Constraint::Length(9),
    ];
    let head = Row::new(["run", "policy", "cycles", "", "best", ""]).bold();
    let done = list.rows.iter().filter(|row| row.state == State::Finished).count();
    let title = format!(" {}: {done} of {} finished ", plain(&list.title), list.rows.len());
    frame.render_widget(Table::new(rows, widths).header(head).block(Block::bordered().title(title)), body);
    frame.render_widget(Line::from(" q: leave; what runs goes on").dim(), keys);
}

/// The same as text, for a pipe: no colours, `width` characters a line.
///
/// # Errors
/// No such screen can be made.
pub fn text(width: u16, height: u16, draw: impl FnOnce(&mut Frame<'_>)) -> Result<String> {
    let wrong = |e| Error::machine("the screen cannot be drawn").caused_by(e);
    let mut terminal = Terminal::new(TestBackend::new(width, height)).map_err(wrong)?;
    terminal.draw(draw).map_err(wrong)?;
    let buffer = terminal.backend().buffer();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    Ok((0..height).map(line).collect::<Vec<_>>().join("\n"))
}

/// What comes from outside, without what a terminal would obey.
fn plain(text: &str) -> String {
    Plain(text.replace('\t', "    ")).to_string()
}

fn title(watched: &Watched) -> String {
    format!(
        " {}: {}, {}, {} ",
        plain(&watched.name),
        watched.config.policy.name(),
        plain(&watched.model),
        plain(&watched.config.proxy.dataset)
    )
}

fn header(watched: &Watched) -> Vec<Line<'static>> {
    let closed = watched.closed.unwrap_or(0);
    let goes_on = watched.doing().is_some() && watched.resume.is_none();
    let left = watched.seconds_left().filter(|_| goes_on).map(|seconds| format!("   about {} left", duration(seconds)));
    let cycles = format!("{} of {} cycles{}", closed, watched.config.cycles, left.unwrap_or_default());
    let now = match watched.doing() {
        _ if watched.resume.is_some() => {
            let resume = watched.resume.as_deref().unwrap_or_default();
            Line::from(format!("stopped; go on with: {}", plain(resume))).yellow()
        }
        None => Line::from("finished").green(),
        Some(doing) => {
            let (bar, of) = doing.done.map_or_else(Default::default, |(done, all)| (bar(done, all, 24), format!("  {done} of {all}")));
            Line::from(format!("cycle {}: {}  {bar}{of}", doing.cycle, doing.what))
        }
    };
    vec![Line::from(format!("{}  {cycles}", bar(closed, watched.config.cycles, 24))), now]
}

fn bar(done: u64, all: u64, width: u64) -> String {
    let full = (done.min(all) * width).checked_div(all).unwrap_or(0);
    "\u{2588}".repeat(full as usize) + &"\u{2591}".repeat((width - full) as usize)
}

fn funnel(watched: &Watched) -> Vec<Line<'static>> {
    let counts = watched.funnel();
    let asked = counts.asked;
    let line = |(name, count): (&str, u64)| {
        Line::from(vec![Span::raw(format!("{name:<14}")), Span::raw(bar(count, asked, 14)).cyan(), Span::raw(format!(" {count:>4}"))])
    };
    Funnel::HEAD.into_iter().zip(counts.counts()).map(line).collect()
}

/// Quality of every network over the cycles; elites stand out.
fn scatter(frame: &mut Frame<'_>, area: Rect, watched: &Watched) {
    let place = |id: &NetworkId| match id {
        NetworkId::Start(_) => 0.0,
        NetworkId::Candidate { cycle, index } => {
            *cycle as f64 - 0.3 + 0.6 * (*index as f64 + 0.5) / watched.config.candidates.max(1) as f64
        }
    };
    let is_elite = |id: &NetworkId| watched.elites.iter().any(|(_, elite)| elite == id);
    let (elite, others): (Vec<_>, Vec<_>) = watched.qualities.iter().partition(|(id, _)| is_elite(id));
    let points = |all: Vec<(&NetworkId, &f64)>| all.into_iter().map(|(id, quality)| (place(id), 100.0 * quality)).collect::<Vec<_>>();
    let (elite, others) = (points(elite), points(others));
    let all = || elite.iter().chain(&others).map(|(_, y)| *y);
    let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
    let (low, high) = if low.is_finite() { (low.floor(), high.ceil().max(low.floor() + 1.0)) } else { (0.0, 100.0) };
    let set = |points, style| Dataset::default().marker(Marker::Dot).graph_type(GraphType::Scatter).style(style).data(points);
    let cycles = watched.config.cycles as f64;
    let chart = Chart::new(vec![set(&others, Style::new().fg(Color::Gray)), set(&elite, Style::new().fg(Color::Green))])
        .block(Block::bordered().title(" quality, %; elites in green "))
        .x_axis(Axis::default().bounds([-0.5, cycles + 0.5]).labels(["start".to_owned(), format!("cycle {}", watched.config.cycles)]))
        .y_axis(Axis::default().bounds([low, high]).labels([
            format!("{low:.0}"),
            format!("{:.1}", f64::midpoint(low, high)),
            format!("{high:.0}"),
        ]));
    frame.render_widget(chart, area);
}

fn best(watched: &Watched, height: u16) -> Vec<Line<'static>> {
    let start = watched.qualities.iter().filter(|(id, _)| matches!(id, NetworkId::Start(_))).map(|(_, quality)| *quality).reduce(f64::max);
    let line = |(id, quality): (&NetworkId, f64)| {
        let over = start.map_or_else(String::new, |start| format!("{:+.1}", 100.0 * (quality - start)));
        Line::from(format!("{:<20.20} {:>6} {over:>6}", plain(&id.to_string()), percent(quality)))
    };
    watched.best(usize::from(height.saturating_sub(2))).into_iter().map(line).collect()
}

/// What a candidate changes of its parent, and what became of it.
fn delta(frame: &mut Frame<'_>, area: Rect, watched: &Watched) {
    let Some(candidate) = watched.candidate() else {
        frame.render_widget(Block::bordered().title(" no candidate yet "), area);
        return;
    };
    let title = format!(" {} of {}: {} ", candidate.id(), plain(&candidate.parent.to_string()), plain(&fate(watched, candidate)));
    frame.render_widget(Paragraph::new(changes(watched, candidate)).block(Block::bordered().title(title)), area);
}

fn fate(watched: &Watched, candidate: &Candidate) -> String {
    if let Some(quality) = watched.qualities.get(&candidate.id()) {
        let gain = watched
            .qualities
            .get(&candidate.parent)
            .map_or_else(String::new, |parent| format!(", {:+.1} on its parent", 100.0 * (quality - parent)));
        return format!("{}{gain}", percent(*quality));
    }
    let Some(screened) = &candidate.screened else { return "waits for the gates".into() };
    match (&screened.detail, &screened.reason) {
        (Some(why), _) | (None, Some(why)) => why.lines().next().unwrap_or_default().to_owned(),
        (None, None) => "waits for its training".into(),
    }
}

/// A coloured diff with two lines around each change; of a delta that does not apply its own text.
fn changes(watched: &Watched, candidate: &Candidate) -> Vec<Line<'static>> {
    let child = candidate.screened.as_ref().and_then(|s| s.source.as_ref());
    let (Some(parent), Some(child)) = (watched.sources.get(&candidate.parent), child) else {
        return candidate.text().lines().map(|line| Line::from(plain(line)).yellow()).collect();
    };
    let diff = TextDiff::from_lines(parent, child);
    let mut lines = Vec::new();
    for (at, group) in diff.grouped_ops(2).iter().enumerate() {
        if at > 0 {
            lines.push(Line::from("..").dim());
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let text = plain(change.value().trim_end_matches(['\r', '\n']));
            lines.push(match change.tag() {
                ChangeTag::Equal => Line::from(format!("  {text}")).dim(),
                ChangeTag::Delete => Line::from(format!("- {text}")).red(),
                ChangeTag::Insert => Line::from(format!("+ {text}")).green(),
            });
        }
    }
    lines
}
