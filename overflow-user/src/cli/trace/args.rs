//! What can be asked of `trace`, and what it shares with `replay`.

use std::{io::Write, net::SocketAddr, path::PathBuf, time::Duration};

use clap::{ArgGroup, Args, ValueEnum, value_parser};
use overflow_common::Rung;

use super::{
    super::{parsers, style},
    select::Selection,
};
use overflow::{
    confine::{ConfineError, Needs, confine},
    pipeline::{Filter, Options, Window},
    sink::{
        metrics,
        trace::{Sink, TraceLines, TraceText},
    },
};
use overflow_core::{listeners::Inventory, wire::perfetto::Perfetto};
use overflow_host::files::Existing;

/// Trace abnormal handshakes of every TCP listener on this host, until Ctrl-C.
///
/// One line for each SYN or third ACK that did not succeed: time, client, listener, what the kernel
/// did, the accept queue at that time, and the process that owns the listener.
/// Listeners of all network namespaces are traced; nothing is changed on the host.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("written").multiple(true))]
#[command(after_help = "\
Columns:
  LPORT    the listener's port
  VERDICT  what the kernel did, see `overflow explain`; ~ marks what is inferred
  Recv-Q   accept queue length/limit at that time; full is above the limit
  OWNER    process that holds the listener, +N for N more that share it; ~ marks who called
           listen() where no holder could be found

Examples:
  overflow trace                          overflows of every listener on this host
  overflow trace -P 80,443 --all          every handshake of a web server
  overflow trace --summary 10             totals every 10 s
  overflow trace --why                    and why the queues were full
  overflow trace --cmd 'wrk -c 500 http://127.0.0.1/' --record run.rec
  overflow trace --why --duration 60 --report full-queues.html
  overflow trace --output json | jq 'select(.type==\"event\") | .id'
  overflow trace --summary 60 --metrics-listen 9464
  overflow trace --summary 60 --otlp-endpoint http://localhost:4318

Exit status: 0 done; 1 it could not run; 2 bad usage.")]
pub(crate) struct TraceArgs {
    #[command(flatten)]
    pub(super) view: View,
    /// Stop after this time
    #[arg(short, long, value_name = "TIME", value_parser = parsers::seconds)]
    pub(super) duration: Option<Duration>,
    /// Run this command and trace until it ends; its output goes to stderr
    #[arg(long, value_name = "COMMAND")]
    pub(super) cmd: Option<String>,
    /// Also say why a listener is full: look at who holds it when it becomes so
    #[arg(long)]
    pub(super) why: bool,
    /// Also write everything that is traced to a file, for `overflow replay`
    #[arg(long, value_name = "FILE", group = "written")]
    pub(super) record: Option<PathBuf>,
    /// Of --record, keep the last TIME of every handshake in memory, and write it only when something goes
    /// wrong, with what follows until nothing did for as long
    #[arg(long, value_name = "TIME", value_parser = parsers::seconds, requires = "record",
        conflicts_with = "summary")]
    pub(super) flight: Option<Duration>,
    /// Also write one HTML page of what was told, when the trace ends
    #[arg(long, value_name = "FILE.html", group = "written")]
    pub(super) report: Option<PathBuf>,
    /// Replace the files of --record and --report if there are any
    #[arg(long, visible_alias = "force", requires = "written")]
    overwrite: bool,
    /// Also serve metrics for Prometheus here, at /metrics; on loopback unless ADDR is given
    #[arg(long, value_name = "[ADDR:]PORT", value_parser = metrics::listen)]
    pub(super) metrics_listen: Option<SocketAddr>,
    /// Also send metrics and abnormal handshakes to an OpenTelemetry collector, by OTLP over HTTP;
    /// without URL, to that of OTEL_EXPORTER_OTLP_ENDPOINT, or to http://localhost:4318
    #[arg(long, value_name = "URL", num_args = 0..=1)]
    #[allow(clippy::option_option)] // not given, given alone, given with a value
    pub(super) otlp_endpoint: Option<Option<String>>,
    #[command(flatten)]
    pub(super) hooks: Hooks,
}

impl TraceArgs {
    /// What to do with a file that is where the recording or the page is to be.
    pub(super) fn existing(&self) -> Existing {
        Existing::overwritten_if(self.overwrite)
    }
}

/// By which means the kernel is traced.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Hooks {
    /// Use only this kind of hook, instead of the best that attaches
    #[arg(long, value_name = "RUNG", value_parser = rung)]
    pub rung: Option<Rung>,
    /// BTF file of the running kernel, if /sys/kernel/btf/vmlinux does not exist
    #[arg(long, value_name = "FILE")]
    pub btf: Option<PathBuf>,
    /// Size of the ring buffer between kernel and overflow; records that do not fit are lost and
    /// counted
    #[arg(long, value_name = "SIZE", default_value = "1M", value_parser = parsers::bytes)]
    pub ring_size: u32,
    #[command(flatten)]
    pub confining: Confining,
}

/// Whether this process drops its privileges before it reads what came from elsewhere.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct Confining {
    /// Do not drop privileges before reading what was traced; for debugging only
    #[arg(long)]
    pub no_confine: bool,
}

impl Confining {
    /// Confines this process to what it needs, unless it was asked not to.
    pub(crate) fn confine(self, needs: &Needs) -> Result<(), ConfineError> {
        if self.no_confine { Ok(()) } else { confine(needs).map(drop) }
    }
}

/// What is shown, and how: for live tracing and for a replay alike.
#[derive(Clone, Debug, Args)]
pub(crate) struct View {
    #[command(flatten)]
    selection: Selection,
    /// Every handshake: also successful ones, and third ACKs ignored for reasons other than a full
    /// queue
    #[arg(short, long)]
    pub all: bool,
    /// Show only totals per listener, every SECS seconds
    #[arg(long, value_name = "SECS", value_parser = value_parser!(u64).range(1..=86_400))]
    pub summary: Option<u64>,
    /// Stop after N lines
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    max_events: Option<u64>,
    /// Show at most N lines per second; the rest are only counted
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    max_events_per_second: Option<u64>,
    /// Do not shorten lines to 80 columns
    #[arg(short, long)]
    wide: bool,
    /// No header and no notes: only what was traced, losses, and the closing lines
    #[arg(short, long)]
    pub quiet: bool,
    /// Output format: text, JSON lines, or a trace for Perfetto and chrome://tracing
    #[arg(long, value_enum, default_value_t)]
    pub output: TraceFormat,
}

/// Where what was traced goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum TraceFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, see docs/events.md.
    Json,
    /// One JSON document: a process per listener with its queues, a slice per connection.
    Perfetto,
}

impl View {
    /// The pipeline's options.
    pub(crate) fn options(&self, filter: Filter) -> Options {
        Options {
            all: self.all,
            summary: self.summary,
            max_events: self.max_events,
            max_events_per_second: self.max_events_per_second,
            filter,
            window: Window::default(),
            accepts: false,
            why: false,
            handshakes: false,
        }
    }

    /// Which listeners, on this host.
    pub(crate) fn filter_here(&self) -> anyhow::Result<Filter> {
        self.selection.resolve_here()
    }

    /// Which listeners, on the machine that had these.
    pub(crate) fn recorded_filter(&self, inventory: &Inventory) -> anyhow::Result<Filter> {
        self.selection.resolve_recorded(inventory)
    }

    /// Prints to `out`, which is a terminal or is not.
    pub(crate) fn sink(&self, out: impl Write + 'static, terminal: bool) -> Box<dyn Sink> {
        match self.output {
            TraceFormat::Json => Box::new(TraceLines::json(out)),
            TraceFormat::Perfetto => Box::new(TraceLines::new(Perfetto::new(out))),
            TraceFormat::Text => {
                let mut options = style::options(terminal);
                if self.wide {
                    options.width = 200;
                }
                Box::new(TraceText::new(out, options).quiet(self.quiet))
            }
        }
    }
}

fn rung(text: &str) -> Result<Rung, String> {
    let found = Rung::ALL.iter().copied().find(|r| r.as_str() == text);
    found.ok_or_else(|| "expected fentry, kprobe or tracepoint".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser, error::ErrorKind};

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        args: TraceArgs,
    }

    fn parse(line: &str) -> Result<TraceArgs, ErrorKind> {
        let words = std::iter::once("trace").chain(line.split_whitespace());
        Command::try_parse_from(words).map(|c| c.args).map_err(|e| e.kind())
    }

    #[test]
    fn the_definition_is_sound() {
        Command::command().debug_assert();
    }

    #[test]
    fn lists_and_times() {
        let args = parse("-P 80,443 -p 1 -4 -d 1.5s --rung kprobe --summary 10").unwrap();
        let filter = args.view.filter_here().unwrap();
        assert_eq!((filter.ports, filter.pids, filter.family), (vec![80, 443], vec![1], Some(4)));
        assert_eq!(args.duration, Some(Duration::from_millis(1500)));
        assert_eq!((args.hooks.rung, args.view.summary), (Some(Rung::Kprobe), Some(10)));
    }

    #[test]
    fn bad_usage_is_refused() {
        assert_eq!(parse("-4 -6").unwrap_err(), ErrorKind::ArgumentConflict);
        for bad in [
            "-P 0",
            "--rung uprobe",
            "--summary 0",
            "--max-events 0",
            "--addr nowhere",
            "--metrics-listen host",
        ] {
            assert_eq!(parse(bad).unwrap_err(), ErrorKind::ValueValidation, "{bad}");
        }
    }
}
