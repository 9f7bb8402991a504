//! What is measured on this machine itself, by the clock: start, memory, size, replay.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};
use guest_bench::{
    job::{Amount, Job, Report, Tool, What},
    stat::{Stat, as_f64},
};
use serde::Serialize;

use crate::{arch::Arch, artifacts, exec, progress, workspace};

/// Connections of the recording that is replayed.
const CONNECTIONS: u64 = 1_000_000;
/// Starts whose median counts.
const STARTS: usize = 5;
const NOTHING: Amount = Amount { rounds: 0, healthy: 0, drops: 0 };

/// The figures.
#[derive(Debug, Serialize)]
pub struct Native {
    /// `uname -r`.
    pub kernel: String,
    /// The static binary, bytes.
    pub binary: u64,
    /// From exec to attached, ns of the wall clock; or why it cannot be measured here.
    pub attached: Result<Stat, String>,
    /// CPU until then, ns.
    pub cpu_to_attached_ns: Option<u64>,
    /// Resident when attached and idle, KiB.
    pub rss_idle_kib: Option<u64>,
    /// Of these, pages of the binary itself.
    pub rss_idle_file_kib: Option<u64>,
    /// Replays.
    pub replays: Vec<Replay>,
}

/// One replay of a recording.
#[derive(Debug, Serialize)]
pub struct Replay {
    /// What the recording holds.
    pub recording: &'static str,
    /// Options of `overflow replay`.
    pub options: &'static str,
    /// Records in it.
    pub records: u64,
    /// What it took.
    pub took: Tool,
}

impl Replay {
    /// Records for each second of CPU: on one core, whatever else the machine does.
    pub fn rate(&self) -> f64 {
        as_f64(self.records) / (as_f64(self.took.cpu_ns) / 1e9)
    }
}

/// Measures all of it; takes a minute or two.
pub fn measure() -> Result<Native> {
    let overflow = artifacts::overflow(Arch::HOST)?;
    let binary = fs::metadata(&overflow).context("cannot look at the binary")?.len();
    let kernel = exec::output(Command::new("uname").arg("-r"))?.trim().to_owned();
    let starts: Result<Vec<Tool>> = progress::step("starting overflow trace here", || {
        Ok((0..STARTS).map(|_| attach(&overflow)).collect())
    })?;
    let median = |field: fn(&Tool) -> u64| {
        let starts = starts.as_ref().ok()?;
        Some(Stat::of(starts.iter().map(field).collect()).median)
    };
    let attached = match &starts {
        Ok(starts) => Ok(Stat::of(starts.iter().map(|t| t.attached_ns).collect())),
        Err(e) => Err(format!("{e:#}")),
    };
    let cpu_to_attached_ns = median(|t| t.cpu_ns);
    let rss_idle_kib = median(|t| t.rss_kib);
    let rss_idle_file_kib = median(|t| t.rss_file_kib);
    let replays = progress::step("replaying a million half-open connections", || {
        let mut replays = Vec::new();
        for (recording, kind) in [
            ("SYN queued, SYN-ACK sent again", "half-open"),
            ("SYN queued, third ACK dropped", "dropped"),
        ] {
            let (file, records) = record(kind)?;
            for options in ["", "--summary 10"] {
                let took = replay(&overflow, &file, options)?;
                replays.push(Replay { recording, options, records, took });
            }
            fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
        }
        Ok(replays)
    })?;
    Ok(Native {
        kernel,
        binary,
        attached,
        cpu_to_attached_ns,
        rss_idle_kib,
        rss_idle_file_kib,
        replays,
    })
}

fn attach(overflow: &Path) -> Result<Tool> {
    let argv = vec![overflow.display().to_string(), "trace".to_owned()];
    run(What::Tool(argv))
}

fn replay(overflow: &Path, file: &Path, options: &str) -> Result<Tool> {
    let mut argv: Vec<_> =
        [overflow, Path::new("replay"), file].iter().map(|p| p.display().to_string()).collect();
    argv.extend(options.split_whitespace().map(str::to_owned));
    run(What::Once(argv))
}

/// A job of the guest's program, here.
fn run(what: What) -> Result<Tool> {
    let job = Job { what, load: NOTHING, settle_ms: 500, floor: false, verdicts: Vec::new() };
    let json = serde_json::to_string(&job)?;
    let out = exec::output(Command::new(artifacts::guest_bench(Arch::HOST)?).arg(json))?;
    let report: Report = serde_json::from_str(&out).context("no report came back")?;
    report.tool.context("the report says nothing of the tool")
}

/// Writes the recording: where, and how many records it holds.
fn record(kind: &str) -> Result<(std::path::PathBuf, u64)> {
    let dir = workspace::target().join("bench");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let file = dir.join(format!("{kind}.rec"));
    let mut command = Command::new(artifacts::half_open()?);
    command.arg(&file).arg(CONNECTIONS.to_string()).arg(kind);
    let records = exec::output(&mut command)?;
    Ok((file, records.trim().parse().context("half_open did not say how many records")?))
}
