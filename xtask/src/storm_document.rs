//! docs/storm.md and docs/storm.json: what storms and the soak showed, each written by its command.

use std::{fmt::Write as _, fs, io::ErrorKind};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::{
    progress,
    soak::{Soaked, Thirds},
    storm::{Stormed, Storms},
    workspace,
};

const INTRODUCTION: &str = "# Storm and soak

Written by `cargo xtask storm` and `cargo xtask soak`; do not edit. The same figures as data are in
`storm.json`.

A storm is hundreds of thousands of segments that the queues drop or refuse, from many addresses and
ports, as fast as the machine takes them, while `overflow trace` runs in the same VM: six in ten are
SYNs to a full accept queue; the rest are SYNs to a full SYN queue, answered by a cookie or dropped,
and third ACKs dropped, answered by an RST (`tcp_abort_on_overflow=1`), or dropped with their cookie.
Then the tool's counts are compared with the kernel's counters, and with what was sent. Where the
tool counts from records, it may lack as many as it says were lost, and no more; where it counts in
the kernel, none. Every event is shown, or counted as not shown, or as lost. The bound of memory is
that of [requirements.md](requirements.md#memory) on top of what the tool had before the storm.
The VM's clock advances by four nanoseconds for each instruction, and skips idle time.
";

/// Everything in the document.
#[derive(Default, Serialize, Deserialize)]
pub struct Document {
    /// By kernel, rung and processors.
    storms: Vec<Storms>,
    /// The last soak.
    pub soak: Option<Soaked>,
}

impl Document {
    /// Changes what is documented, and writes it; what is no whole measurement to target/storm/.
    pub fn update(whole: bool, change: impl FnOnce(&mut Self)) -> Result<()> {
        let dir =
            if whole { workspace::root().join("docs") } else { workspace::target().join("storm") };
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let json = dir.join("storm.json");
        let mut document = match fs::read(&json) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{} is not as written here", json.display()))?,
            Err(e) if e.kind() == ErrorKind::NotFound => Self::default(),
            Err(e) => return Err(e).with_context(|| format!("cannot read {}", json.display())),
        };
        change(&mut document);
        let text = serde_json::to_string_pretty(&document)? + "\n";
        for (path, text) in [(json, text), (dir.join("storm.md"), document.render())] {
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            progress::note(&format!("wrote {}", path.display()));
        }
        Ok(())
    }

    /// Takes the place of the storms on the same kernel, by the same rung and processors.
    pub fn put(&mut self, storms: Storms) {
        let key = |s: &Storms| (s.kernel.clone(), s.rung.clone(), s.smp);
        self.storms.retain(|other| key(other) != key(&storms));
        self.storms.push(storms);
        self.storms.sort_by_key(key);
    }

    fn render(&self) -> String {
        let mut text = INTRODUCTION.to_owned();
        for storms in &self.storms {
            let _ = write!(text, "\n## Storm: {}\n", title(storms));
            for stormed in &storms.ways {
                let _ = write!(text, "\n`{}`", stormed.command);
                text += &took(stormed);
                text += "\n\n|  | expected | found |  |\n|---|---|---|---|\n";
                for f in stormed.findings() {
                    let verdict = verdict(f.passed);
                    let _ =
                        writeln!(text, "| {} | {} | {} | {verdict} |", f.what, f.expected, f.found);
                }
            }
        }
        if let Some(soaked) = &self.soak {
            let _ = write!(
                text,
                "\n## Soak: kernel {}\n\n{INTRODUCTION_SOAK}\n```text\n",
                soaked.kernel
            );
            text += &soak(soaked);
            text += "```\n";
        }
        text
    }
}

const INTRODUCTION_SOAK: &str = "\
In each second of the VM's clock a burst of healthy handshakes and of every way to overflow, each at a
listener opened for it and closed after it, on a hundred ports in turn; the metrics are read every
15 s. Memory is that of all processes of the tool together, at the end of each minute. It is flat if
the most of the last third is no more than the most of the first, after a warm-up.
";

/// Storms for the terminal.
pub fn terminal(storms: &Storms) -> String {
    let mut text = format!("{}\n", title(storms));
    for stormed in &storms.ways {
        let _ = writeln!(text, "\n{}{}", stormed.command, took(stormed));
        for f in stormed.findings() {
            let (verdict, what) = (verdict(f.passed), &f.what);
            let _ = writeln!(
                text,
                "  {verdict:<6}  {what:<36}  {}  (expected {})",
                f.found, f.expected
            );
        }
    }
    text
}

/// The samples of a soak, and the judgement.
pub fn soak(soaked: &Soaked) -> String {
    let report = &soaked.report;
    let mut text = format!("{}\n\nminute  processes  VmRSS, KiB  RssAnon, KiB\n", soaked.command);
    for (minute, m) in report.samples.iter().enumerate() {
        let (rss, anon) = (m.rss_kib, m.anon_kib);
        let _ = writeln!(text, "{minute:>6}  {:>9}  {rss:>10}  {anon:>12}", m.processes);
    }
    text.push('\n');
    for (name, figure) in [
        ("VmRSS", (|m| m.rss_kib) as fn(&guest_bench::memory::Memory) -> u64),
        ("RssAnon", |m| m.anon_kib),
    ] {
        let Some(t) = Thirds::of(&report.samples, figure) else { continue };
        let verdict = verdict(t.flat());
        let (first, last) = (t.first_kib, t.last_kib);
        let _ = writeln!(
            text,
            "{verdict:<6}  {name}: most of the first third {first} KiB, of the last {last} KiB"
        );
    }
    let _ = writeln!(
        text,
        "{:<6}  the metrics have {} overflows, the kernel {}",
        verdict(soaked.counted()),
        report.metrics_overflows,
        report.overflows,
    );
    let _ = writeln!(
        text,
        "\n{} lines printed, metrics read {} times; the load:",
        report.lines, report.scrapes
    );
    for (what, n) in &report.load {
        let _ = writeln!(text, "{n:>8}  {what}");
    }
    if !report.stderr.is_empty() {
        let _ = writeln!(text, "standard error: {}", report.stderr);
    }
    text
}

fn title(storms: &Storms) -> String {
    let Storms { kernel, rung, smp, syns, .. } = storms;
    let rung = if rung == "best" { "best rung" } else { rung };
    format!("kernel {kernel}, {rung}, {smp} CPU, {syns} segments")
}

fn took(stormed: &Stormed) -> String {
    let Ok(report) = &stormed.report else { return String::new() };
    let losses = report.output.losses.iter().map(|(what, n)| format!("; lost {n} {what}"));
    format!(" ({} ms of the VM's clock{})", report.took_ns / 1_000_000, losses.collect::<String>())
}

fn verdict(passed: bool) -> &'static str {
    if passed { "pass" } else { "FAILED" }
}
