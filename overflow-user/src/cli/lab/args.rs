//! What can be asked of the lab, and the cells it resolves to.

use std::{path::PathBuf, time::Duration};

use clap::{ArgGroup, Args, ValueEnum, value_parser};
use overflow_common::Rung;

use super::super::{OutputFormat, cell_args::CellArgs, parsers};
use overflow_lab::{CellConfig, Family, Script};

/// Overflow a listener on purpose, and show for every connection which path the kernel took.
///
/// Each cell has a server that never accepts and clients that connect at once, in two network
/// namespaces of their own; the server's packets are delayed so that every SYN arrives before the
/// first third ACK. Nothing outside these namespaces is changed, and nothing is left behind.
#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("written").multiple(true))]
#[command(after_help = "\
Examples:
  overflow lab                                  all four cells
  overflow lab --abort-on-overflow 1 --syncookies 1 --prefill 1
                                                a cell in which the sysctl does reset
  overflow lab --backlog 16 --clients 30 --hold 8
  overflow lab --scenario centos7               CentOS 7's outcome, on this kernel
  overflow lab --random 100 --check-model       does the model agree with this kernel?
  overflow lab --report lab.html                and a page that shows all of it
  overflow lab --output json | jq 'select(.type==\"connection\") | .outcome'

Exit status: 0 done; 1 it could not run, the witnesses disagree, or the model is
wrong; 2 bad usage.")]
pub(crate) struct LabArgs {
    /// Clients that connect at once
    #[arg(long, value_name = "N", default_value_t = 5)]
    clients: u32,
    /// The backlog argument of listen(2)
    #[arg(long, value_name = "N", default_value_t = 1)]
    backlog: u32,
    /// The listener's port
    #[arg(short = 'P', long, default_value_t = 12345, value_parser = value_parser!(u16).range(1..))]
    port: u16,
    #[command(flatten)]
    cells: CellArgs,
    /// Set net.core.somaxconn in the server's namespace
    #[arg(long, value_name = "N")]
    somaxconn: Option<u32>,
    /// Connections completed before the burst
    #[arg(long, value_name = "N", default_value_t = 0)]
    prefill: u32,
    /// Bytes each client sends once its connect() has succeeded
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    payload: usize,
    /// IP version of clients and listener; mapped: IPv4 clients of a dual-stack IPv6 listener
    #[arg(long, value_enum, default_value_t)]
    family: Family,
    /// How long to watch after the burst before the listener is closed
    #[arg(long, value_name = "SECS", default_value = "5", value_parser = parsers::seconds)]
    hold: Duration,
    /// Run named scenarios instead: each triggers one path through the kernel and must end as
    /// expected; `all` runs all of them
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = parsers::scenario,
        conflicts_with_all = ["clients", "backlog", "abort_on_overflow", "syncookies", "prefill",
            "payload", "hold", "somaxconn", "delay"])]
    pub(super) scenario: Vec<String>,
    /// List the scenarios and what each shows
    #[arg(long)]
    pub(super) list_scenarios: bool,
    /// Use only this kind of hook, instead of the best that attaches
    #[arg(long, value_enum, default_value_t)]
    rung: RungChoice,
    /// Trace nothing: infer verdicts from packets, counters and sockets, as where eBPF is refused
    #[arg(long, conflicts_with_all = ["rung", "btf", "record", "debug"])]
    untraced: bool,
    /// BTF file of the running kernel, if /sys/kernel/btf/vmlinux does not exist
    #[arg(long, value_name = "FILE")]
    pub(super) btf: Option<PathBuf>,
    /// Output format: text, or JSON lines
    #[arg(long, value_enum, default_value_t)]
    pub(super) output: OutputFormat,
    /// Write the packets, annotated with the verdicts, as pcapng
    #[arg(long, value_name = "FILE")]
    pub(super) pcap: Option<PathBuf>,
    /// Write every record of the tracer to a file, for `overflow replay`
    #[arg(long, value_name = "FILE", group = "written")]
    pub(super) record: Option<PathBuf>,
    /// Also write one HTML page of the whole run
    #[arg(long, value_name = "FILE.html", group = "written")]
    pub(super) report: Option<PathBuf>,
    /// Replace the files of --record and --report if there are any
    #[arg(long, visible_alias = "force", requires = "written")]
    pub(super) overwrite: bool,
    /// Compare every connection with the kernel model's prediction; exit status 1 if one differs
    #[arg(long)]
    pub(super) check_model: bool,
    /// Run N random scenarios instead; reduce one that disagrees to the smallest that still does
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..), conflicts_with_all =
        ["scenario", "clients", "backlog", "delay", "abort_on_overflow", "syncookies", "somaxconn",
        "prefill", "payload", "hold", "output", "pcap", "record", "report"])]
    pub(super) random: Option<u32>,
    /// Seed of an earlier --random run, to repeat its scenarios
    #[arg(long, value_name = "S", requires = "random")]
    pub(super) seed: Option<u64>,
    /// Show the log of the eBPF programs
    #[arg(long)]
    pub(in crate::cli) debug: bool,
}

/// Which rung to trace by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum RungChoice {
    /// The best that attaches, for each hook point.
    #[default]
    Auto,
    /// fentry/fexit.
    Fentry,
    /// kprobe/kretprobe.
    Kprobe,
    /// Tracepoints.
    Tracepoint,
}

impl RungChoice {
    /// The rung, or `None` for the best.
    pub(crate) const fn rung(self) -> Option<Rung> {
        match self {
            Self::Auto => None,
            Self::Fentry => Some(Rung::Fentry),
            Self::Kprobe => Some(Rung::Kprobe),
            Self::Tracepoint => Some(Rung::Tracepoint),
        }
    }
}

impl LabArgs {
    /// The cells: every chosen `syncookies` with every chosen `abort_on_overflow`.
    pub(super) fn cells(&self) -> Vec<CellConfig> {
        let cell = |(syncookies, abort_on_overflow)| CellConfig {
            abort_on_overflow,
            syncookies,
            backlog: self.backlog,
            somaxconn: self.somaxconn,
            clients: self.clients,
            port: self.port,
            delay: self.cells.delay,
            prefill: self.prefill,
            payload: self.payload,
            hold: self.hold,
            family: self.family,
            script: Script::default(),
        };
        self.cells.sysctls().map(cell).collect()
    }

    /// The IP version.
    pub(super) fn family(&self) -> Family {
        self.family
    }

    /// The listener's port.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Whether a tracer is wanted.
    pub(super) fn traced(&self) -> bool {
        !self.untraced
    }

    /// The rung asked for.
    pub(super) fn rung(&self) -> Option<Rung> {
        self.rung.rung()
    }
}
