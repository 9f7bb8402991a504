//! What can be asked of the model.

use std::{path::PathBuf, time::Duration};

use clap::{Args, value_parser};

use super::super::{OutputFormat, cell_args::CellArgs, parsers, report::ReportArgs};
use overflow_core::model::{
    config::Sysctls,
    kernels::{self, Kernel, UnknownKernel},
    question::Question,
    time::Nanos,
};

/// Predict what a kernel would do with every connection of a burst, and which condition decides.
///
/// Nothing is run or traced: this is a model of the kernel's code, checked against real kernels.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  overflow predict                                this kernel, all four cells
  overflow predict --kernel centos7 --abort-on-overflow 1 --syncookies 1
  overflow predict --compare centos7,5.4.0-216-generic
                                                  where two kernels part ways
  overflow predict --kernel 6.12.107 --backlog 128 --prefill 128 --clients 200
  overflow predict --kernel debian12 --clients 50 --spacing 20ms --accept-every 100ms
                                                  an application that is too slow
  overflow predict --kernel 5.15.0-1051-aws       both answers: its patches are not known
  overflow predict --kernel centos7 --report centos7.html
                                                  and a page that shows all of it
  overflow predict --list-kernels                 what is known by name
  overflow predict --batch scenarios.jsonl > predictions.jsonl

A line of --batch is a JSON object with kernel, backlog, syncookies, abort, burst
and, if wanted, variant (base, ipv6, deferN, somaxN), somaxconn, max_syn_backlog,
prefill, delay_ms (200), client_bytes and rx_order (\"S1 S2 A1 A2\": the order in
which the first segments reach the server). The answer is the same object with
classes and stages, and for a kernel that is not known for certain with doubt and
alternative, what else may be.

Exit status: 0 done; 1 a line of the batch could not be predicted; 2 bad usage.")]
pub(crate) struct PredictArgs {
    /// A distribution (centos7, debian12), a release (5.10.223), or this host
    #[arg(long, value_name = "NAME|host", default_value = "host", value_parser = kernel)]
    pub(super) kernel: Asked,
    /// List the kernels that are known, with their rules, and from which release on they differ
    #[arg(long, exclusive = true)]
    pub(super) list_kernels: bool,
    /// Predict for two kernels and show the first decision that differs
    #[arg(long, value_name = "A,B", value_parser = pair, conflicts_with = "kernel")]
    pub(super) compare: Option<(Asked, Asked)>,
    /// Predict the scenarios in a file of JSON lines; - reads standard input
    #[arg(long, value_name = "FILE|-", conflicts_with_all = ["kernel", "compare", "clients",
        "backlog", "delay", "abort_on_overflow", "syncookies", "somaxconn", "max_syn_backlog",
        "prefill", "payload", "hold", "defer_accept", "spacing", "accept_every", "report"])]
    pub(super) batch: Option<PathBuf>,
    /// Clients that connect at once
    #[arg(long, value_name = "N", default_value_t = 5,
        value_parser = value_parser!(u32).range(1..=30_000))]
    clients: u32,
    /// The backlog argument of listen(2)
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = value_parser!(u32).range(..=0x7fff_ffff))]
    backlog: u32,
    #[command(flatten)]
    cells: CellArgs,
    /// net.core.somaxconn, if not the kernel's default
    #[arg(long, value_name = "N")]
    somaxconn: Option<u32>,
    /// net.ipv4.tcp_max_syn_backlog
    #[arg(long, value_name = "N", default_value_t = Sysctls::default().max_syn_backlog)]
    max_syn_backlog: u32,
    /// Connections completed before the burst
    #[arg(long, value_name = "N", default_value_t = 0,
        value_parser = value_parser!(u32).range(..=10_000))]
    prefill: u32,
    /// Bytes each client sends once its connect() has succeeded
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    payload: u32,
    /// How long to watch after the burst before the listener is closed
    #[arg(long, value_name = "SECS", default_value = "5", value_parser = parsers::seconds)]
    hold: Duration,
    /// TCP_DEFER_ACCEPT of the listener; 0 is off
    #[arg(long, value_name = "SECS", default_value_t = 0)]
    defer_accept: u32,
    /// Time from one client's connect() to the next one's
    #[arg(long, value_name = "TIME", default_value = "30us", value_parser = parsers::milliseconds)]
    spacing: Duration,
    /// Let the application take a connection each time so much has gone by; 0 is never
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = parsers::milliseconds)]
    accept_every: Duration,
    /// Output format: text, or JSON lines
    #[arg(long, value_enum, default_value_t)]
    pub(super) output: OutputFormat,
    #[command(flatten)]
    pub(super) report: ReportArgs,
}

/// A kernel as asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The one this runs on.
    Host,
    /// One of the table.
    Named(Kernel),
}

fn kernel(name: &str) -> Result<Asked, UnknownKernel> {
    match name {
        "host" => Ok(Asked::Host),
        name => kernels::by_name(name).map(Asked::Named),
    }
}

fn pair(names: &str) -> Result<(Asked, Asked), String> {
    let (a, b) = names.split_once(',').ok_or("expected two kernels, such as centos7,5.10.223")?;
    let one = |name: &str| kernel(name.trim()).map_err(|e| e.to_string());
    Ok((one(a)?, one(b)?))
}

impl PredictArgs {
    /// Every chosen `syncookies` with every chosen `abort_on_overflow`.
    pub(super) fn cells(&self) -> impl Iterator<Item = Question> {
        let question = self.question();
        self.cells.sysctls().map(move |(syncookies, abort_on_overflow)| Question {
            syncookies,
            abort_on_overflow,
            ..question.clone()
        })
    }

    /// What all cells share.
    pub(super) fn question(&self) -> Question {
        Question {
            clients: self.clients,
            spacing: nanos(self.spacing),
            backlog: self.backlog,
            delay: nanos(self.cells.delay),
            somaxconn: self.somaxconn,
            max_syn_backlog: self.max_syn_backlog,
            prefill: self.prefill,
            payload: self.payload,
            hold: nanos(self.hold),
            defer_accept: self.defer_accept,
            accept_every: nanos(self.accept_every),
            ..Question::default()
        }
    }
}

fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};
    use overflow_core::model::features::Features;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        args: PredictArgs,
    }

    fn parse(line: &str) -> Result<PredictArgs, clap::error::ErrorKind> {
        let words = std::iter::once("predict").chain(line.split_whitespace());
        Command::try_parse_from(words).map(|c| c.args).map_err(|e| e.kind())
    }

    #[test]
    fn the_definition_is_sound() {
        Command::command().debug_assert();
    }

    #[test]
    fn no_flags_are_the_four_cells_of_the_seed_experiment() {
        let args = parse("").unwrap();
        assert_eq!(args.kernel, Asked::Host);
        let cells: Vec<_> = args.cells().collect();
        let names: Vec<_> = cells.iter().map(Question::name).collect();
        assert_eq!(names.len(), 4);
        assert_eq!(names[1], "abort=1,syncookies=1");
        let scenario = cells[1].scenario(Features::EL7);
        assert_eq!((scenario.clients.len(), scenario.listener.backlog), (5, 1));
    }

    #[test]
    fn bad_usage_is_refused() {
        use clap::error::ErrorKind::{ArgumentConflict, ValueValidation};
        assert_eq!(parse("--kernel beos").unwrap_err(), ValueValidation);
        assert_eq!(parse("--compare centos7").unwrap_err(), ValueValidation);
        assert_eq!(parse("--clients 0").unwrap_err(), ValueValidation);
        assert_eq!(parse("--kernel centos7 --compare centos7,5.4").unwrap_err(), ArgumentConflict);
        assert_eq!(parse("--batch - --backlog 3").unwrap_err(), ArgumentConflict);
    }
}
