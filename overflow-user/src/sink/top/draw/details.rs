//! One listener: who holds it, what limits it, what an overflow does to it, what happened there.

use std::{cmp::Reverse, collections::BTreeMap};

use super::{canvas::Canvas, handshakes, queue, text::Text};
use crate::sink::{
    listeners::{forecast_of, sysctl_names, whereabouts},
    top::{
        columns::owner,
        row::{FullShare, Row},
        state::{Handshake, State},
    },
    trace::Waits,
    trace_text::by_count,
};
use overflow_core::{
    cause::CauseId,
    explain::Lang,
    listeners::{Forecast, Listener, Namespace, Sysctls},
    owner::Owner,
    text::{duration::narrow, style::Tone},
};

/// Lines of the bars at the top.
const BARS: usize = 3;
/// Holders that are named one by one.
const NAMED: usize = 12;

pub(super) fn page(
    canvas: &mut Canvas<'_>,
    (mut top, bottom): (usize, usize),
    state: &State,
    row: Option<&Row>,
    scroll: usize,
) {
    let width = usize::from(canvas.area().width);
    let Some(row) = row else {
        canvas.put(0, top, width, Tone::Dim, "This listener is gone, and nothing happened at it.");
        return;
    };
    if bottom.saturating_sub(top) > 12 {
        queue(canvas, top, BARS, row);
        top += BARS + 1;
    }
    let mut text = Text::new(width);
    let kernel = state.kernel.as_ref();
    let forecast = kernel.zip(row.listeners.first());
    let forecast = forecast.map(|(kernel, l)| forecast_of(&state.inventory, l, kernel));
    owners(&mut text, state, row);
    queues(&mut text, state, row, forecast.as_ref());
    limits(&mut text, state, row, forecast.as_ref());
    verdicts(&mut text, row);
    if let Some(waits) = &row.totals.waits {
        histogram(&mut text, waits);
    }
    let here = |h: &&Handshake| h.key == row.key || h.group == Some(row.key);
    let here = state.handshakes.iter().rev().filter(here);
    for (i, handshake) in here.enumerate() {
        if i == 0 {
            text.blank();
            text.flow("handshakes", Tone::Dim, "the last abnormal ones here");
        }
        text.line(handshakes::parts(state, handshake, width));
    }
    text.draw(canvas, (top, bottom), scroll);
}

fn owners(text: &mut Text, state: &State, row: &Row) {
    let namespace = state.inventory.namespaces.get(&row.key.0).map(|s| &s.namespace);
    let name = match namespace {
        Some(Namespace { name: Some(name), .. }) => format!(" ({name})"),
        Some(Namespace { own: true, .. }) => " (this one)".to_owned(),
        Some(_) | None => String::new(),
    };
    let closed = if row.gone() { ", closed meanwhile" } else { "" };
    text.flow(
        "listener",
        Tone::Strong,
        &format!("{}, netns {}{name}{closed}", row.place, row.key.0),
    );
    let first = owner(row);
    let unit = whereabouts(first);
    let unit = if unit.is_empty() { unit } else { format!(", {unit}") };
    let short = first.map_or_else(|| "not visible".to_owned(), |o| o.short(40));
    text.flow("owner", Tone::Plain, &format!("{short}{unit}"));
    let holders = row.listeners.iter().filter_map(|l| l.owner.as_ref()).flat_map(holders);
    let mut named: Vec<String> = holders.collect();
    named.dedup();
    if named.len() > 1 {
        let more = named.len().saturating_sub(NAMED);
        named.truncate(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        text.flow("held by", Tone::Plain, &(named.join(", ") + &more));
    }
}

/// `comm/pid` of every process that holds it; the pid alone of those that were not described.
fn holders(owner: &Owner) -> Vec<String> {
    let name = |pid: &u32| {
        let process = owner.processes.iter().find(|p| p.pid == *pid);
        process.map_or_else(|| pid.to_string(), |p| format!("{}/{pid}", p.comm))
    };
    owner.pids.iter().map(name).collect()
}

fn queues(text: &mut Text, state: &State, row: &Row, forecast: Option<&Forecast>) {
    let syn_queue_limit = forecast.and_then(|f| f.syn_queue_limit);
    for listener in &row.listeners {
        let tone = if listener.full() { Tone::Bad } else { Tone::Plain };
        text.flow("queue", tone, &socket(listener, syn_queue_limit));
    }
    let syn_queue = row.totals.syn_queue_max;
    let syn_queue = syn_queue.map_or_else(String::new, |max| format!(", SYN-Q {max}"));
    text.flow("longest", Tone::Plain, &format!("Recv-Q {}{syn_queue}", row.longest));
    let full = match (row.totals.full, row.full_share(state.traced_ns())) {
        (Some(full), Some(FullShare::Traced(share))) => {
            let now = if full.now { ", full now" } else { "" };
            format!(
                "{} times, {} in all ({share} % of the time), at most {} at once{now}",
                full.times,
                narrow(full.total_ns),
                narrow(full.longest_ns)
            )
        }
        (_, Some(FullShare::Sampled(share))) => {
            format!(
                "seen full in {share} % of the seconds (what enters and leaves it is not traced)"
            )
        }
        _ => String::new(),
    };
    text.flow("full", Tone::Plain, &full);
    text.flow("why", Tone::Bad, &causes(&row.totals.full_by_cause));
}

/// Why the queue was full, the cause first that it was for longest.
fn causes(full_by_cause: &BTreeMap<CauseId, u64>) -> String {
    let mut causes: Vec<_> = full_by_cause.iter().collect();
    causes.sort_by_key(|(_, ns)| Reverse(**ns));
    let said =
        |(id, ns): &(&CauseId, &u64)| format!("{} for {} ({id})", id.short(Lang::En), narrow(**ns));
    causes.iter().map(said).collect::<Vec<_>>().join(", ")
}

/// The queues of one socket; of several that share the address, which one it is and who holds it.
fn socket(listener: &Listener, syn_queue_limit: Option<u32>) -> String {
    let known = |n: Option<u32>| n.map_or_else(|| "?".to_owned(), |n| n.to_string());
    let (send_q, syn_limit) = (known(listener.send_q), known(syn_queue_limit));
    let mut facts = vec![
        format!("Recv-Q {}/{send_q}", listener.recv_q),
        format!("SYN-Q {}/{syn_limit}", known(listener.syn_recv)),
    ];
    facts.extend(listener.drops.map(|n| format!("{n} drops since it was opened")));
    if listener.group > 1 {
        let owner = listener.owner.as_ref().map_or_else(|| "?".to_owned(), |o| o.short(20));
        facts.push(format!("socket {} of {owner}", listener.inode));
    }
    facts.join(", ")
}

fn limits(text: &mut Text, state: &State, row: &Row, forecast: Option<&Forecast>) {
    let there = state.inventory.namespaces.get(&row.key.0).map(|s| s.sysctls);
    let sysctls: Option<Sysctls> = there.or(row.sysctls);
    let first: Option<&Listener> = row.listeners.first();
    if let Some((limit, somaxconn)) =
        first.and_then(|l| l.send_q).zip(sysctls.and_then(|s| s.somaxconn))
    {
        let who = match limit.cmp(&somaxconn) {
            std::cmp::Ordering::Less => format!(
                "the application's backlog, or somaxconn, at listen(); net.core.somaxconn would allow {somaxconn}"
            ),
            std::cmp::Ordering::Equal => {
                "net.core.somaxconn, unless the application asked for just as much".to_owned()
            }
            std::cmp::Ordering::Greater => {
                format!("set at listen(), before net.core.somaxconn was lowered to {somaxconn}")
            }
        };
        text.flow("limit", Tone::Plain, &format!("Send-Q {limit}: {who}"));
    }
    if let Some(sysctls) = sysctls {
        let settings: Vec<String> = sysctl_names(&sysctls)
            .iter()
            .map(|(name, value)| {
                format!("{}\u{a0}{value}", name.rsplit('.').next().unwrap_or(name))
            })
            .collect();
        text.flow("sysctls", Tone::Plain, &settings.join(", "));
    }
    let Some(forecast) = forecast else { return };
    text.flow("when full", Tone::Plain, &forecast.effect);
    for advice in &forecast.advice {
        text.flow("  !", Tone::Warn, advice);
    }
}

fn verdicts(text: &mut Text, row: &Row) {
    text.blank();
    let more = |n: u64, what: &str| if n > 0 { format!(", {n} {what}") } else { String::new() };
    let summary = format!(
        "{} overflows since tracing began{}{}",
        row.totals.overflows(),
        more(row.totals.phantoms, "phantoms"),
        more(row.totals.synack_retransmits, "SYN-ACKs resent"),
    );
    text.flow("verdicts", Tone::Plain, &summary);
    for (id, count) in by_count(&row.totals.verdicts) {
        text.line(vec![
            (Tone::Plain, format!("{:12}{count:>9}  ", "")),
            (id.tone(), id.as_str().to_owned()),
        ]);
    }
}

/// Time in the accept queue: a bar per power of two that anybody waited.
fn histogram(text: &mut Text, waits: &Waits) {
    let Some(highest) = waits.buckets.iter().max().copied().filter(|n| *n > 0) else { return };
    let mean = waits.total_ns / waits.count().max(1);
    text.blank();
    let summary = format!("{} taken by accept() after {} on average", waits.count(), narrow(mean));
    text.flow("waits", Tone::Plain, &summary);
    let first = waits.buckets.iter().position(|n| *n > 0).unwrap_or(0);
    let last = waits.buckets.iter().rposition(|n| *n > 0).unwrap_or(0);
    for (n, &count) in waits.buckets.iter().enumerate().take(last + 1).skip(first) {
        let bound = if n + 1 < Waits::BUCKETS {
            format!("< {}", narrow(1_000_u64 << n))
        } else {
            "longer".to_owned()
        };
        let bar = usize::try_from(u128::from(count) * 40 / u128::from(highest)).unwrap_or(40);
        let bar = if count > 0 { bar.max(1) } else { 0 };
        text.line(vec![
            (Tone::Dim, format!("{:12}{bound:>9}  ", "")),
            (Tone::Plain, format!("{count:>9}  ")),
            (Tone::Good, "#".repeat(bar)),
        ]);
    }
}
