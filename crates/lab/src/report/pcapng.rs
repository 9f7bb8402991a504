//! Writes the captured packets of all cells into one pcapng, annotated with the verdicts.
//!
//! One interface per cell, named like the cell; raw IP packets; nanoseconds of wall-clock time.

use std::{borrow::Cow, collections::BTreeMap, io::Write, time::Duration};

use pcap_file::{
    DataLink, PcapError,
    pcapng::{
        PcapNgWriter,
        blocks::{
            enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption},
            interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption},
            section_header::{SectionHeaderBlock, SectionHeaderOption},
        },
    },
};

use super::{CellReport, Report, annotate};
use overflow_core::wire::{LinkKind, TOOL};

/// Writes the capture of every cell.
///
/// `wall_offset_ns` is CLOCK_REALTIME minus CLOCK_MONOTONIC, nanoseconds. The error is that of
/// `out`, or a timestamp that pcapng cannot hold.
pub fn report<W: Write>(out: W, report: &Report, wall_offset_ns: i64) -> Result<W, PcapError> {
    let mut writer = PcapNgWriter::with_section_header(out, section(report))?;
    for cell in &report.cells {
        writer.write_pcapng_block(interface(cell))?;
    }
    for (interface_id, cell) in (0..).zip(&report.cells) {
        let comments = annotate::comments(cell);
        for (at, packet) in cell.observation.packets.iter().enumerate() {
            let length = u32::try_from(packet.raw.len())
                .map_err(|_| PcapError::InvalidField("a packet is longer than 4 GiB"))?;
            let wall = i128::from(packet.t_ns) + i128::from(wall_offset_ns);
            let wall = u64::try_from(wall)
                .map_err(|_| PcapError::InvalidField("a packet lies before 1970 or after 2554"))?;
            let comment = comments.get(&at).map(|c| EnhancedPacketOption::Comment(c.into()));
            writer.write_pcapng_block(EnhancedPacketBlock {
                interface_id,
                timestamp: Duration::from_nanos(wall),
                original_len: length,
                data: Cow::Borrowed(&packet.raw),
                options: comment.into_iter().collect(),
            })?;
        }
    }
    Ok(writer.into_inner())
}

fn section(report: &Report) -> SectionHeaderBlock<'static> {
    let cell =
        |cell: &CellReport| format!("{}: {}", cell.config.run_name(), sysctls(&cell.sysctls));
    let cells: Vec<String> = report.cells.iter().map(cell).collect();
    let distro = report.host.distro.as_ref().map_or(String::new(), |d| format!(", {d}"));
    SectionHeaderBlock {
        options: vec![
            SectionHeaderOption::Comment(cells.join("\n").into()),
            SectionHeaderOption::OS(format!("Linux {}{distro}", report.host.kernel).into()),
            SectionHeaderOption::UserApplication(TOOL.into()),
        ],
        ..SectionHeaderBlock::default()
    }
}

fn interface(cell: &CellReport) -> InterfaceDescriptionBlock<'static> {
    // Behind a qdisc a departing packet is captured once it is released.
    let link = match cell.observation.link {
        LinkKind::Netem => "netem: what the server sends is seen after its delay",
        LinkKind::Userspace => "user-space link: what the server sends is seen before its delay",
    };
    let config = &cell.config;
    let what = format!(
        "server's interface, backlog {}, {} clients, {link}",
        config.backlog, config.clients
    );
    InterfaceDescriptionBlock {
        linktype: DataLink::RAW,
        snaplen: 0,
        options: vec![
            InterfaceDescriptionOption::IfName(config.run_name().into()),
            InterfaceDescriptionOption::IfDescription(what.into()),
            InterfaceDescriptionOption::IfTsResol(9),
            InterfaceDescriptionOption::Comment(sysctls(&cell.sysctls).into()),
        ],
    }
}

fn sysctls(sysctls: &BTreeMap<String, u64>) -> String {
    let all: Vec<String> = sysctls.iter().map(|(name, value)| format!("{name}={value}")).collect();
    all.join(" ")
}
