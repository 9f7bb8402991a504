//! `overflow lab`: the experiment, traced, witnessed, explained.

mod args;
mod model_report;
mod progress;
mod random;
mod recording;
mod scenarios;
mod tracer;

use std::{
    fs::File,
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use anyhow::{Context, Result};

pub(super) use args::{LabArgs, RungChoice};
use progress::Line;
use recording::LabRecording;
use tracer::LabTracing;

use super::{OutputFormat, connection_text, report::PageFile};
use overflow_core::wire;
use overflow_host::files::Existing;
use overflow_lab::{
    CellConfig, HostModel,
    report::{Report, lines, pcapng, text},
    run::{self, ATTEMPTS, Finished},
};
use overflow_report::Collector;

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
    let existing = Existing::overwritten_if(args.overwrite);
    let recording = LabRecording::new(args.record.clone(), existing)?;
    let page = args.report.as_deref().map(|path| PageFile::create(path, existing)).transpose()?;
    let lab = |configs| runtime.block_on(cells(args, configs, &recording));
    // Before anything runs: a kernel that the model does not know is no reason to wait either.
    let model = if args.check_model { Some(host_model()?) } else { None };
    if let Some(n) = args.random {
        return random::run(args, n, model, lab);
    }
    if !args.scenario.is_empty() {
        let code = scenarios::run(args, capture, page, lab)?;
        recording.end()?;
        return Ok(code);
    }
    let report = match lab(args.cells())? {
        Finished::Done(report) => report,
        Finished::Interrupted => return Ok(interrupted()),
    };
    recording.end()?;
    save(capture, &report, args)?;
    print(&report, args)?;
    if let Some(mut page) = page {
        let mut run = Collector::default();
        lines::report(&mut run, &report)?;
        page.write_page(&run)?;
    }
    let predicted = model.is_none_or(|mut model| {
        let (text, right) = model_report::report(&mut model, &report);
        match args.output {
            OutputFormat::Text => overflow::show!("{}", text.trim_end()),
            OutputFormat::Json => overflow::say!("{}", text.trim_end()),
        }
        right
    });
    Ok(ExitCode::from(u8::from(!(report.agree() && predicted))))
}

/// Runs these cells side by side.
async fn cells(
    args: &LabArgs,
    configs: Vec<CellConfig>,
    recording: &LabRecording,
) -> Result<Finished> {
    // A scenario drawn at random is welcome as it comes.
    let attempts = if args.random.is_some() { 1 } else { ATTEMPTS };
    let (count, expected) = (configs.len(), run::duration(&configs));
    let begin = |netns: &[u32]| {
        let tracing = LabTracing::start(args, netns, recording)?;
        Ok((tracing, Line::start(count, expected)))
    };
    tokio::select! {
        report = run::run(configs, attempts, begin) => Ok(Finished::Done(report?)),
        _ = connection_text::interrupted() => Ok(Finished::Interrupted),
    }
}

fn host_model() -> Result<HostModel> {
    HostModel::of_this_host().context("--check-model needs a kernel that the model knows")
}

fn interrupted() -> ExitCode {
    overflow::say!("overflow: interrupted; the namespaces, links and hooks are gone");
    ExitCode::from(1)
}

fn save(capture: Option<File>, report: &Report, args: &LabArgs) -> Result<()> {
    if let (Some(file), Some(path)) = (capture, &args.pcap) {
        pcapng::report(file, report, overflow_host::clock::wall_offset_ns())
            .with_context(|| format!("cannot write the capture to {}", path.display()))?;
    }
    Ok(())
}

fn print(report: &Report, args: &LabArgs) -> Result<()> {
    let stdout = io::stdout();
    let terminal = stdout.is_terminal();
    let mut out = io::BufWriter::new(stdout.lock());
    match args.output {
        OutputFormat::Json => lines::report(&mut wire::Json::new(&mut out), report)?,
        OutputFormat::Text => {
            text::report(&mut out, report, super::style::options(terminal))?;
        }
    }
    out.flush()?;
    Ok(())
}
