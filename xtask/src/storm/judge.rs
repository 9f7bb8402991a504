//! Compares what the tool printed of a storm with what the kernel counted and what was sent. Pure.

use std::{collections::BTreeMap, fmt};

use guest_bench::storm::StormReport;

use super::Counts;

/// What remembered connections may take besides the process itself, KiB: docs/requirements.md,
/// "Memory".
const BOUND_KIB: u64 = 52 * 1024;

/// Verdicts at which the kernel raises `ListenOverflows`.
const OVERFLOWS: &[&str] = &[
    "syn.drop.accept_queue_full",
    "ack.drop.overflow",
    "ack.reset.overflow",
    "ack.drop.overflow.cookie",
];
/// Further verdicts at which it raises `ListenDrops` (`tcp_listendrop`).
const OTHER_DROPS: &[&str] = &[
    "syn.drop.syn_queue_full",
    "syn.drop.other",
    "ack.drop.child_failed",
    "ack.reset.child_failed",
];
/// Verdicts that are no event unless every handshake is shown.
const HEALTHY: &[&str] = &[
    "syn.queued",
    "ack.accepted",
    "ack.accepted.cookie",
    "ack.drop.defer_accept",
    "later.accepted_by_app",
];

/// One comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What is compared.
    pub what: String,
    /// What it must be.
    pub expected: String,
    /// What it is.
    pub found: String,
    /// Whether that is right.
    pub passed: bool,
}

impl Finding {
    /// Something that could not be done.
    pub fn failure(why: &str) -> Self {
        Self {
            what: "the storm".to_owned(),
            expected: "a report".to_owned(),
            found: why.to_owned(),
            passed: false,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, expected, found, .. } = self;
        write!(f, "{what}: {found}, expected {expected}")
    }
}

/// Everything that is compared.
pub fn judge(report: &StormReport, counts: Counts) -> Vec<Finding> {
    let output = &report.output;
    let lost: u64 = output.losses.values().sum();
    // What counts from records may lack as many as were lost, and no more.
    let missing = if counts == Counts::Records { lost } else { 0 };
    let sum = |ids: &[&str]| total(&output.verdicts, |id| ids.contains(&id));
    let counter = |name: &str| report.counters.get(name).copied().unwrap_or_default();
    let overflows = sum(OVERFLOWS);
    let mut findings = vec![
        count("ListenOverflows", counter("ListenOverflows"), overflows, missing),
        count("ListenDrops", counter("ListenDrops"), overflows + sum(OTHER_DROPS), missing),
        count(
            "TCPReqQFullDrop",
            counter("TCPReqQFullDrop"),
            sum(&["syn.drop.syn_queue_full"]),
            missing,
        ),
        count(
            "TCPReqQFullDoCookies",
            counter("TCPReqQFullDoCookies"),
            sum(&["syn.cookie"]),
            missing,
        ),
        count(
            "`overflows` of the listeners",
            counter("ListenOverflows"),
            output.overflows,
            missing,
        ),
    ];
    // More cookies than those meant as such: third ACKs that are dropped with one.
    let sent = report.sent.iter().filter(|(verdict, _)| *verdict != "syn.cookie");
    findings.extend(sent.map(|(verdict, sent)| {
        count(&format!("sent as {verdict}"), *sent, sum(&[verdict]), missing)
    }));
    if !output.intervals.is_empty() {
        let all = total(&output.verdicts, |_| true);
        findings.push(count("sum of the intervals", all, total(&output.intervals, |_| true), 0));
    }
    findings.extend(shown(report, counts, lost));
    let again = counter("TCPSynRetrans");
    // Always from records.
    findings.push(count("TCPSynRetrans", again, output.synack_retransmits, lost));
    findings.push(count(
        "sum of all losses, in the summary",
        lost + output.not_shown,
        output.lost,
        0,
    ));
    findings.push(memory(report));
    findings
}

/// Every event is shown, kept back by a limit, or lost. None where only aggregates are shown.
fn shown(report: &StormReport, counts: Counts, lost: u64) -> Option<Finding> {
    let output = &report.output;
    let shown: u64 = output.events.values().sum();
    if shown == 0 {
        return None;
    }
    let all = output.events.keys().any(|id| HEALTHY.contains(&id.as_str()));
    let events = total(&output.verdicts, |id| all || !HEALTHY.contains(&id));
    let found = format!("{shown} shown + {} not shown + {lost} lost", output.not_shown);
    let accounted = shown + output.not_shown;
    let (expected, passed) = match counts {
        // Those lost are in no count of the tool, but in the kernel's counters.
        Counts::Records => {
            let counter = |name| report.counters.get(name).copied().unwrap_or_default();
            let other =
                |id: &str| if HEALTHY.contains(&id) { all } else { id.starts_with("later.") };
            let others = total(&output.verdicts, other);
            let sum = counter("ListenDrops") + counter("TCPReqQFullDoCookies") + others;
            // Of these others some may be lost, which no counter has, and SYN-ACKs sent again, which
            // are no events.
            let again = counter("TCPSynRetrans").saturating_sub(output.synack_retransmits);
            let beside = if others > 0 { lost } else { again.min(lost) };
            let passed = accounted == events && (sum..=sum + beside).contains(&(accounted + lost));
            (format!("{events} counted, {sum} with those lost"), passed)
        }
        // Records of other events are lost as well.
        Counts::Kernel => {
            let exact = accounted == events;
            let covered = lost > 0 && accounted <= events && accounted + lost >= events;
            (format!("{events} counted"), exact || covered)
        }
    };
    Some(Finding { what: "events".to_owned(), expected, found, passed })
}

fn memory(report: &StormReport) -> Finding {
    let (before, most) = (report.before.rss_kib, report.after.most_kib);
    Finding {
        what: "resident at most, KiB".to_owned(),
        expected: format!("≤ {} ({before} before + {BOUND_KIB})", before + BOUND_KIB),
        found: most.to_string(),
        passed: most > 0 && most <= before + BOUND_KIB,
    }
}

/// Equal, but for at most so many that are missing.
fn count(what: &str, expected: u64, found: u64, missing: u64) -> Finding {
    let passed = found <= expected && expected - found <= missing;
    let short = expected.saturating_sub(found);
    let found =
        if passed && short > 0 { format!("{found} ({short} lost)") } else { found.to_string() };
    Finding { what: what.to_owned(), expected: expected.to_string(), found, passed }
}

fn total(counts: &BTreeMap<String, u64>, which: impl Fn(&str) -> bool) -> u64 {
    counts.iter().filter(|(id, _)| which(id)).map(|(_, n)| n).sum()
}

#[cfg(test)]
mod tests {
    use guest_bench::{memory::Memory, storm::ToolOutput};

    use super::*;

    fn map(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
        pairs.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect()
    }

    fn report() -> StormReport {
        StormReport {
            sent: map(&[("syn.drop.accept_queue_full", 100)]),
            counters: map(&[
                ("ListenOverflows", 100),
                ("ListenDrops", 107),
                ("TCPReqQFullDrop", 7),
                ("TCPReqQFullDoCookies", 3),
            ]),
            output: ToolOutput {
                events: map(&[("syn.drop.accept_queue_full", 10)]),
                verdicts: map(&[
                    ("syn.drop.accept_queue_full", 100),
                    ("syn.drop.syn_queue_full", 7),
                    ("syn.cookie", 3),
                    ("ack.accepted", 9),
                ]),
                overflows: 100,
                not_shown: 100,
                lost: 100,
                ..ToolOutput::default()
            },
            before: Memory { rss_kib: 10_000, ..Memory::default() },
            after: Memory { most_kib: 12_000, ..Memory::default() },
            ..StormReport::default()
        }
    }

    fn failed(report: &StormReport, counts: Counts) -> Vec<String> {
        let findings = judge(report, counts).into_iter();
        findings.filter(|finding| !finding.passed).map(|finding| finding.what).collect()
    }

    #[test]
    fn what_agrees_passes() {
        assert!(failed(&report(), Counts::Kernel).is_empty());
        assert!(failed(&report(), Counts::Records).is_empty());
    }

    #[test]
    fn each_disagreement_is_found() {
        let changed = |change: fn(&mut StormReport)| {
            let mut report = report();
            change(&mut report);
            failed(&report, Counts::Kernel)
        };
        assert_eq!(changed(|a| a.output.overflows = 99), ["`overflows` of the listeners"]);
        assert_eq!(
            changed(|a| a.output.not_shown = 99),
            ["events", "sum of all losses, in the summary"]
        );
        assert_eq!(changed(|a| a.after.most_kib = 70_000), ["resident at most, KiB"]);
        assert_eq!(
            changed(|a| a.output.intervals = map(&[("syn.cookie", 1)])),
            ["sum of the intervals"]
        );
        let twice = changed(|a| *a.output.verdicts.get_mut("syn.cookie").unwrap() += 1);
        assert_eq!(twice, ["TCPReqQFullDoCookies", "events"]);
    }

    #[test]
    fn only_counts_from_records_may_lack_what_was_lost() {
        let mut report = report();
        *report.output.verdicts.get_mut("syn.drop.accept_queue_full").unwrap() = 96;
        report.output.overflows = 96;
        report.output.not_shown = 96;
        report.output.losses = map(&[("ebpf ring_full", 4)]);
        assert!(failed(&report, Counts::Records).is_empty());
        assert!(failed(&report, Counts::Kernel).contains(&"ListenOverflows".to_owned()));
        report.output.losses = map(&[("ebpf ring_full", 3)]);
        report.output.lost = 99;
        assert!(failed(&report, Counts::Records).contains(&"ListenOverflows".to_owned()));
    }
}
