//! A storm's judgement: sums, namespace by namespace.

use guest_cases::{job::Report, said};
use overflow_core::{
    loss::Loss,
    verdict::{Counter, VerdictId},
};

use crate::{cases::case::Mode, rung::Rung};

/// Whether what was told of each namespace of a storm is what it counted.
pub(super) fn storm(report: &Report, mode: Mode, rung: Rung) -> Vec<String> {
    let mut wrong = Vec::new();
    // A program at a kprobe is skipped while another runs on its CPU, or while a system call reads a
    // map there (bpf_prog_active, trace_call_bpf in kernel/trace/bpf_trace.c): nobody can help it,
    // and it is said.
    let missed = |what: &str| rung == Rung::Kprobe && what.ends_with("hook_missed");
    // Whose the listeners are is not asked here. Four emulated processors on two busy ones may take
    // more than seconds to look at 200 namespaces, and longer to read every handshake's record than
    // to make it: both is said, and every sum must be exact all the same.
    let slow = |what: &str| {
        what == Loss::StaleOwners.id() || mode == Mode::All && what.ends_with("ring_full")
    };
    let losses = report.said.losses.iter().filter(|(what, _)| !slow(what));
    let (excused, lost): (Vec<_>, Vec<_>) = losses.partition(|(what, _)| missed(what));
    wrong.extend(lost.iter().map(|(what, count)| format!("said that {count} {what} were lost")));
    let excused: u64 = excused.iter().map(|(_, count)| **count).sum();
    for counter in [Counter::ListenOverflows, Counter::ListenDrops, Counter::ReqQFullDrop] {
        let (mut first, mut namespaces, mut all) = (None, 0, (0, 0));
        for (netns, counted) in &report.storm {
            let rose = counted.get(counter.as_str()).copied().unwrap_or(0);
            let of = report.said.totals.iter().filter(|t| t.charged.netns == Some(*netns));
            let counts = |told: &&said::Told| {
                VerdictId::parse(&told.id).is_some_and(|id| {
                    id.counts(counter)
                        || id == VerdictId::SynDropOther && counter == Counter::ListenDrops
                })
            };
            let told: u64 = of.filter(counts).map(|told| told.count).sum();
            all = (all.0 + told, all.1 + rose);
            if told != rose {
                first.get_or_insert((told, rose));
                namespaces += 1;
            }
        }
        let name = counter.as_str();
        if all.0 < all.1 && all.1 - all.0 <= excused {
            continue;
        }
        if let Some((told, rose)) = first {
            wrong.push(format!(
                "{name} of {namespaces} namespaces of {} differ, as {told} told of {rose}; {} of {} \
                 in all",
                report.storm.len(), all.0, all.1
            ));
        } else if all.1 == 0 {
            wrong.push(format!("the case is void: {name} did not rise"));
        }
    }
    wrong
}
