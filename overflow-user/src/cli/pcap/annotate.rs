//! The packets of a capture again, with what was found as their comments.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs::File,
    io::{BufWriter, Write},
    time::Duration,
};

use anyhow::Result;
use pcap_file::{
    DataLink,
    pcapng::{
        PcapNgWriter,
        blocks::{
            enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption},
            interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption},
            section_header::{SectionHeaderBlock, SectionHeaderOption},
        },
    },
};

use overflow_core::{
    capture::{
        file::{Frame, Interface, Reader},
        finding::{Finding, MarkKind},
        link::Direction,
    },
    verdict::{Class, VerdictId, WirePattern},
    wire::TOOL,
};

/// Comments are remembered until the capture is written again: so many, some 300 bytes each.
const MOST: usize = 1 << 18;

/// The comments on packets, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Comments {
    texts: BTreeMap<u64, String>,
    left_out: u64,
}

impl Comments {
    /// Adds those of a connection.
    pub(super) fn add(&mut self, finding: &Finding) {
        let decided = decided_on(finding);
        for mark in &finding.marks {
            let text = match mark.kind {
                kind if Some(kind) == decided => verdict(finding),
                MarkKind::Syn | MarkKind::SynAck | MarkKind::Ack => continue,
                MarkKind::SynAgain => "the SYN, sent again".to_owned(),
                MarkKind::SynAckAgain => "the SYN-ACK, sent again".to_owned(),
                MarkKind::ClientRst => "RST: the client's own".to_owned(),
                MarkKind::ServerRst => server_rst(finding),
            };
            if self.texts.len() < MOST {
                self.texts.insert(mark.number, text);
            } else {
                self.left_out += 1;
            }
        }
    }
}

/// The kind of packet that its verdict is about.
fn decided_on(finding: &Finding) -> Option<MarkKind> {
    let syn = match finding.evidence.pattern {
        WirePattern::SynUnanswered | WirePattern::SynRefused | WirePattern::SynAckOnly => true,
        WirePattern::NoSyn
        | WirePattern::StrayReset
        | WirePattern::AckReset
        | WirePattern::AckResent
        | WirePattern::AckSilent
        | WirePattern::AckSilentShort
        | WirePattern::AckUnanswered
        | WirePattern::AckThenClientReset
        | WirePattern::DataReset
        | WirePattern::Accepted => false,
    };
    let wanted = if syn { MarkKind::Syn } else { MarkKind::Ack };
    let has = |kind| finding.marks.iter().any(|mark| mark.kind == kind);
    // Its beginning may not be in the capture.
    if has(wanted) { Some(wanted) } else { finding.marks.first().map(|mark| mark.kind) }
}

fn verdict(finding: &Finding) -> String {
    let mut text = format!("{}: {}", finding.family(), finding.evidence.pattern.words());
    if let [_, _, ..] = &finding.verdicts[..] {
        let ids: Vec<&str> = finding.verdicts.iter().map(|id| id.as_str()).collect();
        text.push_str("\nlook alike: ");
        text.push_str(&ids.join(", "));
    }
    for doubt in &finding.doubts {
        text.push_str("\ncannot tell ");
        text.push_str(doubt.what());
    }
    text
}

fn server_rst(finding: &Finding) -> String {
    let refuses = |id: &VerdictId| id.class() == Class::AckReset;
    let mut kinds: Vec<&str> = finding
        .resets
        .iter()
        .filter(|reset| reset.kind.is_servers())
        .map(|reset| reset.kind.words())
        .collect();
    kinds.dedup();
    match &kinds[..] {
        [only] if finding.verdicts.iter().any(refuses) => {
            format!("RST: {only}: {}", finding.family())
        }
        [only] => format!("RST: {only}"),
        _ => "RST: the server's".to_owned(),
    }
}

/// Writes the capture with its comments; how many of them there was no room for.
pub(super) fn write(capture: File, out: File, comments: &Comments) -> Result<u64> {
    let mut reader = Reader::new(capture)?;
    let section = SectionHeaderBlock {
        options: vec![SectionHeaderOption::UserApplication(TOOL.into())],
        ..SectionHeaderBlock::default()
    };
    let mut writer = PcapNgWriter::with_section_header(BufWriter::new(out), section)?;
    let mut written = 0;
    // What can be read of a capture that is cut off was told, and so is written.
    while let Ok(Some(frame)) = reader.next_frame() {
        let interface = frame.interface as usize;
        let packet = packet(&frame, comments.texts.get(&frame.number));
        let interfaces = reader.interfaces();
        if interface >= interfaces.len() {
            continue;
        }
        for interface in &interfaces[written.min(interface + 1)..=interface] {
            writer.write_pcapng_block(description(interface))?;
            written += 1;
        }
        writer.write_pcapng_block(packet)?;
    }
    writer.into_inner().flush()?;
    Ok(comments.left_out)
}

fn description(interface: &Interface) -> InterfaceDescriptionBlock<'static> {
    let name = interface.name.clone().map(|n| InterfaceDescriptionOption::IfName(n.into()));
    let mut options = vec![InterfaceDescriptionOption::IfTsResol(9)];
    options.extend(name);
    InterfaceDescriptionBlock { linktype: DataLink::from(interface.link), snaplen: 0, options }
}

fn packet(frame: &Frame<'_>, found: Option<&String>) -> EnhancedPacketBlock<'static> {
    let mut options = Vec::new();
    for comment in frame.comment.lines().chain(found.map(String::as_str)) {
        options.push(EnhancedPacketOption::Comment(comment.to_owned().into()));
    }
    if let Some(direction) = frame.direction {
        // epb_flags: the lowest two bits.
        let flags = match direction {
            Direction::In => 1,
            Direction::Out => 2,
        };
        options.push(EnhancedPacketOption::Flags(flags));
    }
    EnhancedPacketBlock {
        interface_id: frame.interface,
        timestamp: Duration::from_nanos(frame.t_ns),
        original_len: frame.wire_len,
        data: Cow::Owned(frame.data.to_vec()),
        options,
    }
}
