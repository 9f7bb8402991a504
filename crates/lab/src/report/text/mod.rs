//! The report for people: 80 columns, a table per cell, the kernel's path per verdict, then what
//! decided it.

mod cell;
mod closing;
mod histories;
mod sockets;

use std::io::{self, Write};

use super::{CellReport, Host, Report};
use overflow_core::text::style::{Options, Page};

/// Writes what is known before the first cell: machine, experiment, what traces it.
pub(crate) fn header(
    out: &mut dyn Write,
    host: &Host,
    first: &CellReport,
    opts: Options,
) -> io::Result<()> {
    let mut page = Page::new(opts);
    cell::header(&mut page, host, first);
    page.write_to(out)
}

/// Writes one cell: table, paths, counters.
pub(crate) fn cell(out: &mut dyn Write, report: &CellReport, opts: Options) -> io::Result<()> {
    let mut page = Page::new(opts);
    cell::cell(&mut page, report);
    page.write_to(out)
}

/// Writes what comes after the cells: all of them side by side, disagreements, losses, and what
/// decided it.
pub(crate) fn closing(out: &mut dyn Write, report: &Report, opts: Options) -> io::Result<()> {
    let mut page = Page::new(opts);
    closing::closing(&mut page, report);
    page.write_to(out)
}

/// Writes the whole report.
pub fn report(out: &mut dyn Write, report: &Report, opts: Options) -> io::Result<()> {
    if let Some(first) = report.cells.first() {
        header(out, &report.host, first, opts)?;
    }
    for c in &report.cells {
        cell(out, c, opts)?;
    }
    closing(out, report, opts)
}
