//! What `overflow server` and `overflow client` share: how they end, and how a connection reads.

use std::io::{self, Write};

use overflow_core::verdict::{Connection, Known, Stage};

/// Waits for SIGINT or SIGTERM.
pub(super) async fn interrupted() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result,
        _ = terminated.recv() => Ok(()),
    }
}

/// A connection: its client and outcome, then a line per stage.
pub(super) fn connection(out: &mut impl Write, connection: &Connection) -> io::Result<()> {
    let outcome = connection.outcome.map_or("unknown", |id| id.as_str());
    writeln!(out, "{}  {outcome}", connection.client)?;
    let t0 = connection.stages.first().map_or(0, |s| s.t_ns);
    for stage in &connection.stages {
        self::stage(out, stage, t0)?;
    }
    let resent = connection.synack_retransmits_ns.len();
    if resent > 0 {
        let last = connection.synack_retransmits_ns.last().map_or(0, |t| t.saturating_sub(t0));
        writeln!(out, "               SYN-ACK retransmitted {resent} times, last {}", since(last))?;
    }
    Ok(())
}

fn stage(out: &mut impl Write, stage: &Stage, t0: u64) -> io::Result<()> {
    let again = match stage.repeats_ns.len() {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    let known = match &stage.known {
        Known::Traced => "traced",
        Known::Inferred(_) => "inferred",
    };
    writeln!(out, "    {:>9}  {}{again}  {known}", since(stage.t_ns.saturating_sub(t0)), stage.id)?;
    if !stage.path.is_empty() {
        writeln!(out, "               {}", stage.path.join(" > "))?;
    }
    let v = &stage.values;
    if let (Some(len), Some(max)) = (v.sk_ack_backlog, v.sk_max_ack_backlog) {
        let sign = if len > max { ">" } else { "≤" };
        let read = match (v.abort_on_overflow, v.abort_on_overflow_read) {
            (Some(n), Some(true)) => format!(", tcp_abort_on_overflow={n} read"),
            (Some(n), Some(false)) => format!(", tcp_abort_on_overflow={n} not read"),
            _ => String::new(),
        };
        writeln!(out, "               Recv-Q {len} {sign} {max}{read}")?;
    }
    Ok(())
}

/// A time after the connection's first stage, in milliseconds.
pub(super) fn since(ns: u64) -> String {
    format!("+{} ms", ns / 1_000_000)
}
