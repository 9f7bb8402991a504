//! `overflow lab`: the experiment, traced, witnessed, explained.

mod args;
mod model_report;
mod progress;
mod random;
mod run;
mod scenarios;
mod recording;

use std::{
    fs::File,
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use anyhow::{Context, Result};

pub use args::{LabArgs, RungChoice};
use recording::LabRecording;
use run::Finished;

use super::OutputFormat;
use overflow_lab::report::{Report, json, pcapng, text};

/// Runs the lab. Exit code 1 if witnesses disagree, or the model with them.
pub(super) fn run(args: &LabArgs) -> Result<ExitCode> {
    if args.list_scenarios {
        scenarios::list(args.output)?;
        return Ok(ExitCode::SUCCESS);
    }
    // Before anything runs: a capture that cannot be written is no reason to wait for it.
    let capture = match &args.pcap {
        Some(path) => Some(
            File::create(path)
                .with_context(|| format!("cannot write the capture to {}", path.display()))?,
        ),
        None => None,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let tape = LabRecording::new(args.record.clone());
    let lab = |configs| runtime.block_on(run::run(args, configs, &tape));
    // Before anything runs: a kernel that the model does not know is no reason to wait either.
    let model = if args.check_model { Some(model_report::Model::of_this_host()?) } else { None };
    if let Some(n) = args.random {
        return random::run(args, n, model, lab);
    }
    if !args.scenario.is_empty() {
        let code = scenarios::run(args, capture, lab)?;
        tape.end()?;
        return Ok(code);
    }
    let report = match lab(args.cells())? {
        Finished::Report(report) => report,
        Finished::Interrupted => return Ok(interrupted()),
    };
    tape.end()?;
    save(capture, &report, args)?;
    print(&report, args)?;
    let predicted = model.is_none_or(|mut model| {
        let (text, right) = model.report(&report);
        match args.output {
            OutputFormat::Text => print!("{text}"),
            OutputFormat::Json => eprint!("{text}"),
        }
        right
    });
    Ok(ExitCode::from(u8::from(!(report.agree() && predicted))))
}

fn interrupted() -> ExitCode {
    eprintln!("overflow: interrupted; the namespaces, links and hooks are gone");
    ExitCode::from(1)
}

fn save(capture: Option<File>, report: &Report, args: &LabArgs) -> Result<()> {
    if let (Some(file), Some(path)) = (capture, &args.pcap) {
        pcapng::report(file, report, wall_offset_ns())
            .with_context(|| format!("cannot write the capture to {}", path.display()))?;
    }
    Ok(())
}

fn print(report: &Report, args: &LabArgs) -> Result<()> {
    let stdout = io::stdout();
    let terminal = stdout.is_terminal();
    let mut out = io::BufWriter::new(stdout.lock());
    match args.output {
        OutputFormat::Json => json::report(&mut out, report)?,
        OutputFormat::Text => {
            text::report(&mut out, report, super::style::options(terminal))?;
        }
    }
    out.flush()?;
    Ok(())
}

/// CLOCK_REALTIME minus CLOCK_MONOTONIC, nanoseconds: captures carry the time of day.
fn wall_offset_ns() -> i64 {
    use rustix::time::{ClockId, Timespec, clock_gettime};
    let ns = |t: Timespec| t.tv_sec * 1_000_000_000 + t.tv_nsec;
    ns(clock_gettime(ClockId::Realtime)) - ns(clock_gettime(ClockId::Monotonic))
}
