//! `overflow listeners`: every listener, its limits, its owner, and what an overflow will do to it.

use std::{
    collections::BTreeSet,
    io::{self, BufWriter, IsTerminal, Write},
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::Args;

use super::{OutputFormat, style, trace::Selection};
use overflow::sink::listeners;

/// Show every TCP listener with its queues, effective limits and owner.
///
/// Nothing is traced: this is what sock_diag and procfs say now, of every network namespace that
/// can be entered, together with what this kernel will do to each listener when its queues are
/// full.
#[derive(Debug, Args)]
#[command(after_help = "\
Columns:
  Recv-Q   connections in the accept queue; it is full above Send-Q
  Send-Q   its limit: min(backlog, net.core.somaxconn) at the time of listen()
  SYN-Q    requests in SYN_RECV / number at which the SYN queue is full
  Drops    segments dropped at this listener since it was opened (sk_drops)

Examples:
  overflow listeners
  overflow listeners -P 80,443 --output json
  overflow listeners --cgroup nginx.service

Exit status: 0 done; 1 it could not run; 2 bad usage.")]
pub(super) struct ListenersArgs {
    #[command(flatten)]
    selection: Selection,
    /// Do not cut lines at 80 columns
    #[arg(short, long)]
    wide: bool,
    /// Output format: text, or JSON lines
    #[arg(long, value_enum, default_value_t)]
    output: OutputFormat,
}

pub(super) fn run(args: &ListenersArgs) -> Result<ExitCode> {
    let filter = args.selection.resolve_here()?;
    let kernel = overflow_host::kernel::model_kernel()?;
    let wanted: BTreeSet<u32> = filter.netns.iter().copied().collect();
    let mut inventory =
        overflow_host::listeners::inventory(&wanted).context("cannot list the listeners")?;
    inventory.notes.extend(filter.unmet(&inventory));
    inventory.listeners.retain(|listener| filter.listener(listener));
    let inventory = inventory.indexed();
    for note in &inventory.notes {
        overflow::say!("overflow: {note}");
    }
    let stdout = io::stdout();
    let terminal = stdout.is_terminal();
    let mut out = BufWriter::new(stdout.lock());
    match args.output {
        OutputFormat::Json => listeners::json(&mut out, &inventory, &kernel)?,
        OutputFormat::Text => {
            let mut options = style::options(terminal);
            if args.wide {
                options.width = usize::MAX;
            }
            listeners::text(&mut out, &inventory, &kernel, options)?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
