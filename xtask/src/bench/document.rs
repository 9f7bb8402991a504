//! The results as a document for people.

use std::fmt::Write as _;

use guest_bench::{
    job::{Report, What},
    stat::as_f64,
};

use super::{
    Outcome, Results,
    native::Native,
    rows::Table,
    targets::{SEGMENTS, added, floor, spaced},
};

const INTRODUCTION: &str = "# Performance

Written by `cargo xtask bench`; do not edit. The same figures as data are in `performance.json`.

## How it is measured

One VM with one processor runs under `-icount shift=0,sleep=off`: its clock advances by one
nanosecond for each instruction and by nothing else, so a time is a count of instructions, what else
the host does is not in it, and a row repeats to a few instructions. A client made by hand writes
raw segments into a TUN device. The kernel handles such a segment before `write()` returns, so the
time of that call is what the passive side does for it: TCP, the hooks, their programs. Reading the
SYN-ACK, `accept()` and closing are outside.

A *healthy handshake* is the SYN and the third ACK, to a listener with room. Then a listener with
backlog 8 whose accept queue is full drops SYNs, drops third ACKs of queued requests, answers them
by an RST (`tcp_abort_on_overflow=1`), and drops third ACKs that carry a SYN cookie. The load checks
by answers and `ListenOverflows` that each segment met the fate it was meant for.

*Added* is the median with the tool minus the median without it just before in the same boot;
where the tool's own work fell into most of the windows, which share the processor with it, minimum
minus minimum. What the tool does in user space is in the column *own CPU*. *Floor* is the same with
programs that do nothing (`r0 = 0; exit`) on exactly the hooks that the tool had attached in this
boot, read back from the kernel's list of links. Instructions are not cycles: cache misses,
retpolines on real hardware and contention between processors are not in them.
";

/// The whole document.
pub fn render(results: &Results) -> String {
    let mut text = INTRODUCTION.to_owned();
    let _ = writeln!(
        text,
        "\nKernel {} in {}, `overflow` {}; {}.",
        results.kernel,
        results.qemu,
        results.overflow,
        if results.peers.is_empty() { "no peers".to_owned() } else { results.peers.join(", ") },
    );
    targets(results, &mut text);
    calibration(results, &mut text);
    overflow(results, &mut text);
    peers(results, &mut text);
    if let Some(native) = &results.native {
        natively(native, &mut text);
    }
    text
}

/// A few lines for the terminal.
pub fn short(rows: &[Outcome]) -> String {
    let mut text = String::new();
    for row in rows {
        match &row.report {
            Err(why) => {
                let _ = writeln!(text, "{:<20} not measured: {why}", row.name);
            }
            Ok(report) => {
                let cells = SEGMENTS.map(|(name, pick)| {
                    let floor = floor(report, pick).map_or(String::new(), |f| format!(" ({f})"));
                    format!("{name} {}{floor}", number(added(report, pick)))
                });
                let _ = writeln!(text, "{:<20} {}", row.name, cells.join(", "));
            }
        }
    }
    text
}

fn targets(results: &Results, text: &mut String) {
    *text += "\n## Targets\n\n";
    *text += &header(&["", "target", "measured", "", "of what it consists"]);
    for target in &results.targets {
        let measured = target.measured.map_or_else(|| "–".to_owned(), |m| figure(m, target.unit));
        let sign = if target.at_least { "≥" } else { "≤" };
        let limit = figure(target.limit, target.unit);
        let cells =
            [&target.what, &format!("{sign} {limit}"), &measured, &target.verdict(), &target.why];
        *text += &line(&cells.map(|cell| cell.replace('|', "\\|")));
    }
}

/// Rows that show whether the method reproduces.
fn calibration(results: &Results, text: &mut String) {
    *text += "\n## Does the method reproduce?\n\n";
    *text += "Empty programs on `tcp_conn_request`, `tcp_check_req` and `tcp_v4_syn_recv_sock`; in \
        brackets\nwhat an independent program measured in the same way on kernel 6.12.107, and how \
        far this is from\nit. A handshake without anything takes ";
    let nothing = results.rows.iter().find(|row| row.name == "nothing");
    let before = nothing.and_then(|row| row.report.as_ref().ok()).map(|report| &report.before);
    let _ = match before {
        Some(b) => writeln!(
            text,
            "{} instructions (21,298 there), a dropped SYN {}\n(5,214), a dropped ACK {} (4,941), \
             one that is reset {} (9,378), one with a cookie {}.",
            thousands(b.handshake.median.cast_signed()),
            thousands(b.syn_dropped.median.cast_signed()),
            thousands(b.ack_dropped.median.cast_signed()),
            thousands(b.ack_reset.median.cast_signed()),
            thousands(b.cookie_dropped.median.cast_signed()),
        ),
        None => writeln!(text, "a time that was not measured."),
    };
    *text += "\n";
    *text += &header(&["hooks", "healthy handshake", "dropped SYN", "dropped ACK"]);
    for row in in_table(results, Table::Calibration) {
        *text += &match &row.report {
            Err(why) => not_measured(row, why, 4),
            Ok(report) => line(&compared(row, report)),
        };
    }
}

/// This tool.
fn overflow(results: &Results, text: &mut String) {
    *text += "\n## overflow\n\nInstructions added, in brackets the floor; and the least, where not \
        every segment took the same way.\nAfter drops of every kind some clients may try again at \
        any time, and who recovers is to be told.\n\n";
    let mut columns = vec![""];
    columns.extend(SEGMENTS.map(|(name, _)| name));
    *text += &header(&columns);
    for row in in_table(results, Table::Overflow) {
        *text += &match &row.report {
            Err(why) => not_measured(row, why, columns.len()),
            Ok(report) => {
                let mut cells = vec![row.title.to_owned()];
                cells.extend(SEGMENTS.map(|(_, pick)| {
                    let least = pick(&report.with).least_added_to(pick(&report.before));
                    let least = least.map(|x| format!("; at least {}", thousands(x)));
                    format!(
                        "**{}** ({}{})",
                        number(added(report, pick)),
                        number(floor(report, pick)),
                        least.unwrap_or_default()
                    )
                }));
                line(&cells)
            }
        };
    }
    *text += "\n";
    consumers(results, Table::Overflow, text);
    *text += "\nHooks whose programs run for a healthy handshake, and how often:\n\n";
    for row in in_table(results, Table::Overflow) {
        let Ok(report) = &row.report else { continue };
        let _ = writeln!(text, "- {}: {}", row.title, hooks(report));
    }
}

/// What people would use instead.
fn peers(results: &Results, text: &mut String) {
    *text += "\n## What people would use instead\n\nIn the same VM. In brackets what was measured \
        on kernel 6.12.107, as above. None of these tells the\nverdicts apart; a 0 for a drop means \
        that the tool does not see it.\n\n";
    *text += &header(&["", "healthy handshake", "dropped SYN", "dropped ACK"]);
    for row in in_table(results, Table::Peers) {
        *text += &match &row.report {
            Err(why) => not_measured(row, why, 4),
            Ok(report) => line(&compared(row, report)),
        };
    }
    *text += "\n";
    consumers(results, Table::Peers, text);
    *text += "\npwru polls its queue without pause, so that its own CPU cannot be distinguished from idle.\n";
}

/// What the tools use and print beside the packet path.
fn consumers(results: &Results, table: Table, text: &mut String) {
    *text += &header(&[
        "",
        "exec to attached, s",
        "of it CPU",
        "resident, MiB",
        "at most",
        "own CPU per handshake",
        "per drop",
        "lines per handshake",
        "dropped SYN",
        "dropped ACK",
        "reset",
        "cookie",
    ]);
    for row in in_table(results, table) {
        let Ok(report) = &row.report else { continue };
        let (Some(tool), Some(consumed)) = (&report.tool, &report.with.consumed) else { continue };
        let seconds = |ns: u64| format!("{:.2}", as_f64(ns) / 1e9);
        let mib = |kib: u64| format!("{:.1}", as_f64(kib) / 1024.0);
        // What polls without pause uses all there is, whatever happens.
        let own = |ns: f64| {
            if tool.idle > 0.5 { "–".to_owned() } else { format!("{:.0}", ns.max(0.0)) }
        };
        *text += &line(&[
            row.title.to_owned(),
            seconds(tool.attached_ns),
            seconds(tool.cpu_ns),
            mib(tool.rss_kib),
            mib(tool.rss_most_kib),
            own(consumed.cpu_per_handshake),
            own(consumed.cpu_per_drop),
            format!("{:.2}", consumed.lines_per_handshake),
            format!("{:.2}", consumed.lines_per_syn_dropped),
            format!("{:.2}", consumed.lines_per_ack_dropped),
            format!("{:.2}", consumed.lines_per_ack_reset),
            format!("{:.2}", consumed.lines_per_cookie_dropped),
        ]);
    }
}

fn natively(native: &Native, text: &mut String) {
    *text += "\n## On the machine itself\n\n";
    let _ = writeln!(
        text,
        "By the wall clock or by CPU time, on kernel {}: these depend on the machine.\n",
        native.kernel
    );
    let _ = writeln!(text, "- binary: {:.1} MiB, static", as_f64(native.binary) / 1_048_576.0);
    let _ = match &native.attached {
        Ok(stat) => writeln!(
            text,
            "- exec to attached: {:.3} s, median of {}; least {:.3} s",
            as_f64(stat.median) / 1e9,
            stat.n,
            as_f64(stat.min) / 1e9
        ),
        Err(why) => writeln!(text, "- exec to attached: not measured: {why}"),
    };
    if let (Some(all), Some(file)) = (native.rss_idle_kib, native.rss_idle_file_kib) {
        let [all, file] = [all, file].map(|kib| as_f64(kib) / 1024.0);
        let _ = writeln!(
            text,
            "- resident when idle: {all:.1} MiB, of these {file:.1} MiB pages of the binary itself"
        );
    }
    *text += "\n1,000,000 connections, all half-open at once, two records each:\n\n";
    *text += &header(&["replayed", "records/s of CPU", "CPU, s", "wall, s", "resident, MiB"]);
    for replay in &native.replays {
        let took = &replay.took;
        *text += &line(&[
            format!("`overflow replay{}`: {}", spaced(replay.options), replay.recording),
            format!("{:.2} M", replay.rate() / 1e6),
            format!("{:.2}", as_f64(took.cpu_ns) / 1e9),
            format!("{:.2}", as_f64(took.wall_ns) / 1e9),
            format!("{:.1}", as_f64(took.rss_most_kib) / 1024.0),
        ]);
    }
}

fn in_table(results: &Results, table: Table) -> impl Iterator<Item = &Outcome> {
    results.rows.iter().filter(move |row| row.table == table)
}

/// A row beside what others measured.
fn compared(row: &Outcome, report: &Report) -> [String; 4] {
    let reference = row.reference.map(|r| [r.handshake, r.syn_dropped, r.ack_dropped]);
    let cell = |index: usize| {
        let here = added(report, SEGMENTS[index].1);
        let there = reference.and_then(|there| there[index]);
        match (here, there) {
            (Some(here), Some(there)) => {
                format!("**{}** ({}{})", thousands(here), thousands(there), deviation(here, there))
            }
            _ => number(here),
        }
    };
    [row.title.to_owned(), cell(0), cell(1), cell(2)]
}

/// `, +1.2 %`; nothing where there is nothing to compare with.
fn deviation(here: i64, there: i64) -> String {
    if there == 0 {
        return String::new();
    }
    let tenths = (here - there) * 1000 / there;
    let sign = if tenths < 0 { '-' } else { '+' };
    format!(", {sign}{}.{} %", tenths.abs() / 10, tenths.abs() % 10)
}

fn hooks(report: &Report) -> String {
    let runs = report.hooks.iter().filter(|hook| hook.per_handshake > 0.0);
    let shown: Vec<_> = runs
        .map(|runs| {
            let (kind, target) = (runs.hook.kind.as_str(), &runs.hook.target);
            format!("`{kind}:{target}` {:.2}", runs.per_handshake)
        })
        .collect();
    let sum: f64 = report.hooks.iter().map(|hook| hook.per_handshake).sum();
    format!("{} ({sum:.1} runs; {} hooks attached)", shown.join(", "), report.hooks.len())
}

fn not_measured(row: &Outcome, why: &str, columns: usize) -> String {
    let why = why.lines().next().unwrap_or_default().replace('|', "\\|");
    let mut cells = vec![row.title.to_owned(), format!("not measured: {why}")];
    cells.resize(columns, String::new());
    line(&cells)
}

/// The command of a row, for data.
pub fn command(what: &What) -> String {
    match what {
        What::Nothing => String::new(),
        What::Empty(hooks) => {
            let names = hooks.iter().map(|h| format!("{}:{}", h.kind.as_str(), h.target));
            names.collect::<Vec<_>>().join(" ")
        }
        What::Tool(argv) | What::Once(argv) => argv.join(" "),
    }
}

fn header(cells: &[&str]) -> String {
    let cells: Vec<String> = cells.iter().map(|&cell| cell.to_owned()).collect();
    line(&cells) + &line(&vec!["---".to_owned(); cells.len()])
}

fn line(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

fn number(x: Option<i64>) -> String {
    x.map_or_else(|| "–".to_owned(), thousands)
}

/// `-1,234`.
fn thousands(x: i64) -> String {
    let digits = x.unsigned_abs().to_string();
    let mut text = if x < 0 { "-".to_owned() } else { String::new() };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn figure(x: f64, unit: &str) -> String {
    match unit {
        "instructions" => format!("{x:.0}"),
        "lines" => format!("{x}"),
        "times" => format!("{x:.2}×"),
        _ => format!("{x:.2} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        assert_eq!(
            [0, 999, 21_298, -1_234_567].map(thousands),
            ["0", "999", "21,298", "-1,234,567"]
        );
        assert_eq!(deviation(404, 398), ", +1.5 %");
        assert_eq!(deviation(390, 398), ", -2.0 %");
        assert_eq!(deviation(3, 0), "");
        assert_eq!(line(&["a".to_owned(), "b".to_owned()]), "| a | b |\n");
    }
}
