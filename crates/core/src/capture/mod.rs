//! What captured packets show of TCP handshakes, whoever captured them, wherever: from a frame's
//! bytes to the verdicts that look alike on the wire.
//!
//! [`file`] reads frames, [`link`] and [`headers`] make a segment of each, [`flow`] sorts the segments of a connection,
//! [`evidence`] says what they amount to. The lab asks that of its own captures, of which it knows
//! everything. Of somebody else's, [`table`] keeps the connections, [`point`] finds out where it was
//! taken, and [`finding`] says what follows from all that, and what does not.

pub mod evidence;
pub mod file;
pub mod finding;
pub mod flow;
pub mod headers;
pub mod link;
mod live;
mod pcapng;
pub mod point;
#[cfg(any(test, feature = "samples"))]
pub mod script;
pub mod sums;
pub mod table;
#[cfg(test)]
mod tests;

use crate::packet::Packet;
use link::Direction;

/// A TCP segment of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The segment; its `raw` is empty.
    pub packet: Packet,
    /// Number of its packet in the capture, from 1, as Wireshark counts.
    pub number: u64,
    /// Which of the capture's interfaces saw it, from 0.
    pub interface: u32,
    /// The index of the capturing host's interface that saw it; 0 where the capture has one only.
    pub device: u32,
    /// Which way it went, where the capture says so.
    pub direction: Option<Direction>,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// IPv4 identification; 0 for IPv6.
    pub ip_id: u16,
}
