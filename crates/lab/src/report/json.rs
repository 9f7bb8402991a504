//! Writes JSON lines.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use overflow_core::wire::{
    self, Connection, Counts, Line, Listener, Loss, Run, RunListener, Summary, TOOL, VERSION,
    Witnesses,
};

use super::{CellReport, Host, Report};
use crate::witness::{Comparison, WireEvidence};

/// Writes a cell: `run`, `connection`s, `listener`, `loss`es. May be called as each cell ends.
pub fn cell(out: &mut dyn Write, host: &Host, cell: &CellReport) -> io::Result<()> {
    let name = cell.config.run_name();
    wire::line(out, &Line::Run(run(host, cell, &name)))?;
    let counters = cell.judgement.counters_text();
    for comparison in &cell.judgement.connections {
        wire::line(out, &Line::Connection(connection(comparison, &name, &counters, cell)))?;
    }
    wire::line(out, &Line::Listener(listener(cell, &name)))?;
    for loss in cell.losses.iter().filter(|l| l.count > 0) {
        let loss = Loss { v: VERSION, run: Some(&name), what: &loss.what, count: loss.count };
        wire::line(out, &Line::Loss(loss))?;
    }
    Ok(())
}

/// Writes the last line, `summary`.
pub fn summary(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    let connections = || report.cells.iter().flat_map(|c| &c.judgement.connections);
    let summary = Summary {
        v: VERSION,
        runs: Some(report.cells.len()),
        connections: connections().count(),
        disagreements: Some(report.cells.iter().map(disagreements).sum()),
        verdicts: verdicts(connections()),
        lost: report.lost(),
        agree: Some(report.agree()),
    };
    wire::line(out, &Line::Summary(summary))
}

/// Writes the whole report.
pub fn report(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    for c in &report.cells {
        cell(out, &report.host, c)?;
    }
    summary(out, report)
}

fn disagreements(cell: &CellReport) -> usize {
    cell.judgement.connections.iter().filter(|c| !cell.agrees(c)).count()
}

fn run<'a>(host: &'a Host, cell: &'a CellReport, name: &'a str) -> Run<'a> {
    let (config, seen) = (&cell.config, &cell.observation);
    let ms = |d: std::time::Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    Run {
        v: VERSION,
        run: name,
        tool: TOOL,
        kernel: &host.kernel,
        distro: host.distro.as_deref(),
        sysctls: &cell.sysctls,
        listener: RunListener {
            server: seen.server.to_string(),
            backlog: config.backlog,
            somaxconn: config.somaxconn,
        },
        clients: config.clients,
        prefill: config.prefill,
        payload_bytes: config.payload as u64,
        delay_ms: ms(config.delay),
        hold_ms: ms(config.hold),
        link: seen.link,
        concurrent: seen.concurrent,
        attempts: seen.attempts,
        hooks: &cell.hooks,
        notes: &seen.notes,
    }
}

fn connection<'a>(
    comparison: &'a Comparison,
    name: &'a str,
    counters: &'a str,
    cell: &'a CellReport,
) -> Connection<'a> {
    let (client_view, client_error) = match &comparison.client_view {
        Some((state, error)) => (Some(state.as_str()), error.as_deref()),
        None => (None, None),
    };
    let disagreement = comparison.why.as_deref();
    let agree = cell.agrees(comparison);
    Connection {
        run: Some(name),
        phase: comparison.phase,
        client_view,
        client_error,
        server_view: Some(comparison.server_view.as_deref()),
        witnesses: Some(Witnesses {
            ebpf: comparison.ebpf,
            counters,
            packets: comparison.packets.as_ref().map(|e| e.pattern.text()),
            wire: comparison.packets.as_ref().map(counts),
        }),
        agree: Some(agree),
        disagreement: disagreement.or((!agree).then_some(counters)),
        ..Connection::of(&comparison.connection)
    }
}

fn counts(evidence: &WireEvidence) -> Counts {
    let flow = &evidence.flow;
    Counts {
        syn: flow.syns.len(),
        synack: flow.synacks.len(),
        ack: flow.acks.len(),
        rst: flow.resets.len() + flow.refusals.len(),
        active_rst: flow.active_resets.len(),
    }
}

fn listener<'a>(cell: &'a CellReport, name: &'a str) -> Listener<'a> {
    let seen = &cell.observation;
    let nonzero = seen.counters.iter().filter(|(_, n)| **n > 0);
    Listener {
        v: VERSION,
        run: Some(name),
        server: seen.server.to_string(),
        recv_q_before: Some(seen.queue.0.recv_q),
        recv_q: seen.queue.1.recv_q,
        send_q: seen.queue.1.send_q,
        verdicts: verdicts(cell.judgement.connections.iter()),
        counters: nonzero.map(|(name, n)| (name.as_str(), *n)).collect(),
    }
}

fn verdicts<'a>(connections: impl Iterator<Item = &'a Comparison>) -> BTreeMap<&'a str, u64> {
    let mut counts = BTreeMap::new();
    for comparison in connections {
        *counts.entry(comparison.verdict()).or_default() += 1;
    }
    counts
}
