//! `overflow predict`: what a kernel would do, and why.

mod args;
mod text;

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, IsTerminal, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context, Error, Result};
use serde_json::json;

use args::Asked;
pub(super) use args::PredictArgs;

use super::{OutputFormat, narrow::Narrow, style};
use overflow_core::{
    model::{
        batch::Batch, compare, config::Limits, kernels::Kernel, scenario::Phase,
        simulate::Simulator,
    },
    wire::prediction::{Line, line as line_to, lines},
};
use overflow_report::Collector;

/// Predicts, and prints to standard output.
pub(super) fn run(args: &PredictArgs) -> Result<ExitCode> {
    let mut page = args.report.create()?;
    let mut collector = page.is_some().then(Collector::default);
    let stdout = io::stdout().lock();
    let width = match args.output {
        OutputFormat::Text if args.batch.is_none() => style::options(stdout.is_terminal()).width,
        _ => usize::MAX,
    };
    let mut out = Narrow::new(BufWriter::new(stdout), width);
    let code = predict(args, &mut out, &mut collector)?;
    out.flush()?;
    if let (Some(page), Some(collector)) = (&mut page, &collector) {
        page.write_page(collector)?;
    }
    Ok(code)
}

/// `page`: takes the same as it is printed.
fn predict(
    args: &PredictArgs,
    out: &mut dyn Write,
    page: &mut Option<Collector>,
) -> Result<ExitCode> {
    args.question().check().map_err(Error::msg)?;
    if let Some(path) = &args.batch {
        return batch(path, out);
    }
    if args.list_kernels {
        text::kernels(out)?;
    } else if let Some((a, b)) = &args.compare {
        let (a, b) = (resolve(a)?, resolve(b)?);
        for a in a.possible() {
            for b in b.possible() {
                compare_two(args, &[a.clone(), b], out, page)?;
            }
        }
    } else {
        let kernel = resolve(&args.kernel)?;
        if args.output == OutputFormat::Text {
            text::question(out, &args.question().burst_in_words())?;
        }
        // Where it is not known which of two it is, both answers are.
        for kernel in kernel.possible() {
            one(args, &kernel, out, page)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn resolve(asked: &Asked) -> Result<Kernel> {
    match asked {
        Asked::Host => overflow_host::kernel::model_kernel()
            .context("name the kernel nearest to this one by --kernel"),
        Asked::Named(kernel) => Ok(kernel.clone()),
    }
}

fn one(
    args: &PredictArgs,
    kernel: &Kernel,
    out: &mut dyn Write,
    page: &mut Option<Collector>,
) -> Result<()> {
    let mut simulator = Simulator::default();
    for (i, cell) in args.cells().enumerate() {
        let mut scenario = cell.scenario(kernel.features);
        let by_lot = simulator.depends_on_hash(&mut scenario);
        let outcome = simulator.run(&scenario);
        match args.output {
            OutputFormat::Json => {
                let mut json = |line: &Line<'_>| line_to(out, line);
                lines::cell(&mut json, kernel, &cell.name(), &outcome, by_lot)?;
            }
            OutputFormat::Text => {
                if i == 0 {
                    text::kernel(out, kernel, outcome.limits)?;
                }
                text::cell(out, &cell.name(), &outcome, by_lot)?;
            }
        }
        if let Some(page) = page {
            lines::cell(
                &mut |line| {
                    page.prediction(line);
                    Ok(())
                },
                kernel,
                &cell.name(),
                &outcome,
                by_lot,
            )?;
        }
    }
    Ok(())
}

fn compare_two(
    args: &PredictArgs,
    kernels: &[Kernel; 2],
    out: &mut dyn Write,
    page: &mut Option<Collector>,
) -> Result<()> {
    let (mut left, mut right) = (Simulator::default(), Simulator::default());
    let names = [kernels[0].title(), kernels[1].title()];
    let names = [names[0].as_str(), names[1].as_str()];
    if args.output == OutputFormat::Text {
        text::question(out, &args.question().burst_in_words())?;
        for kernel in kernels {
            if let Some(limits) = limits(args, kernel) {
                text::kernel(out, kernel, limits)?;
            }
        }
    }
    for cell in args.cells() {
        let (a, b) = (cell.scenario(kernels[0].features), cell.scenario(kernels[1].features));
        let (a, b) = (left.run(&a), right.run(&b));
        let first = compare::first_divergence(a.paths, b.paths);
        let prefill = a.paths.iter().filter(|p| p.phase == Phase::Prefill).count();
        let (cell, first) = (cell.name(), first.as_ref());
        match args.output {
            OutputFormat::Json => {
                let mut json = |line: &Line<'_>| line_to(out, line);
                lines::divergence(&mut json, names, &cell, prefill, first)?;
            }
            OutputFormat::Text => text::divergence(out, names, &cell, prefill, first)?,
        }
        if let Some(page) = page {
            lines::divergence(
                &mut |line| {
                    page.prediction(line);
                    Ok(())
                },
                names,
                &cell,
                prefill,
                first,
            )?;
        }
    }
    Ok(())
}

/// The limits are those of every cell: no sysctl that differs between cells affects them.
fn limits(args: &PredictArgs, kernel: &Kernel) -> Option<Limits> {
    let scenario = args.cells().next()?.scenario(kernel.features);
    Some(Limits::new(&kernel.features, scenario.listener, &scenario.sysctls))
}

/// One JSON line out for each line in; a line without an answer says why in `error`.
fn batch(path: &Path, out: &mut dyn Write) -> Result<ExitCode> {
    let mut input: Box<dyn BufRead> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        Box::new(BufReader::new(file))
    };
    let mut batch = Batch::default();
    let (mut line, mut number, mut failed) = (String::new(), 0u64, 0u64);
    while input.read_line(&mut line).with_context(|| format!("reading {}", path.display()))? > 0 {
        number += 1;
        let scenario = line.trim();
        if !scenario.is_empty() {
            match batch.line(scenario) {
                Ok(answer) => writeln!(out, "{answer}")?,
                Err(error) => {
                    failed += 1;
                    let error = error.to_string();
                    writeln!(out, "{}", json!({"line": number, "error": error}))?;
                }
            }
        }
        line.clear();
    }
    if failed == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    out.flush()?;
    let lines = if failed == 1 { "line has" } else { "lines have" };
    overflow::say!(
        "overflow: {failed} of {number} {lines} no prediction; see `error` in the output"
    );
    Ok(ExitCode::from(1))
}

#[cfg(test)]
mod tests;
