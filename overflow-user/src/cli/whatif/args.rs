//! What can be asked of a recording.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum, value_parser};

use super::super::{OutputFormat, parsers, trace::Selection};
use overflow_core::{
    model::kernels::{self, Kernel},
    whatif::{replay::Surroundings, setting::Choices},
};

/// Say what another backlog, sysctl, kernel or accept rate would have meant for a recording's clients.
///
/// The arrivals of `overflow trace --all --record FILE` are played through a model of the kernel's
/// code. The application accepts as it was seen to while it was busy, and at that pace where it was
/// idle; a range reaches to what holds if it took no more than it was seen to. What is not in the
/// recording is assumed, and said. How near such answers come to what happens is in docs/whatif.md.
#[derive(Debug, Args)]
#[command(after_help = "\
Columns:
  REFUSED   reset, with tcp_abort_on_overflow=1
  <1 s ...  refused at first, and in the accept queue so long later
  NOT IN    not in the accept queue when the recording ended
  GAVE UP   waited for longer than --timeout
  DEEPEST   most connections in the accept queue at a time
  WAIT      the longest time from a client's first SYN to its accept()
  Each row has what is most likely, and below it the range, where there is one: how the
  application would have gone on, what differs from one run of a load to the next, and how far
  the model is off the recording.

Examples:
  overflow trace --all -P 443 --duration 60 --record run.rec
  overflow whatif run.rec --advise        the smallest change that hurts nobody
  overflow whatif run.rec --backlog 128,512,4096
  overflow whatif run.rec --backlog 512 --abort 0,1 --kernel rhel9
  overflow whatif run.rec --accept-rate 200,400 --timeout 5s
  overflow whatif run.rec --members 4 --output json
  overflow whatif run.rec --backlog 128,512 --advise --report what-if.html

Exit status: 0 done; 1 the recording cannot be read, or does not hold what this takes;
2 bad usage.")]
pub(in super::super) struct WhatifArgs {
    /// A recording of `overflow trace --all --record` or `overflow lab --record`; - reads standard input
    #[arg(value_name = "FILE|-")]
    pub(super) file: PathBuf,
    /// The backlog argument of listen(2)
    #[arg(long, value_name = "N", value_delimiter = ',',
        value_parser = value_parser!(u32).range(..=0x7fff_ffff))]
    backlog: Vec<u32>,
    /// net.core.somaxconn
    #[arg(long, value_name = "N", value_delimiter = ',',
        value_parser = value_parser!(u32).range(..=0x7fff_ffff))]
    somaxconn: Vec<u32>,
    /// net.ipv4.tcp_max_syn_backlog
    #[arg(long, value_name = "N", value_delimiter = ',',
        value_parser = value_parser!(u32).range(..=0x7fff_ffff))]
    syn_backlog: Vec<u32>,
    /// net.ipv4.tcp_syncookies
    #[arg(long, value_name = "0|1|2", value_delimiter = ',', value_parser = value_parser!(u8).range(..=2))]
    syncookies: Vec<u8>,
    /// net.ipv4.tcp_abort_on_overflow
    #[arg(long, visible_alias = "abort-on-overflow", value_name = "0|1", value_delimiter = ',',
        value_parser = value_parser!(u8).range(..=1))]
    abort: Vec<u8>,
    /// The server's kernel: a distribution (rhel9, debian12) or a release (5.10.223)
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = kernels::by_name)]
    kernel: Vec<Kernel>,
    /// Connections that the application accepts a second, evenly, whenever one waits
    #[arg(long, value_name = "RATE", value_delimiter = ',', value_parser = rate)]
    accept_rate: Vec<f64>,
    /// Sockets that share the address by SO_REUSEPORT, each accepted from as fast as was recorded
    #[arg(long, value_name = "N", value_delimiter = ',',
        value_parser = value_parser!(u32).range(1..=1024))]
    members: Vec<u32>,
    /// Find the smallest backlog that hurts nobody, and the accept rate that would
    #[arg(long)]
    pub(super) advise: bool,
    /// After so long each client gives up
    #[arg(long, value_name = "TIME", value_parser = parsers::seconds)]
    timeout: Option<Duration>,
    /// Whether clients send data as soon as they are connected; if not given, as was seen
    #[arg(long, value_name = "yes|no", value_enum)]
    client_data: Option<YesNo>,
    /// The clients' kernel, which decides when they send a SYN again; if not given, as was seen
    #[arg(long, value_name = "NAME", value_parser = kernels::by_name)]
    client_kernel: Option<Kernel>,
    #[command(flatten)]
    pub(super) selection: Selection,
    /// Output format: text, or JSON lines
    #[arg(long, value_enum, default_value_t)]
    pub(super) output: OutputFormat,
    #[command(flatten)]
    pub(super) report: super::super::report::ReportArgs,
    #[command(flatten)]
    pub(super) confining: super::super::trace::Confining,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum YesNo {
    Yes,
    No,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.001..=1e7).contains(rate));
    rate.ok_or_else(|| "expected connections a second, such as 250".to_owned())
}

impl WhatifArgs {
    /// The values to choose from.
    pub(super) fn choices(&self) -> Choices {
        let kernels = self.kernel.iter().flat_map(Kernel::possible).map(|kernel| {
            let name = match kernel.alternative {
                Some(_) => format!("{} (rule {})", kernel.name, kernel.features.regime()),
                None => kernel.name.clone(),
            };
            (name, kernel.features)
        });
        Choices {
            backlog: self.backlog.clone(),
            somaxconn: self.somaxconn.clone(),
            syn_backlog: self.syn_backlog.clone(),
            syncookies: self.syncookies.clone(),
            abort: self.abort.clone(),
            kernels: kernels.collect(),
            accept_rate: self.accept_rate.clone(),
            members: self.members.clone(),
        }
    }

    /// What is known of the clients, over what was seen.
    pub(super) fn clients(&self, around: &mut Surroundings) {
        let clients = &mut around.clients;
        if let Some(kernel) = &self.client_kernel {
            clients.features = kernel.features;
        }
        clients.data = self.client_data.map(|data| data == YesNo::Yes);
        clients.timeout =
            self.timeout.map(|time| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX / 4));
    }
}
