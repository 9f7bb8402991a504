//! `overflow server`: the experiment's listener on a real host, traced.

use std::{
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result};
use clap::{Args, value_parser};

use super::{OutputFormat, connection_text, lab::RungChoice, parsers, tracing::Tracing};
use overflow::probe::TraceConfig;
use overflow_core::{
    loss::Loss,
    verdict::{self, Connection},
    wire,
};
use overflow_host::{listeners::sysctls, netns};
use overflow_lab::{ListenerQueue, tracing::until_close, two_hosts::Server};

/// Resets of a listener's close are traced this long after it.
const AFTER_CLOSE: Duration = Duration::from_millis(200);

/// Listen with a small backlog, accept late or never, and show for every connection which path the
/// kernel took.
///
/// The server's half of the experiment for two real hosts; `overflow client` is the other. Nothing
/// is changed on this host: sysctls stay as they are, and no delay is added (below is how to).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  overflow server                        backlog 1 on port 12345, never accepts; Ctrl-C reports
  overflow server -P 8080 --backlog 16 --hold 30s
  overflow server --accept-after 2s --hold 10s --output json

The seed's outcome takes a delay: every SYN of the burst must come before the first
third ACK, or each later one meets a queue that is full. Delay what this port sends by
more than the burst takes, with DEV the interface to the clients (Linux with sch_prio,
sch_netem and cls_u32; the last line puts it back as it was):
  tc qdisc add dev DEV root handle 1: prio bands 4
  tc qdisc add dev DEV parent 1:4 handle 40: netem delay 200ms
  tc filter add dev DEV parent 1: protocol ip u32 match ip sport 12345 0xffff flowid 1:4
  tc qdisc del dev DEV root

Exit status: 0 done; 1 it could not run; 2 bad usage.")]
pub(super) struct ServerArgs {
    /// Address to listen on; an IPv6 address accepts IPv4 clients too
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    bind: IpAddr,
    /// Port to listen on
    #[arg(short = 'P', long, default_value_t = 12345, value_parser = value_parser!(u16).range(1..))]
    port: u16,
    /// The backlog argument of listen(2)
    #[arg(long, value_name = "N", default_value_t = 1)]
    backlog: u32,
    /// Listen for this long, then close and report; by default until Ctrl-C
    #[arg(short = 'd', long, visible_alias = "duration", value_name = "SECS", value_parser = parsers::seconds)]
    hold: Option<Duration>,
    /// Begin to accept after this time; by default never
    #[arg(long, value_name = "SECS", value_parser = parsers::seconds)]
    accept_after: Option<Duration>,
    /// Use only this kind of hook, instead of the best that attaches
    #[arg(long, value_enum, default_value_t)]
    rung: RungChoice,
    /// BTF file of the running kernel, if /sys/kernel/btf/vmlinux does not exist
    #[arg(long, value_name = "FILE")]
    btf: Option<PathBuf>,
    /// Output format: text, or JSON lines
    #[arg(long, value_enum, default_value_t)]
    output: OutputFormat,
}

/// Serves, then reports.
pub(super) fn run(args: &ServerArgs) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let served = runtime.block_on(serve(args))?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    match args.output {
        OutputFormat::Text => served.text(&mut out)?,
        OutputFormat::Json => served.json(&mut out)?,
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// What was seen of one listener.
struct Served {
    address: SocketAddr,
    queue: ListenerQueue,
    accepted: usize,
    connections: Vec<Connection>,
    lost: Vec<(Loss, u64)>,
}

async fn serve(args: &ServerArgs) -> Result<Served> {
    let address = SocketAddr::new(args.bind, args.port);
    let netns =
        netns::own().with_context(|| format!("reading {} failed", netns::own_file().display()))?;
    let config = TraceConfig {
        ports: vec![args.port],
        netns: vec![netns],
        all: true,
        rung: args.rung.rung(),
        ..TraceConfig::default()
    };
    // Before the listener: the tracepoint rung learns of listeners as they come.
    let tracing = Tracing::start(args.btf.as_deref(), &config, false)
        .context("the server's connections cannot be traced")?;
    let mut server = Server::open(address, args.backlog)?;
    announce(args, address, &tracing);
    let hold = async {
        if let Some(after) = args.accept_after {
            let after = args.hold.map_or(after, |hold| after.min(hold));
            tokio::time::sleep(after).await;
            server.accept()?;
        }
        match args.hold {
            Some(hold) => {
                let left = hold.saturating_sub(args.accept_after.unwrap_or_default());
                tokio::time::sleep(left).await;
            }
            None => std::future::pending().await,
        }
        anyhow::Ok(())
    };
    tokio::select! {
        held = hold => held?,
        interrupted = connection_text::interrupted() => interrupted.context("cannot wait for signals")?,
    }
    let queue = server.queue()?;
    let (accepted, closed) = server.close().await?;
    tokio::time::sleep(AFTER_CLOSE).await;
    let traced = tracing.finish().await?.traced;
    let limit = traced.table.syn_queue_limit();
    let mut connections: Vec<Connection> = traced
        .table
        .histories(netns)
        .into_iter()
        .map(|(key, history)| verdict::judge(key, &until_close(history, closed), limit))
        .filter(|c| !c.stages.is_empty())
        .collect();
    connections.sort_by_key(|c| c.stages.first().map(|s| s.t_ns));
    Ok(Served { address, queue, accepted, connections, lost: traced.losses })
}

fn announce(args: &ServerArgs, address: SocketAddr, tracing: &Tracing) {
    let settings = sysctls();
    let number = |n: Option<u32>| n.map_or("?".to_owned(), |n| n.to_string());
    let mut rungs: Vec<&str> = tracing.hooks().iter().map(|h| h.rung.as_str()).collect();
    rungs.sort_unstable();
    rungs.dedup();
    overflow::say!(
        "overflow: listening at {address} with backlog {} (somaxconn {}); \
         tcp_abort_on_overflow={} tcp_syncookies={}; traced by {}",
        args.backlog,
        number(settings.somaxconn),
        number(settings.abort_on_overflow.map(u32::from)),
        number(settings.syncookies.map(u32::from)),
        rungs.join(", "),
    );
    if args.hold.is_none() {
        overflow::say!("overflow: Ctrl-C closes the listener and reports");
        overflow::say!(
            "overflow: without a delay between the hosts later SYNs find the queue full; \
             `overflow server --help` has the commands for one"
        );
    }
}

impl Served {
    fn text(&self, out: &mut impl Write) -> io::Result<()> {
        for connection in &self.connections {
            connection_text::connection(out, connection)?;
        }
        let count = self.connections.len();
        let noun = if count == 1 { "connection" } else { "connections" };
        writeln!(
            out,
            "{}: {count} {noun}, {} accepted by the application, accept queue {} of at most {} + 1 \
             at the end",
            self.address, self.accepted, self.queue.recv_q, self.queue.send_q
        )?;
        for (verdict, n) in self.verdicts() {
            writeln!(out, "    {n} × {verdict}")?;
        }
        for (what, n) in self.lost.iter().filter(|(_, n)| *n > 0) {
            writeln!(out, "lost: {n} {what}")?;
        }
        Ok(())
    }

    fn json(&self, out: &mut impl Write) -> io::Result<()> {
        use overflow_core::wire::line;
        for connection in &self.connections {
            line(out, &wire::Line::Connection(wire::Connection::of(connection)))?;
        }
        let server = self.address.to_string().into();
        let listener = wire::Listener {
            verdicts: self.verdicts(),
            ..wire::Listener::new(server, self.queue.recv_q, self.queue.send_q)
        };
        line(out, &wire::Line::Listener(listener))?;
        for (what, count) in self.lost.iter().filter(|(_, n)| *n > 0) {
            line(out, &wire::Line::Loss(wire::Loss::of(what, *count)))?;
        }
        let summary = wire::Summary {
            v: wire::VERSION,
            runs: None,
            connections: self.connections.len(),
            disagreements: None,
            verdicts: self.verdicts(),
            clients: None,
            lost: self.lost.iter().map(|(_, n)| n).sum(),
            unaccounted: None,
            agree: None,
        };
        line(out, &wire::Line::Summary(summary))
    }

    fn verdicts(&self) -> wire::Counts<'static> {
        let mut counts = wire::Counts::new();
        for stage in self.connections.iter().filter_map(Connection::handshake) {
            *counts.entry(stage.id.as_str().into()).or_default() += 1;
        }
        counts
    }
}
