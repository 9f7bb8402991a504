//! Both queues of a listener over time: plain SVG that is as wide as there is room, and a table with
//! the same numbers.

use std::collections::BTreeMap;

use maud::{Markup, html};
use overflow_core::{
    explain::Lang,
    text::duration,
    verdict::{Class, DecidedBy, VerdictId},
};

use crate::{
    html::Shown,
    timeline::{Step, Timeline},
};

/// Height of the part in which a queue stands, CSS pixels.
const HEIGHT: f64 = 84.0;
/// From its top edge to the full height.
const TOP: f64 = 18.0;
/// Where refused segments are marked, below it.
const MARKS: f64 = TOP + HEIGHT + 16.0;
/// Marks nearer to each other than this, in percent of the width, are one with a number.
const APART: f64 = 3.0;
/// Rows of the table.
const ROWS: usize = 48;

/// Which queue.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Queue {
    Accept,
    Syn,
}

/// Both charts and their table; `steps`: so many steps at most.
pub(crate) fn queues(timeline: &Timeline, title: &str, steps: usize) -> Markup {
    let timeline = timeline.coarser(steps);
    let Some(span) = Span::of(&timeline) else { return html! {} };
    let read = |queue: Queue| timeline.steps().any(|(_, step)| queue.length(step).is_some());
    if timeline.readings() == 0 {
        return html! {
            p.note { "Neither queue was read here: only what was refused is known." }
            (table(&timeline, &span))
        };
    }
    html! {
        p.note {
            "Read " (timeline.readings()) " times, whenever something was decided there; in between "
            "nothing was read, and the pale parts are what was read last. A step is "
            (duration::period(timeline.step_ns())) " and shows its longest queue."
        }
        @for queue in [Queue::Accept, Queue::Syn] {
            @if read(queue) || has_refusals(&timeline, queue) {
                (chart(&timeline, &span, queue, title))
            }
        }
        (table(&timeline, &span))
    }
}

/// The time that a chart shows.
struct Span {
    begin_ns: u64,
    length_ns: u64,
}

impl Span {
    fn of(timeline: &Timeline) -> Option<Self> {
        let begin_ns = timeline.steps().next()?.0;
        let end_ns = timeline.steps().last()?.0 + timeline.step_ns();
        Some(Self { begin_ns, length_ns: end_ns - begin_ns })
    }

    /// In percent of the width.
    #[allow(clippy::cast_precision_loss)] // for people
    fn at(&self, t_ns: u64) -> f64 {
        t_ns.saturating_sub(self.begin_ns) as f64 / self.length_ns as f64 * 100.0
    }
}

impl Queue {
    const fn name(self) -> &'static str {
        match self {
            Self::Accept => "Accept queue",
            Self::Syn => "SYN queue",
        }
    }

    const fn unit(self) -> &'static str {
        match self {
            Self::Accept => "connections, ss Recv-Q; the limit is Send-Q, full is above it",
            Self::Syn => "requests; since Linux 4.4 its limit is the accept queue's",
        }
    }

    const fn length(self, step: &Step) -> Option<u32> {
        match self {
            Self::Accept => step.accept,
            Self::Syn => step.syn,
        }
    }

    fn decided(self, id: VerdictId) -> bool {
        let full = id.decided_by() == DecidedBy::SynQueueFull;
        full == (self == Self::Syn)
    }
}

fn has_refusals(timeline: &Timeline, queue: Queue) -> bool {
    timeline.steps().any(|(_, step)| step.refused.keys().any(|id| queue.decided(*id)))
}

fn chart(timeline: &Timeline, span: &Span, queue: Queue, title: &str) -> Markup {
    let longest = timeline.steps().filter_map(|(_, step)| queue.length(step)).max();
    let limits = || timeline.steps().filter_map(|(_, step)| step.limit);
    let limit = limits().min().zip(limits().max());
    let highest = limit.map(|(_, highest)| highest);
    let top = f64::from(longest.max(highest).unwrap_or(1).max(1)) * 1.12;
    let y = |length: u32| TOP + HEIGHT * (1.0 - f64::from(length) / top);
    let marks = marks(timeline, span, queue);
    let refused: u64 = marks.iter().map(|mark| mark.refused.values().sum::<u64>()).sum();
    let words = words(queue, scale(longest, limit), refused);
    html! {
        figure.chart {
            figcaption { b { (queue.name()) } " " span.unit { (queue.unit()) } }
            svg role="img" width="100%" height=(if marks.is_empty() { MARKS - 8.0 } else { MARKS + 12.0 })
                aria-label=(Shown(&format!("{} of {title}: {words}", queue.name()))) {
                line.axis x1="0" x2="100%" y1=(TOP + HEIGHT) y2=(TOP + HEIGHT) {}
                (bars(timeline, span, queue, &y))
                (limit_lines(timeline, span, &y))
                text x="0" y=(TOP - 6.0) { (scale(longest, limit)) }
                @for mark in &marks { (mark.draw()) }
            }
            div.times aria-hidden="true" {
                span { "+0 ms" } span { (moment(span.length_ns / 2)) } span { (moment(span.length_ns)) }
            }
        }
    }
}

/// What its heights mean.
fn scale(longest: Option<u32>, limit: Option<(u32, u32)>) -> String {
    let longest = longest.map_or("not read".to_owned(), |n| format!("longest {n}"));
    match limit {
        None => longest,
        Some((lowest, highest)) if lowest == highest => {
            format!("{longest}, limit {highest} (dashed)")
        }
        Some((lowest, highest)) => format!("{longest}, limit {lowest} to {highest} (dashed)"),
    }
}

/// What a chart shows, for who does not see it.
fn words(queue: Queue, scale: String, refused: u64) -> String {
    let mut words = vec![scale];
    if refused > 0 {
        let what = match queue {
            Queue::Accept => "segments refused",
            Queue::Syn => "SYNs dropped or answered by a cookie",
        };
        words.push(format!("{refused} {what}"));
    }
    words.join(", ")
}

/// The limit, which `listen()` may have changed, from each time that it was read to the next.
fn limit_lines(timeline: &Timeline, span: &Span, y: &dyn Fn(u32) -> f64) -> Markup {
    let mut parts: Vec<(f64, u32)> = Vec::new();
    for (t, limit) in timeline.steps().filter_map(|(t, step)| Some((t, step.limit?))) {
        if parts.last().is_none_or(|(_, last)| *last != limit) {
            parts.push((span.at(t), limit));
        }
    }
    let ends = parts.iter().skip(1).map(|(x, _)| *x).chain([100.0]);
    html! {
        @for ((x, limit), end) in parts.iter().zip(ends) {
            line.limit x1=(percent(*x)) x2=(percent(end)) y1=(px(y(*limit))) y2=(px(y(*limit))) {}
        }
    }
}

/// Solid where it was read, pale until it was read again.
fn bars(timeline: &Timeline, span: &Span, queue: Queue, y: &dyn Fn(u32) -> f64) -> Markup {
    let read = |(t, step): (u64, &Step)| Some((t, queue.length(step)?, step.limit));
    let read: Vec<_> = timeline.steps().filter_map(read).collect();
    let ends = read.iter().skip(1).map(|(t, ..)| *t).chain([span.begin_ns + span.length_ns]);
    html! {
        @for ((t, length, limit), next) in read.iter().zip(ends) {
            @let (x, end) = (span.at(*t), span.at(t + timeline.step_ns()).min(100.0));
            @let height = (TOP + HEIGHT - y(*length)).max(1.5);
            @let full = queue == Queue::Accept && limit.is_some_and(|limit| *length > limit);
            @let class = if full { "bar full" } else { "bar" };
            @if span.at(next) > end {
                rect.held x=(percent(x)) y=(px(TOP + HEIGHT - height))
                    width=(percent(span.at(next) - x)) height=(px(height)) {}
            }
            rect class=(class) x=(percent(x)) y=(px(TOP + HEIGHT - height))
                width=(percent((end - x).max(0.35))) height=(px(height)) {}
        }
    }
}

/// Refused segments that a chart marks together.
struct Mark {
    /// In percent of the width.
    x: f64,
    refused: BTreeMap<VerdictId, u64>,
}

fn marks(timeline: &Timeline, span: &Span, queue: Queue) -> Vec<Mark> {
    let mut marks: Vec<Mark> = Vec::new();
    for (t, step) in timeline.steps() {
        let x = span.at(t + timeline.step_ns() / 2);
        for (id, n) in step.refused.iter().filter(|(id, _)| queue.decided(**id)) {
            match marks.last_mut() {
                Some(mark) if x - mark.x < APART => *mark.refused.entry(*id).or_default() += n,
                _ => marks.push(Mark { x, refused: BTreeMap::from([(*id, *n)]) }),
            }
        }
    }
    marks
}

impl Mark {
    fn draw(&self) -> Markup {
        let n: u64 = self.refused.values().sum();
        // A cookie is an answer; everything else is none, or an RST.
        let answered = self.refused.keys().all(|id| id.class() == Class::SynAnswered);
        let (href, class) = if answered { ("#m-cookie", "cookie") } else { ("#m-drop", "drop") };
        // Kept inside the picture.
        let x = self.x.clamp(1.2, 97.0);
        html! {
            svg class=(class) x=(percent(x)) y=(MARKS - 6.0) width="40" height="14" overflow="visible" {
                title { (refused(&self.refused)) }
                use href=(href) x="-6" y="0" width="12" height="12" {}
                @if n > 1 {
                    @let (anchor, x) = if self.x > 90.0 { ("end", -8) } else { ("start", 8) };
                    text x=(x) y="10" text-anchor=(anchor) { (n) }
                }
            }
        }
    }
}

/// `3 × ACK dropped, request kept`.
fn refused(refused: &BTreeMap<VerdictId, u64>) -> String {
    let each = refused.iter().map(|(id, n)| format!("{n} × {}", id.label(Lang::En)));
    each.collect::<Vec<_>>().join("; ")
}

fn table(timeline: &Timeline, span: &Span) -> Markup {
    let timeline = timeline.coarser(ROWS);
    let number = |n: Option<u32>| n.map_or("not read".to_owned(), |n| n.to_string());
    html! {
        details {
            summary { "The numbers of these charts" }
            div.wide {
                table {
                    caption {
                        "Longest queues and refused segments in steps of "
                        (duration::period(timeline.step_ns())) "; steps without any are left out"
                    }
                    thead { tr {
                        th scope="col" { "from" }
                        th scope="col" { "accept queue" }
                        th scope="col" { "limit" }
                        th scope="col" { "SYN queue" }
                        th scope="col" { "refused" }
                    } }
                    tbody {
                        @for (t, step) in timeline.steps() {
                            tr {
                                th scope="row" { (moment(t.saturating_sub(span.begin_ns))) }
                                td { (number(step.accept)) }
                                td { (number(step.limit)) }
                                td { (number(step.syn)) }
                                td { (refused(&step.refused)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn moment(t_ns: u64) -> String {
    duration::since(t_ns, 0)
}

fn percent(x: f64) -> String {
    format!("{x:.2}%")
}

fn px(y: f64) -> String {
    format!("{y:.1}")
}
