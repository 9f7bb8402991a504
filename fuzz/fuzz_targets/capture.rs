//! A whole capture, pcap or pcapng, as `overflow pcap` reads it: to its findings and their sums. Then the
//! same segments again and again, later and from other ports each time, as in a capture without end:
//! what is remembered stays within its room.
#![no_main]

use libfuzzer_sys::fuzz_target;
use overflow_core::capture::{
    file::Reader,
    sums::Sums,
    table::{Options, Table},
};

/// Far less than a real one has, so that it runs out.
const ROOM: usize = 8;
const ROUNDS: u16 = 4;
/// Between two rounds: long enough for connections to be over.
const LATER_NS: u64 = 100_000_000_000;

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut reader) = Reader::new(bytes) else { return };
    let mut table = Table::new(Options { room: ROOM, ..Options::default() });
    let mut sums = Sums::default();
    let mut segments = Vec::new();
    while let Ok(Some(frame)) = reader.next_frame() {
        segments.extend(frame.segment());
        if reader.dropped() > 0 {
            table.lose();
        }
    }
    for round in 0..ROUNDS {
        for segment in &segments {
            let mut segment = segment.clone();
            let packet = &mut segment.packet;
            packet.t_ns = packet.t_ns.saturating_add(u64::from(round) * LATER_NS);
            for end in [&mut packet.src, &mut packet.dst] {
                end.set_port(end.port().wrapping_add(round));
            }
            table.add(segment);
            let remembered = table.remembered();
            assert!(remembered <= ROOM, "{remembered} connections are remembered");
            table.findings().iter().for_each(|finding| sums.add(finding));
        }
    }
    table.end().for_each(|finding| sums.add(&finding));
    let judged = sums.all.connections;
    assert!(judged <= table.counts().segments, "{judged} connections of fewer segments");
});
