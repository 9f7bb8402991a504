//! `cargo xtask bench`: what tracing costs a handshake in instructions, beside what others cost,
//! and what the tool itself takes; as a document.

mod document;
mod libraries;
mod native;
mod peers;
mod rows;
mod targets;

use std::{fs, path::Path, process::Command, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use guest_bench::job::{Amount, Report};
use serde::Serialize;

use crate::{
    arch::Arch,
    artifacts, exec, guest, progress, setup,
    vm::{JobOutput, Options},
    vm_pool::{self, Batch},
    workspace,
};
use native::Native;
use peers::Peers;
use rows::{Reference, Row, Table};
use targets::Target;

/// What `--quick` drives.
const QUICK: Amount = Amount { rounds: 1, healthy: 300, drops: 50 };

/// Arguments of `cargo xtask bench`.
#[derive(Args)]
pub struct BenchArgs {
    /// Kernel to boot, as in `cargo xtask run --vm`
    #[arg(long, value_name = "KERNEL", default_value = "6.12")]
    kernel: String,
    /// Architecture of the machine; of another than this one's, only what is measured in it, and the
    /// document is written to target/bench/
    #[arg(long, value_name = "ARCH", default_value_t = Arch::HOST, value_enum)]
    arch: Arch,
    /// Only these rows; the document is then written to target/bench/
    #[arg(long, value_name = "ROW", value_delimiter = ',')]
    only: Vec<String>,
    /// Only the default trace, with less load, and nothing native
    #[arg(long, conflicts_with = "only")]
    quick: bool,
    /// Only what is measured in the VM
    #[arg(long)]
    no_native: bool,
    /// Only what is measured natively
    #[arg(long, conflicts_with_all = ["only", "quick", "no_native"])]
    no_vm: bool,
    /// Show the rows there are
    #[arg(long)]
    list: bool,
}

/// Everything that came out.
#[derive(Serialize)]
pub struct Results {
    /// The kernel package's version.
    kernel: String,
    qemu: String,
    /// The tool's version.
    overflow: String,
    /// Packages of the peers, with versions.
    peers: Vec<String>,
    targets: Vec<Target>,
    rows: Vec<Outcome>,
    native: Option<Native>,
}

/// What came of one row.
#[derive(Serialize)]
pub struct Outcome {
    name: &'static str,
    title: &'static str,
    table: Table,
    /// What was attached.
    command: String,
    reference: Option<Reference>,
    report: Result<Report, String>,
}

/// Measures, and writes docs/performance.md and docs/performance.json, or a part to target/bench/.
pub fn bench(args: &BenchArgs) -> Result<ExitCode> {
    let mut rows = rows::all();
    if args.list {
        for row in &rows {
            println!("{:<20} {}", row.name, row.title);
        }
        return Ok(ExitCode::SUCCESS);
    }
    setup::build_tools()?;
    let foreign = args.arch != Arch::HOST;
    let natively = !(args.quick || args.no_native || foreign || !args.only.is_empty());
    let part = args.no_vm || !natively;
    choose(&mut rows, args)?;
    let peers = if rows.iter().any(|row| row.table == Table::Peers) {
        peers::obtain(args.arch)
    } else {
        Ok(Peers { versions: Vec::new(), programs: Vec::new() })
    };
    let (kernel, rows) = if args.no_vm {
        (String::new(), Vec::new())
    } else {
        in_vm((&args.kernel, args.arch), rows, &peers)?
    };
    print!("{}", document::short(&rows));
    // What the VM showed is kept whatever happens here.
    let native = natively.then(native::measure).and_then(|measured| {
        measured.map_err(|e| progress::note(&format!("not measured natively: {e:#}"))).ok()
    });
    let results = Results {
        kernel,
        qemu: version_of(args.arch.qemu().program())?,
        overflow: overflow_version(args.arch)?,
        peers: peers.map(|peers| peers.versions).unwrap_or_default(),
        targets: targets::all(&rows, native.as_ref()),
        rows,
        native,
    };
    for target in &results.targets {
        println!("{:<24} {}", target.verdict(), target.what);
    }
    let dir = if part { workspace::target().join("bench") } else { workspace::root().join("docs") };
    write(&dir, &results)?;
    let missing = results.rows.iter().filter(|row| row.report.is_err()).count()
        + usize::from(natively && results.native.is_none());
    if missing > 0 {
        progress::note(&format!("{missing} of what was to be measured is missing, see above"));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn choose(rows: &mut Vec<Row>, args: &BenchArgs) -> Result<()> {
    if let Some(unknown) = args.only.iter().find(|name| !rows.iter().any(|r| r.name == **name)) {
        bail!("there is no row {unknown}; `cargo xtask bench --list` names them");
    }
    if !args.only.is_empty() {
        rows.retain(|row| args.only.iter().any(|name| row.name == name));
    }
    if args.no_vm {
        rows.clear();
    }
    if args.quick {
        rows.retain(|row| row.name == "trace");
        for row in rows {
            row.job.load = QUICK;
        }
    }
    Ok(())
}

/// Runs the rows in one boot, unless the machine dies of one. The kernel's version, and the rows.
fn in_vm(
    (kernel, arch): (&str, Arch),
    rows: Vec<Row>,
    peers: &Result<Peers>,
) -> Result<(String, Vec<Outcome>)> {
    let (possible, impossible): (Vec<Row>, Vec<Row>) =
        rows.into_iter().partition(|row| row.table != Table::Peers || peers.is_ok());
    let mut programs = guest::programs(arch)?;
    let with_peers = possible.iter().any(|row| row.table == Table::Peers);
    if let (true, Ok(peers)) = (with_peers, peers) {
        programs.extend(peers.programs.iter().cloned());
    }
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    let options = Options {
        arch,
        label: Some("bench".into()),
        // bpftrace brings a compiler, which lies in memory twice: packed and unpacked.
        memory: if with_peers { 3072 } else { 1024 },
        // One nanosecond an instruction: times are counts.
        qemu: words("-icount shift=0,sleep=off -rtc base=2026-01-01,clock=vm -seed 1"),
        cmdline: words("quiet loglevel=0 nokaslr random.trust_cpu=on"),
        programs,
        boot_limit: Duration::from_mins(10),
        job_limit: Duration::from_mins(30),
        ..Options::default()
    };
    let argv = |row: &Row| guest::argv(&[], &row.job);
    let jobs = possible.iter().map(argv).collect::<Result<_>>()?;
    let batch = Batch { kernel: kernel.to_owned(), jobs };
    let ended = |_: usize, job: usize, _: &JobOutput| {
        progress::note(&format!("measured: {}", possible[job].title));
    };
    let ran = vm_pool::run(&[batch], 1, &options, &ended).pop().context("nothing was run")??;
    let mut outcomes: Vec<Outcome> = possible
        .iter()
        .zip(ran.outputs)
        .map(|(row, output)| outcome(row, output.and_then(|output| guest::report(&output))))
        .collect();
    if let Err(why) = peers {
        let failed = |row| outcome(row, Err(anyhow::anyhow!("{why:#}")));
        outcomes.extend(impossible.iter().map(failed));
    }
    Ok((ran.version, outcomes))
}

fn outcome(row: &Row, report: Result<Report>) -> Outcome {
    Outcome {
        name: row.name,
        title: row.title,
        table: row.table,
        command: document::command(&row.job.what),
        reference: row.reference,
        report: report.map_err(|e| format!("{e:#}")),
    }
}

/// Of another architecture's it is only known that it was built here.
fn overflow_version(arch: Arch) -> Result<String> {
    if arch != Arch::HOST {
        return Ok(env!("CARGO_PKG_VERSION").to_owned());
    }
    version_of(&artifacts::overflow(arch)?.display().to_string())
}

fn version_of(program: &str) -> Result<String> {
    let output = exec::output(Command::new(program).arg("--version"))?;
    let first = output.lines().next().unwrap_or_default();
    Ok(first.trim_start_matches("overflow ").to_owned())
}

fn write(dir: &Path, results: &Results) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let json = serde_json::to_string_pretty(results)? + "\n";
    for (name, text) in [("performance.md", document::render(results)), ("performance.json", json)]
    {
        let path = dir.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        progress::note(&format!("wrote {}", path.display()));
    }
    Ok(())
}
