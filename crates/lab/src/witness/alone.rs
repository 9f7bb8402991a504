//! The packets once more, as somebody judges them who got nothing but the capture: what
//! `overflow pcap` names must hold the tracer's verdict.

use std::{collections::HashMap, net::SocketAddr};

use overflow_core::{
    capture::{
        Segment,
        finding::Finding,
        headers::tcp_segment,
        table::{Options, Table},
    },
    packet::Packet,
    verdict::{Connection, VerdictId},
};

/// What is found of each client's last connection.
pub(super) fn findings(packets: &[Packet]) -> HashMap<SocketAddr, Finding> {
    let mut table = Table::new(Options::default());
    for (packet, number) in packets.iter().zip(1..) {
        let Some(headers) = tcp_segment(packet.t_ns, &packet.raw, packet.raw.len()) else {
            continue;
        };
        table.add(Segment {
            packet: headers.packet,
            number,
            interface: 0,
            device: 0,
            direction: None,
            ttl: headers.ttl,
            ip_id: headers.ip_id,
        });
    }
    table.end().map(|finding| (finding.client, finding)).collect()
}

/// Why what was found contradicts the tracer, if it does.
pub(super) fn objection(
    finding: &Finding,
    verdict: VerdictId,
    connection: &Connection,
) -> Option<String> {
    // A third ACK may come when its request is gone, and then is none to the kernel.
    let late = VerdictId::LaterResetNoSocket;
    let truth = if verdict.is_syn() && connection.stages.iter().any(|s| s.id == late) {
        late
    } else {
        verdict
    };
    if finding.verdicts.is_empty() || finding.verdicts.contains(&truth) {
        return None;
    }
    let named: Vec<&str> = finding.verdicts.iter().map(|id| id.as_str()).collect();
    Some(format!(
        "the tracer says {truth}, and from the capture alone it would be {}",
        named.join(" or ")
    ))
}
