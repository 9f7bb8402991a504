//! What reads captured packets, for the fuzzers of `fuzz/`.

use overflow_core::packet::Packet;

use crate::capture::parse::tcp_segment;

/// A packet from its IP header on.
pub fn packet(raw: &[u8]) -> Option<Packet> {
    tcp_segment(0, raw)
}
