//! What was aimed at, and by how much it was missed.

use guest_bench::{
    job::{Consumed, Load, Report},
    stat::{Stat, as_f64},
};
use serde::Serialize;

use super::{Outcome, native::Native};

/// One target.
#[derive(Clone, Debug, Serialize)]
pub struct Target {
    /// What is counted.
    pub what: String,
    /// In what.
    pub unit: &'static str,
    /// At most this; or at least, see `at_least`.
    pub limit: f64,
    /// Whether more is better.
    pub at_least: bool,
    /// What came out, if it could be measured.
    pub measured: Option<f64>,
    /// Where it comes from, if that is known.
    pub why: String,
}

impl Target {
    /// Whether it was reached; `None` if it was not measured.
    pub fn hit(&self) -> Option<bool> {
        self.measured.map(|m| if self.at_least { m >= self.limit } else { m <= self.limit })
    }

    /// `hit`, `missed by 12 %`, `not measured`.
    pub fn verdict(&self) -> String {
        match (self.hit(), self.measured) {
            (Some(true), _) => "hit".to_owned(),
            (Some(false), Some(measured)) if self.limit > 0.0 => {
                let by = (measured / self.limit - 1.0).abs() * 100.0;
                format!("missed by {by:.0} %")
            }
            (Some(false), Some(measured)) => format!("missed by {measured:.2}"),
            _ => "not measured".to_owned(),
        }
    }
}

/// A kind of segment or handshake, taken from a load.
pub type Pick = fn(&Load) -> &Stat;

/// Every kind of segment: what it is called, and where it is in a load.
pub const SEGMENTS: [(&str, Pick); 7] = [
    ("healthy handshake", |load| &load.handshake),
    ("dropped SYN", |load| &load.syn_dropped),
    ("dropped ACK", |load| &load.ack_dropped),
    ("ACK reset", |load| &load.ack_reset),
    ("dropped cookie ACK", |load| &load.cookie_dropped),
    ("healthy handshake after drops", |load| &load.handshake_after_drops),
    ("`accept()`", |load| &load.accept),
];

/// What each may add at most, instructions; and `accept()`, where it is traced at all.
const DEFAULT_TRACE: [Option<f64>; 7] =
    [Some(420.0), Some(900.0), Some(750.0), Some(1000.0), Some(750.0), Some(420.0), None];
/// The same with `--summary`, and with `--all`.
const SUMMARY: [Option<f64>; 7] = [Some(800.0), None, None, None, None, Some(800.0), Some(300.0)];
const ALL: [Option<f64>; 7] = [Some(2200.0), None, None, None, None, Some(2200.0), None];

/// What a report adds to a kind of segment.
pub fn added(report: &Report, pick: Pick) -> Option<i64> {
    pick(&report.with).added_to(pick(&report.before))
}

/// What empty programs on the same hooks add.
pub fn floor(report: &Report, pick: Pick) -> Option<i64> {
    pick(report.floor.as_ref()?).added_to(pick(&report.before))
}

/// All targets against what came out.
pub fn all(rows: &[Outcome], native: Option<&Native>) -> Vec<Target> {
    let report = |name: &str| {
        rows.iter().find(|row| row.name == name).and_then(|row| row.report.as_ref().ok())
    };
    let mut targets = Vec::new();
    if let Some(trace) = report("trace") {
        added_by("default trace", trace, DEFAULT_TRACE, &mut targets);
        lines(trace, &mut targets);
    }
    for (name, title, limits) in
        [("trace-summary", "`--summary`", SUMMARY), ("trace-all", "`--all`", ALL)]
    {
        if let Some(report) = report(name) {
            added_by(title, report, limits, &mut targets);
        }
    }
    let per_drop: fn(&Consumed) -> f64 = |used| used.cpu_per_drop;
    let per_handshake: fn(&Consumed) -> f64 = |used| used.cpu_per_handshake;
    for (name, what, limit, own) in [
        ("trace", "default trace, user space per drop", 3500.0, per_drop),
        ("trace-json", "the same as JSON", 5000.0, per_drop),
        ("trace-all", "`--all`, user space per handshake", 6000.0, per_handshake),
    ] {
        if let Some(report) = report(name) {
            let measured = report.with.consumed.as_ref().map(|used| own(used).round());
            targets.push(at_most(what.to_owned(), "instructions", limit, measured, String::new()));
        }
    }
    if let Some(kprobe) = report("trace-kprobe") {
        let (name, pick) = SEGMENTS[0];
        let pair = added(kprobe, pick).zip(floor(kprobe, pick));
        targets.push(at_most(
            format!("kprobe rung, {name}, against empty kprobes on its hooks"),
            "times",
            1.1,
            pair.map(|(here, floor)| real(here) / real(floor.max(1))),
            pair.map_or_else(String::new, |(here, floor)| format!("{here} against {floor}")),
        ));
    }
    if let (Some(trace), Some(peer)) = (report("trace"), report("tcpsynbl-libbpf")) {
        let seconds = |r: &Report| r.tool.as_ref().map(|t| as_f64(t.attached_ns) / 1e9);
        targets.push(at_most(
            "exec to attached in the VM, against libbpf-tools tcpsynbl there".to_owned(),
            "s",
            seconds(peer).unwrap_or(0.0),
            seconds(trace),
            trace.tool.as_ref().map_or_else(String::new, |t| {
                format!("{:.2} s of it on the CPU", as_f64(t.cpu_ns) / 1e9)
            }),
        ));
    }
    if let Some(native) = native {
        natively(native, &mut targets);
    }
    targets
}

/// What a trace adds to each kind of segment.
fn added_by(trace: &str, report: &Report, limits: [Option<f64>; 7], targets: &mut Vec<Target>) {
    for ((name, pick), limit) in SEGMENTS.iter().zip(limits) {
        let Some(limit) = limit else { continue };
        let why = floor(report, *pick).zip(added(report, *pick)).map(|(floor, here)| {
            format!(
                "{floor} of it are what empty programs on the same hooks take, {} its own",
                here - floor
            )
        });
        targets.push(at_most(
            format!("{trace}, {name}"),
            "instructions",
            limit,
            added(report, *pick).map(real),
            why.unwrap_or_default(),
        ));
    }
}

/// One exact line for each drop.
fn lines(trace: &Report, targets: &mut Vec<Target>) {
    let consumed = trace.with.consumed.unwrap_or_default();
    let lines = [
        consumed.lines_per_handshake,
        consumed.lines_per_syn_dropped,
        consumed.lines_per_ack_dropped,
        consumed.lines_per_ack_reset,
        consumed.lines_per_cookie_dropped,
    ];
    for (index, ((name, _), lines)) in SEGMENTS.iter().zip(lines).enumerate() {
        let records = if index == 0 { 0.0 } else { 1.0 };
        // A cookie may have a line of its own, before the ACK's.
        let most = if index == 4 { 2.0 } else { records };
        let measured = trace.with.consumed.map(|_| lines);
        targets.push(at_most(
            format!("default trace, {name}: lines more or less than {records:.0}"),
            "lines",
            0.0,
            // The clients' own RSTs to what is left half-open make some lines too, 1 in 24.
            measured.map(|lines| {
                let outside = (records - lines).max(lines - most).max(0.0);
                (outside * 10.0).floor() / 10.0
            }),
            String::new(),
        ));
        if let Some(exact) = index.checked_sub(1).map(|index| consumed.exact[index]) {
            targets.push(Target {
                what: format!("default trace, {name}: lines with the exact verdict for each"),
                unit: "lines",
                limit: 1.0,
                at_least: true,
                measured: trace.with.consumed.map(|_| (exact * 1000.0).round() / 1000.0),
                why: String::new(),
            });
        }
    }
}

fn natively(native: &Native, targets: &mut Vec<Target>) {
    let attached = native.attached.as_ref().ok().map(|stat| as_f64(stat.median) / 1e9);
    let why = match (&native.attached, native.cpu_to_attached_ns) {
        (Err(why), _) => why.clone(),
        (_, Some(cpu)) => format!("{:.3} s of it on the CPU", as_f64(cpu) / 1e9),
        _ => String::new(),
    };
    targets.push(at_most("exec to attached natively".to_owned(), "s", 0.25, attached, why));
    let mib = |kib: u64| as_f64(kib) / 1024.0;
    let file = native.rss_idle_file_kib.map(mib);
    targets.push(at_most(
        "resident, idle".to_owned(),
        "MiB",
        8.0,
        native.rss_idle_kib.map(mib),
        file.map_or_else(String::new, |mib| format!("{mib:.1} MiB of it the binary's own pages")),
    ));
    for replay in &native.replays {
        let what = format!("replay{}, {}", spaced(replay.options), replay.recording);
        targets.push(at_most(
            format!("resident at most, {what}, 1,000,000 connections"),
            "MiB",
            64.0,
            Some(mib(replay.took.rss_most_kib)),
            replay.took.stderr.clone(),
        ));
        targets.push(Target {
            what: what.clone(),
            unit: "million records/s",
            limit: 3.0,
            at_least: true,
            measured: Some(replay.rate() / 1e6),
            why: format!("{:.0} ns for a record", 1e9 / replay.rate()),
        });
    }
}

/// With a space before it, unless it is empty.
pub fn spaced(options: &str) -> String {
    if options.is_empty() { String::new() } else { format!(" {options}") }
}

fn at_most(
    what: String,
    unit: &'static str,
    limit: f64,
    measured: Option<f64>,
    why: String,
) -> Target {
    Target { what, unit, limit, at_least: false, measured, why }
}

/// Of a difference in instructions.
fn real(x: i64) -> f64 {
    as_f64(x.unsigned_abs()) * if x < 0 { -1.0 } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(limit: f64, at_least: bool, measured: Option<f64>) -> Target {
        Target { at_least, ..at_most("x".to_owned(), "s", limit, measured, String::new()) }
    }

    #[test]
    fn a_miss_says_by_how_much() {
        assert_eq!(target(420.0, false, Some(420.0)).verdict(), "hit");
        assert_eq!(target(400.0, false, Some(500.0)).verdict(), "missed by 25 %");
        assert_eq!(target(3.0, true, Some(1.5)).verdict(), "missed by 50 %");
        assert_eq!(target(0.0, false, Some(0.5)).verdict(), "missed by 0.50");
        assert_eq!(target(1.0, false, None).verdict(), "not measured");
    }

    #[test]
    fn default_trace_is_held_against_its_targets() {
        let stat = |x| Stat::of(vec![x; 3]);
        let load = |x| Load { handshake: stat(x), syn_dropped: stat(x), ..Load::default() };
        let report = Report {
            before: load(1000),
            with: load(1500),
            floor: Some(load(1300)),
            ..Report::default()
        };
        let mut targets = Vec::new();
        added_by("default trace", &report, DEFAULT_TRACE, &mut targets);
        assert_eq!((targets[0].measured, targets[0].hit()), (Some(500.0), Some(false)));
        assert!(targets[0].why.starts_with("300 of it"), "{}", targets[0].why);
        // No ACK was driven.
        assert_eq!(targets.last().unwrap().hit(), None);
        lines(&report, &mut targets);
        assert_eq!(targets.last().unwrap().hit(), None);
    }
}
