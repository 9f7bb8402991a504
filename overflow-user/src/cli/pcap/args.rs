//! What can be asked of `overflow pcap`.

use std::path::PathBuf;

use clap::{Args, ValueEnum, value_parser};

use super::super::{OutputFormat, report::ReportArgs, style, trace::Confining};
use overflow_core::{
    capture::{point::Place, table::Options},
    text::style as core_style,
};

/// Judge the handshakes in a capture by their packets alone.
///
/// For each connection that did not go as it should: the verdict, or the verdicts that would look
/// the same on the wire, with what the packets show and what they cannot. Reads pcap and pcapng of
/// tcpdump and Wireshark, from the server, the client or in between, from a file or from a pipe
/// without end. Needs no privileges, and runs on any kernel.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  overflow pcap support-case.pcapng
  overflow pcap server.pcap --at server -P 443
  overflow pcap server.pcap --annotate commented.pcapng && wireshark commented.pcapng
  overflow pcap support-case.pcapng --report support-case.html
  tcpdump -i any -U -s 128 -w - 'tcp port 443' | overflow pcap -
  zcat capture.pcap.gz | overflow pcap - --output json

Exit status: 0 done; 1 the capture cannot be read, or is cut off or damaged; 2 bad usage.")]
pub(crate) struct PcapArgs {
    /// The capture; `-` for standard input
    pub(super) file: PathBuf,
    /// Only connections to these ports of servers
    #[arg(short = 'P', long, value_name = "PORT", value_delimiter = ',', value_parser = value_parser!(u16).range(1..))]
    port: Vec<u16>,
    /// Only IPv4 connections
    #[arg(short = '4', conflicts_with = "ipv6")]
    ipv4: bool,
    /// Only IPv6 connections
    #[arg(short = '6')]
    ipv6: bool,
    /// Where it was captured: on this host. Without it, directions, hop counts and times tell
    #[arg(long, value_enum, value_name = "END")]
    at: Option<End>,
    /// Packets are missing (tcpdump said `dropped by kernel`): say nothing that rests on silence
    #[arg(long)]
    lossy: bool,
    /// Every connection, also those that went well
    #[arg(short, long)]
    pub(super) all: bool,
    /// Write the packets again, as pcapng, with what was found as their comments
    #[arg(long, value_name = "OUT.pcapng")]
    pub(super) annotate: Option<PathBuf>,
    /// Do not break lines at 80 columns
    #[arg(short, long)]
    wide: bool,
    /// Output format: text, or JSON lines
    #[arg(long, value_enum, default_value_t)]
    pub(super) output: OutputFormat,
    #[command(flatten)]
    pub(super) report: ReportArgs,
    #[command(flatten)]
    pub(super) confining: Confining,
}

/// An end of the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum End {
    /// The server's.
    Server,
    /// The client's.
    Client,
}

impl PcapArgs {
    /// What is judged.
    pub(super) fn options(&self) -> Options {
        Options {
            ports: self.port.clone(),
            ipv4: match (self.ipv4, self.ipv6) {
                (true, _) => Some(true),
                (_, true) => Some(false),
                (false, false) => None,
            },
            at: self.at.map(|end| match end {
                End::Server => Place::Server,
                End::Client => Place::Client,
            }),
            lossy: self.lossy,
            ..Options::default()
        }
    }

    /// How text looks.
    pub(super) fn text(&self, terminal: bool) -> core_style::Options {
        let options = style::options(terminal);
        let width = if self.wide { usize::MAX } else { options.width };
        core_style::Options { width, ..options }
    }
}
