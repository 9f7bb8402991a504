//! The matrix as a document for people.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use crate::arch::Arch;

use super::{
    Tracing,
    cell::{Ended, Histories},
    describe,
    seed::{CELLS, PREFILLS, Seeds},
    table::{Kernel, Scenario, Table},
};

const INTRODUCTION: &str = "Every scenario of `overflow lab` on every kernel, by
every rung (fentry, kprobe, tracepoint, and two more, see below) and family (IPv4, IPv6, IPv4 clients of a dual-stack
listener), in QEMU. A cell is as expected if every connection went through exactly the stages that
the scenario names and eBPF, packets, counters and sockets agree. The cells one by one are in
";

const SEED: &str = "
## The seed experiment

Backlog 1, five clients at once, delay 200 ms, nobody accepts; 8 s. One letter for each client: **A**
in the accept queue, **R** reset on the third ACK, **D** third ACK dropped and SYN-ACK sent again,
**C** third ACK with a cookie dropped silently, **S** SYN dropped throughout; `*` a retransmitted SYN
was answered: whose comes first is a matter of timers that fire together, so these are written first.

Rows marked *measured* are kernels that do not boot here: CentOS 7 and RHEL 8 and the stable
releases 4.4 and 5.4 were built from source and measured by packet capture alone, as
`overflow-user/tests/data/ground-truth/README.md` tells. *Booted* rows were traced here, with the same
outcome each time: by fentry and by kprobe on IPv4, by kprobe on IPv6, by tracepoints for IPv4 clients
of a dual-stack listener; by kprobes as on 5.4, and not at all, on IPv4 (`old` and `untraced` below).
";

/// The whole document.
pub fn render(table: &Table, arch: Arch) -> String {
    let mut text = introduction(arch);
    let _ = writeln!(text, "\n{}.", table.in_short());
    overview(table, &mut text);
    seed(table, &mut text);
    rungs(table, &mut text);
    rungs_compared(table, &mut text);
    text += "\n## What came out\n";
    for scenario in &table.scenarios {
        outcome(table, scenario, &mut text);
    }
    if !table.failures.is_empty() {
        text += "\n## Runs that failed\n\n";
        for failure in &table.failures {
            let _ = writeln!(text, "- {}", failure.lines().next().unwrap_or_default());
        }
    }
    text
}

fn introduction(arch: Arch) -> String {
    let (title, command, more) = match arch {
        Arch::Amd64 => ("", "", ""),
        Arch::Arm64 => (
            " of arm64",
            " --arch arm64",
            "\nBefore 6.4 no function of an arm64 kernel can have a trampoline (2aa6ac03516d), so there \
             are kprobes\nand tracepoints alone. A name that ends in `16k` is a kernel with pages of \
             16 KiB.\n",
        ),
    };
    let suffix = arch.suffix();
    format!(
        "# Kernel matrix{title}\n\nWritten by `cargo xtask matrix{command}`; do not edit. \
         {INTRODUCTION}`kernel-matrix{suffix}.json`.\n{more}"
    )
}

fn header(first: &str, rest: &[&str]) -> String {
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
    };
    let dashes = line(&mut std::iter::repeat_n("---", rest.len() + 1));
    line(&mut std::iter::once(first).chain(rest.iter().copied())) + &dashes
}

/// Scenarios by kernels.
fn overview(table: &Table, text: &mut String) {
    *text += "\n## Cells as expected\n\nOf all rungs and families; – is unavailable.\n\n";
    let versions: Vec<_> = table.kernels.iter().map(Kernel::name).collect();
    *text += &header("scenario", &versions);
    for scenario in &table.scenarios {
        let cells = (0..table.kernels.len()).map(|kernel| tally(scenario, kernel));
        let cells = cells.collect::<Vec<_>>().join(" | ");
        let _ = writeln!(text, "| `{}` | {cells} |", scenario.name);
    }
    let mut reasons: BTreeMap<&str, (BTreeSet<&str>, BTreeSet<usize>)> = BTreeMap::new();
    for scenario in &table.scenarios {
        for ((kernel, _), ended) in &scenario.cells {
            if let Ended::Unavailable(why) = ended {
                let (scenarios, kernels) = reasons.entry(why).or_default();
                scenarios.insert(&scenario.name);
                kernels.insert(*kernel);
            }
        }
    }
    if !reasons.is_empty() {
        *text += "\nUnavailable:\n\n";
    }
    for (why, (scenarios, kernels)) in reasons {
        let scenarios: Vec<_> = scenarios.iter().map(|name| format!("`{name}`")).collect();
        let kernels: Vec<_> = kernels.iter().map(|&kernel| table.version(kernel)).collect();
        let _ = writeln!(text, "- {} on {}: {why}.", scenarios.join(", "), kernels.join(", "));
    }
}

fn tally(scenario: &Scenario, kernel: usize) -> String {
    let cells = || scenario.cells.iter().filter(|((k, _), _)| *k == kernel).map(|(_, e)| e);
    let ran = cells().filter(|e| !matches!(e, Ended::Unavailable(_))).count();
    let hold = cells().filter(|e| matches!(e, Ended::Holds(_))).count();
    match (ran, hold) {
        (0, _) => "–".to_owned(),
        (ran, hold) if ran == hold => format!("{hold}/{ran}"),
        (ran, hold) => format!("**{hold}/{ran}**"),
    }
}

fn seed(table: &Table, text: &mut String) {
    *text += SEED;
    for (row, prefill) in PREFILLS.iter().enumerate() {
        let queue = match prefill {
            0 => "an empty accept queue".to_owned(),
            n => format!("{n} connection in the accept queue before the burst: one slot left"),
        };
        let _ = writeln!(text, "\nWith {queue}:\n");
        let names: Vec<_> = CELLS
            .iter()
            .map(|(syncookies, abort)| format!("syncookies={syncookies} abort={abort}"))
            .collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        *text += &header("kernel", &names);
        for measured in table.measured.iter().filter(|m| !m.bootable) {
            seed_row(&format!("{} *measured*", measured.kernel), &measured.seeds, row, text);
        }
        for kernel in &table.kernels {
            match kernel.agreed_seeds() {
                Some(seeds) => seed_row(&format!("{} *booted*", kernel.name()), &seeds, row, text),
                None => {
                    let _ = writeln!(text, "| {} | rungs or families differ |", kernel.name());
                }
            }
        }
    }
    *text += "\n3.10 has no SYN queue limit below 16 requests, so all five are requests, and \
              `tcp_check_req` reads `tcp_abort_on_overflow`. Since ef547f2ac16b (v4.4) the backlog \
              limits the SYN queue as well: what does not fit gets a cookie, or with syncookies=0 \
              nothing, and the cookie's way never reads the sysctl.\n\nMeasured and booted kernels \
              of the same series: ";
    let series: Vec<_> = table.measured.iter().filter(|m| m.bootable).map(|m| m.kernel).collect();
    let _ = writeln!(
        text,
        "{} were measured as well; every booted kernel behaves as one of them.",
        series.join(", ")
    );
}

fn seed_row(kernel: &str, seeds: &Seeds, row: usize, text: &mut String) {
    let cells: Vec<_> = seeds[row].iter().map(|letters| format!("`{letters}`")).collect();
    let _ = writeln!(text, "| {kernel} | {} |", cells.join(" | "));
}

fn rungs(table: &Table, text: &mut String) {
    *text += "\n## What each rung sees\n\nSYN-ACK retransmissions are always seen by \
              `tp_btf:tcp_retransmit_synack`, RSTs to waiting children by `tp_btf:tcp_receive_reset`.\n\n";
    let rungs: BTreeSet<Tracing> =
        table.kernels.iter().flat_map(|k| k.hooks.keys().copied()).collect();
    for rung in rungs {
        let _ = writeln!(text, "- **{}**: {}", rung.name(), describe::rung(rung));
        let mut lines: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for kernel in &table.kernels {
            if let Some(line) = hooks_line(kernel, rung) {
                lines.entry(line).or_default().push(kernel.name());
            }
        }
        for (line, kernels) in lines {
            let _ = writeln!(text, "  - {}: {line}.", among(table, &kernels));
        }
    }
}

/// Whether two rungs saw the same.
fn rungs_compared(table: &Table, text: &mut String) {
    let (identical, compared) = table.identical_runs();
    if compared == 0 {
        return;
    }
    let _ = writeln!(
        text,
        "\nfentry and kprobe: identical in {identical} of {compared} runs, each of a scenario or a \
         cell of the seed experiment on the same kernel and family. Compared is each connection's \
         every record: the path, which values were read, and each of them; and its every stage: how \
         it is known, the functions gone through, how often it came again. Only times, addresses and \
         sequence numbers may differ, and which client of a burst was which, or first when timers \
         fire together; and, where the application accepts meanwhile, the length of the accept \
         queue, which is a race between \
         `accept()` and the next segment."
    );
    let mut differences: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for compared in &table.comparisons {
        if let Some(difference) = &compared.difference {
            differences.entry(difference).or_default().push(&compared.what);
        }
    }
    if !differences.is_empty() {
        *text += "\n";
    }
    for (difference, places) in differences {
        let _ = writeln!(text, "- {}: {difference}.", places.join("; "));
    }
}

/// Names of kernels, or that it is all of them.
fn among(table: &Table, kernels: &[&str]) -> String {
    if kernels.len() == table.kernels.len() {
        "Every kernel".to_owned()
    } else {
        kernels.join(", ")
    }
}

/// Hooks of another rung that stand in, and hook points without a hook.
fn hooks_line(kernel: &Kernel, rung: Tracing) -> Option<String> {
    let hooks = kernel.hooks.get(&rung)?;
    let own: &[&str] = match rung {
        Tracing::Fentry => &["fentry", "fexit"],
        Tracing::Kprobe | Tracing::Old => &["kprobe", "kretprobe"],
        Tracing::Tracepoint => &["tp_btf"],
        Tracing::Untraced => return None,
    };
    let foreign = hooks.iter().map(|(_, hook)| hook).filter(|hook| {
        if describe::ALWAYS_TRACEPOINTS.contains(&hook.as_str()) {
            return false;
        }
        let kind = hook.split(':').next().unwrap_or_default();
        !own.contains(&kind)
    });
    let foreign: BTreeSet<_> = foreign.map(|hook| format!("`{hook}`")).collect();
    let seen: BTreeSet<_> = hooks.iter().map(|(point, _)| point).collect();
    let all = kernel.hooks.values().flatten().map(|(point, _)| point);
    let missing: BTreeSet<_> = all.filter(|point| !seen.contains(point)).cloned().collect();
    let join = |set: BTreeSet<String>| set.into_iter().collect::<Vec<_>>().join(", ");
    let mut parts = Vec::new();
    if !foreign.is_empty() {
        parts.push(format!("{} stand in", join(foreign)));
    }
    if !missing.is_empty() {
        parts.push(format!("no hook for {}", join(missing)));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// One scenario: what came out, where, and why kernels differ.
fn outcome(table: &Table, scenario: &Scenario, text: &mut String) {
    let _ = writeln!(text, "\n### `{}`\n\n{}.\n", scenario.name, scenario.shows);
    let groups = scenario.by_outcome(table.kernels.len());
    for (histories, kernels) in &groups {
        let names: Vec<_> = kernels.iter().map(|&k| table.version(k)).collect();
        let _ = writeln!(text, "- {}: {}", among(table, &names), listed(histories));
    }
    if groups.len() > 1 {
        let why =
            describe::difference(&scenario.name).unwrap_or("Why kernels differ is not known.");
        let _ = writeln!(text, "\n{why}");
    }
    let mut weaker: BTreeSet<String> = BTreeSet::new();
    for kernel in 0..table.kernels.len() {
        let best = scenario.best(kernel);
        for (place, histories) in scenario.ran(kernel).filter(|(_, s)| Some(*s) != best) {
            weaker.insert(format!("- by {}: {}", place.rung.name(), listed(histories)));
        }
    }
    if !weaker.is_empty() {
        *text += "\nElsewhere seen as:\n\n";
        for line in weaker {
            let _ = writeln!(text, "{line}");
        }
    }
    let mut differing: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for ((kernel, place), ended) in &scenario.cells {
        if let Ended::Differs(_, why) = ended {
            let (rung, family) = (place.rung.name(), place.family.name());
            let at = format!("{} {rung} {family}", table.version(*kernel));
            differing.entry(in_short(why)).or_default().push(at);
        }
    }
    if !differing.is_empty() {
        *text += "\nNot as expected:\n\n";
    }
    for (why, places) in differing {
        let _ = writeln!(text, "- {}: {why}", places.join(", "));
    }
}

/// The first difference, which the others mostly follow from, without the client that had it.
fn in_short(why: &[String]) -> String {
    let Some(first) = why.first() else { return "it does not say why".to_owned() };
    let first = match first.split_once(": ") {
        Some((client, rest)) if !client.contains(' ') => rest,
        _ => first,
    };
    match why.len() {
        1 => first.to_owned(),
        n => format!("{first}; and {} more, in the JSON file", n - 1),
    }
}

fn listed(histories: &Histories) -> String {
    let each = histories.iter().map(|(history, n)| format!("{n} × `{history}`"));
    each.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::matrix::{Family, cell::Place, compare_rungs::Compared};

    fn table() -> Table {
        let hooks = |list: &[(&str, &str)]| {
            list.iter().map(|(m, h)| ((*m).to_owned(), (*h).to_owned())).collect()
        };
        let kernel = |version: &str| Kernel {
            version: version.to_owned(),
            hooks: BTreeMap::from([
                (Tracing::Fentry, hooks(&[("SYN", "fexit:a"), ("accept()", "kretprobe:b")])),
                (Tracing::Tracepoint, hooks(&[("SYN", "tp_btf:c")])),
            ]),
            ..Kernel::default()
        };
        let place = |rung| Place { rung, family: Family::Ipv4 };
        let one = |history: &str| Histories::from([(history.to_owned(), 3)]);
        let cells = BTreeMap::from([
            ((0, place(Tracing::Fentry)), Ended::Holds(one("a"))),
            (
                (0, place(Tracing::Tracepoint)),
                Ended::Differs(one("b"), vec!["10.7.0.1:1: b is odd".to_owned()]),
            ),
            ((1, place(Tracing::Fentry)), Ended::Unavailable("too old".to_owned())),
        ]);
        Table {
            kernels: vec![kernel("5.10-1"), kernel("6.1-1")],
            scenarios: vec![Scenario { name: "s".into(), shows: "Shows".into(), cells }],
            comparisons: [None, Some("x is 1 by fentry, 2 by kprobe".to_owned())]
                .map(|difference| Compared { what: "6.1-1, ipv4, r".to_owned(), difference })
                .into(),
            ..Table::default()
        }
    }

    #[test]
    fn a_reader_finds_faults_gaps_and_stand_ins() {
        let text = render(&table(), Arch::Amd64);
        for expected in [
            "| `s` | **1/2** | – |",
            "- `s` on 6.1-1: too old.",
            "  - Every kernel: `kretprobe:b` stand in.",
            "  - Every kernel: no hook for accept().",
            "- 5.10-1: 3 × `a`",
            "- by tracepoint: 3 × `b`",
            "- 5.10-1 tracepoint ipv4: b is odd",
            "fentry and kprobe: identical in 1 of 2 runs",
            "- 6.1-1, ipv4, r: x is 1 by fentry, 2 by kprobe.",
        ] {
            assert!(text.contains(expected), "{expected} is not in:\n{text}");
        }
    }
}
