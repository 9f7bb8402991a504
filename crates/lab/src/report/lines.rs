//! A run as lines.

use std::{borrow::Cow, io};

use overflow_core::wire::{
    Cell, CellListener, Connection, Counts, Hook, Line, Lines, Listener, Loss, Run, Segments,
    Summary, TOOL, VERSION, Witnesses,
};

use super::{CellReport, HookInUse, Host, Report};
use crate::witness::Comparison;

/// Gives a cell: `run`, `connection`s, `listener`, `loss`es. May be called as each cell ends.
pub fn cell(out: &mut dyn Lines, host: &Host, cell: &CellReport) -> io::Result<()> {
    let name = cell.config.run_name();
    out.line(&Line::Run(run(host, cell, &name)))?;
    let counters = cell.judgement.counters_text();
    for comparison in &cell.judgement.connections {
        out.line(&Line::Connection(connection(comparison, &name, &counters, cell)))?;
    }
    out.line(&Line::Listener(listener(cell, &name)))?;
    for (what, count) in cell.losses.iter().filter(|(_, count)| *count > 0) {
        let loss = Loss { run: Some(name.as_str().into()), ..Loss::of(what, *count) };
        out.line(&Line::Loss(loss))?;
    }
    Ok(())
}

/// Gives the last line, `summary`.
pub fn summary(out: &mut dyn Lines, report: &Report) -> io::Result<()> {
    let connections = || report.cells.iter().flat_map(|c| &c.judgement.connections);
    let summary = Summary {
        v: VERSION,
        runs: Some(report.cells.len()),
        connections: connections().count(),
        disagreements: Some(report.cells.iter().map(disagreements).sum()),
        verdicts: verdicts(connections()),
        lost: report.lost(),
        clients: None,
        unaccounted: None,
        agree: Some(report.agree()),
    };
    out.line(&Line::Summary(summary))
}

/// Gives the whole report.
pub fn report(out: &mut dyn Lines, report: &Report) -> io::Result<()> {
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
        run: Some(name.into()),
        tool: TOOL.into(),
        kernel: host.kernel.as_str().into(),
        distro: host.distro.as_deref().map(Cow::Borrowed),
        cell: Some(Cell {
            sysctls: cell.sysctls.iter().map(|(name, n)| (name.into(), *n)).collect(),
            listener: CellListener {
                server: seen.server,
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
        }),
        trace: None,
        hooks: cell.hooks.iter().map(hook).collect(),
        notes: (&*seen.notes).into(),
    }
}

fn hook(hook: &HookInUse) -> Hook<'_> {
    Hook {
        moment: hook.hook_point.as_str().into(),
        rung: hook.rung.as_str().into(),
        hook: Some(hook.hook.as_str().into()),
    }
}

fn connection<'a>(
    comparison: &'a Comparison,
    name: &'a str,
    counters: &'a str,
    cell: &'a CellReport,
) -> Connection<'a> {
    let (client_view, client_error) = match &comparison.client_view {
        Some((state, error)) => (Some(state.into()), error.as_deref().map(Cow::Borrowed)),
        None => (None, None),
    };
    let agree = cell.agrees(comparison);
    let disagreement = comparison.why.as_deref().or((!agree).then_some(counters));
    Connection {
        run: Some(name.into()),
        phase: comparison.phase,
        client_view,
        client_error,
        server_view: Some(comparison.server_view.as_deref().map(Cow::Borrowed)),
        witnesses: Some(Witnesses {
            ebpf: comparison.ebpf,
            counters: counters.into(),
            packets: comparison.packets.as_ref().map(|a| a.pattern.text().into()),
            wire: comparison.packets.as_ref().map(|e| Segments::of(&e.flow)),
        }),
        agree: Some(agree),
        disagreement: disagreement.map(Cow::Borrowed),
        ..Connection::of(&comparison.connection)
    }
}

fn listener<'a>(cell: &'a CellReport, name: &'a str) -> Listener<'a> {
    let seen = &cell.observation;
    let nonzero = seen.counters.iter().filter(|(_, n)| **n > 0);
    let (before, queue) = &seen.queue;
    Listener {
        run: Some(name.into()),
        recv_q_before: Some(before.recv_q),
        verdicts: verdicts(cell.judgement.connections.iter()),
        counters: nonzero.map(|(name, n)| (name.into(), *n)).collect(),
        ..Listener::new(seen.server.to_string().into(), queue.recv_q, queue.send_q)
    }
}

fn verdicts<'a>(connections: impl Iterator<Item = &'a Comparison>) -> Counts<'a> {
    let mut counts = Counts::new();
    for comparison in connections {
        *counts.entry(comparison.verdict().into()).or_default() += 1;
    }
    counts
}
