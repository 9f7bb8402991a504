//! The command line: what was typed, what it resolves to, exit codes.
//!
//! Exit codes: 0 done; 1 it could not do what was asked, or the lab's witnesses disagree; 2 bad
//! usage.

mod attribution;
mod cell_args;
mod client;
mod doctor;
mod connection_text;
mod explain;
mod export;
mod lab;
mod listeners;
mod narrow;
mod pcap;
mod predict;
mod replay;
mod report;
mod server;
mod style;
mod top;
mod trace;
mod tracing;
mod whatif;
mod why;
mod parsers;

use std::{
    io::{self, Write as _},
    process::ExitCode,
    sync::LazyLock,
};

use clap::{Parser, Subcommand, ValueEnum, error::ContextKind};

use overflow::confine;
use overflow::export as exporting;
use overflow_core::text::untrusted::escape;

/// Version, and the commit that it was built from where whoever built it said so (`OVERFLOW_COMMIT`): the
/// same sources make the same program, with or without git.
fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let commit = option_env!("OVERFLOW_COMMIT").map(|commit| format!(" ({commit})"));
        format!("{}{}", env!("CARGO_PKG_VERSION"), commit.unwrap_or_default())
    });
    &VERSION
}

/// Which path the Linux kernel took when a TCP listener's queue was full, and why.
#[derive(Debug, Parser)]
#[command(name = "overflow", version = version(), max_term_width = 100, propagate_version = true)]
#[command(after_help = "\
Exit status:
  0  done
  1  it could not do what was asked; lab: witnesses disagree; replay: the recording
     is cut off or damaged
  2  bad usage

`overflow COMMAND --help` has examples of each.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Lab(lab::LabArgs),
    Server(server::ServerArgs),
    Client(client::ClientArgs),
    Trace(trace::TraceArgs),
    Top(top::TopArgs),
    Listeners(listeners::ListenersArgs),
    Why(why::WhyArgs),
    Whatif(whatif::WhatifArgs),
    Replay(replay::ReplayArgs),
    Pcap(pcap::PcapArgs),
    Predict(predict::PredictArgs),
    Explain(explain::ExplainArgs),
    Doctor(doctor::DoctorArgs),
    #[command(name = confine::attribution::COMMAND, hide = true)]
    Attribution(attribution::AttributionArgs),
    #[command(name = exporting::COMMAND, hide = true)]
    Export(export::ExportArgs),
    /// Sets sysctls of the whole host for the lab, and puts them back when it is gone
    #[command(name = overflow_lab::global::COMMAND, hide = true)]
    KeepSysctls,
}

impl Cli {
    /// What is logged if RUST_LOG does not say.
    fn log_level(&self) -> &'static str {
        match &self.command {
            Command::Lab(args) if args.debug => "overflow=debug",
            _ => "off",
        }
    }
}

/// Where results go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, see docs/events.md.
    Json,
}

/// Parses the command line, runs the command, returns how it ended.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let error = without_bad_advice(error);
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    // Off unless RUST_LOG or --debug asks for it.
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(cli.log_level()))
        .init();
    let result = match cli.command {
        Command::Lab(args) => lab::run(&args),
        Command::Server(args) => server::run(&args),
        Command::Client(args) => client::run(&args),
        Command::Trace(args) => trace::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Listeners(args) => listeners::run(&args),
        Command::Why(args) => why::run(&args),
        Command::Whatif(args) => whatif::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Pcap(args) => pcap::run(&args),
        Command::Predict(args) => predict::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Attribution(args) => attribution::run(&args),
        Command::Export(args) => export::run(&args),
        Command::KeepSysctls => keep_sysctls(),
    };
    match result {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // It may have a name from outside in it: of a file that somebody sent, of a namespace. A terminal
            // that hung up takes no words.
            let said = format!("{error:#}");
            let _ = writeln!(io::stderr(), "overflow: {}", escape(&said));
            ExitCode::from(1)
        }
    }
}

fn keep_sysctls() -> anyhow::Result<ExitCode> {
    overflow_lab::global::keep()?;
    Ok(ExitCode::SUCCESS)
}

/// Nobody who mistypes an option means to give confinement up: that is suggested to nobody.
fn without_bad_advice(mut error: clap::Error) -> clap::Error {
    let suggested = error.get(ContextKind::SuggestedArg).map(ToString::to_string);
    if suggested.is_some_and(|arg| arg.contains("no-confine")) {
        for kind in [ContextKind::SuggestedArg, ContextKind::Suggested, ContextKind::Usage] {
            error.remove(kind);
        }
    }
    error
}

/// A reader that went away (`overflow lab | head`) has seen what it wanted.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod advice_tests;
#[cfg(test)]
mod error_tests;
#[cfg(test)]
mod example_tests;
