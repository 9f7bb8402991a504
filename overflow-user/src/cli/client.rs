//! `overflow client`: the experiment's clients on a real host, with what each believes.

use std::{
    io::{self, Write},
    net::{SocketAddr, ToSocketAddrs},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::{Args, value_parser};
use tokio::task::LocalSet;

use super::{OutputFormat, connection_text, parsers};
use overflow_core::wire::{self, Line};
use overflow_lab::{ClientView, two_hosts::Clients};

/// Connect many clients at once, and show each connection as the client sees it.
///
/// The clients' half of the experiment for two real hosts; `overflow server` is the other. A client
/// cannot tell a connection the server dropped from one it accepted: compare both reports.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  overflow client server.example                 5 clients to port 12345, watched for 5 s
  overflow client 192.0.2.7:8080                 the port may stand behind the host
  overflow client 192.0.2.7 -P 8080 --count 20 --payload 100 --hold 30s

Exit status: 0 done; 1 it could not run; 2 bad usage.")]
pub(super) struct ClientArgs {
    /// Host name or address of the server, and its port if -P does not give it
    #[arg(value_name = "HOST[:PORT]")]
    host: String,
    /// The server's port [default: 12345]
    #[arg(short = 'P', long, value_parser = value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Clients that connect at once
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = value_parser!(u16).range(1..))]
    count: u16,
    /// Bytes each client sends once its connect() has succeeded
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    payload: usize,
    /// How long to watch before the clients close
    #[arg(short = 'd', long, visible_alias = "duration", value_name = "SECS", default_value = "5", value_parser = parsers::seconds)]
    hold: Duration,
    /// Output format: text, or JSON lines
    #[arg(long, value_enum, default_value_t)]
    output: OutputFormat,
}

/// Connects, waits, reports.
pub(super) fn run(args: &ClientArgs) -> Result<ExitCode> {
    let server = resolve(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let views = LocalSet::new().block_on(&runtime, connect(args, server))?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    match args.output {
        OutputFormat::Text => text(&mut out, server, &views)?,
        OutputFormat::Json => {
            for view in &views {
                wire::line(&mut out, &line(server, view))?;
            }
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn resolve(args: &ClientArgs) -> Result<SocketAddr> {
    let (host, port) = host_and_port(&args.host, args.port)?;
    let mut found =
        (host, port).to_socket_addrs().with_context(|| format!("cannot find the host {host}"))?;
    found.next().with_context(|| format!("the host {host} has no address"))
}

/// `HOST`, `HOST:PORT`, `ADDRESS`, `[ADDRESS]:PORT`.
fn host_and_port(text: &str, port: Option<u16>) -> Result<(&str, u16)> {
    const DEFAULT: u16 = 12345;
    let bare = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (host, behind) = match (bare, text.split_once(':')) {
        (Some((host, rest)), _) => (host, rest.strip_prefix(':')),
        (None, Some((host, behind))) if !behind.contains(':') => (host, Some(behind)),
        // An IPv6 address alone, or no colon.
        (None, _) => (text, None),
    };
    let Some(behind) = behind else { return Ok((host, port.unwrap_or(DEFAULT))) };
    let found = behind.parse().ok().filter(|port| *port != 0);
    let found = found.with_context(|| format!("`{behind}` in {text} is no port"))?;
    match port {
        Some(port) if port != found => bail!("{text} and -P {port} are different ports; give one"),
        _ => Ok((host, found)),
    }
}

async fn connect(args: &ClientArgs, server: SocketAddr) -> Result<Vec<ClientView>> {
    overflow::say!("overflow: connecting {} clients to {server}", args.count);
    let clients = Clients::connect(server, args.count, args.payload)?;
    tokio::select! {
        () = tokio::time::sleep(args.hold) => (),
        interrupted = connection_text::interrupted() => interrupted.context("cannot wait for signals")?,
    }
    Ok(clients.views()?)
}

fn text(out: &mut impl Write, server: SocketAddr, views: &[ClientView]) -> io::Result<()> {
    let width = views.iter().map(|v| v.local.to_string().len()).max().unwrap_or(0);
    for view in views {
        let connect = match &view.connect {
            Ok(ns) => format!("connected after {} ms", ns / 1_000_000),
            Err(error) if error == "pending" => "still connecting".to_owned(),
            Err(error) => format!("connect failed: {error}"),
        };
        let error = view.error.as_ref().map_or(String::new(), |e| format!("  {e}"));
        writeln!(out, "{:width$}  {connect:24}  {}{error}", view.local.to_string(), view.state)?;
    }
    let believe = views.iter().filter(|v| v.state == "ESTABLISHED").count();
    writeln!(
        out,
        "{server}: {believe} of {} clients believe they are connected; what the server has of them \
         only its own report can say",
        views.len()
    )
}

fn line(server: SocketAddr, view: &ClientView) -> Line<'_> {
    Line::Client(wire::Client {
        v: wire::VERSION,
        client: view.local,
        server,
        connect_ns: view.connect.as_ref().ok().copied(),
        connect_error: view.connect.as_ref().err().map(|error| error.as_str().into()),
        state: view.state.as_str().into(),
        error: view.error.as_deref().map(Into::into),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_may_stand_behind_the_host() {
        let read = |text, port| host_and_port(text, port).map_err(|e| e.to_string());
        assert_eq!(read("10.0.0.1", None), Ok(("10.0.0.1", 12345)));
        assert_eq!(read("10.0.0.1:80", None), Ok(("10.0.0.1", 80)));
        assert_eq!(read("host.example:80", Some(80)), Ok(("host.example", 80)));
        assert_eq!(read("fd00::1", Some(8080)), Ok(("fd00::1", 8080)));
        assert_eq!(read("[fd00::1]:80", None), Ok(("fd00::1", 80)));
        assert!(read("10.0.0.1:80", Some(81)).unwrap_err().contains("different ports"));
        assert!(read("10.0.0.1:http", None).unwrap_err().contains("no port"));
    }
}
