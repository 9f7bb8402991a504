//! One TCP segment seen on the wire: what packets are judged by.

use std::net::SocketAddr;

/// TCP header flags, as in the header's 13th byte.
pub mod flags {
    /// FIN.
    pub const FIN: u8 = 0x01;
    /// SYN.
    pub const SYN: u8 = 0x02;
    /// RST.
    pub const RST: u8 = 0x04;
    /// PSH.
    pub const PSH: u8 = 0x08;
    /// ACK.
    pub const ACK: u8 = 0x10;
}

/// A captured TCP segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// When it was captured, nanoseconds: CLOCK_MONOTONIC in the lab, since 1970 in a capture file.
    pub t_ns: u64,
    /// Source address and port.
    pub src: SocketAddr,
    /// Destination address and port.
    pub dst: SocketAddr,
    /// TCP flags, see [`flags`].
    pub flags: u8,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// TCP payload length in bytes.
    pub payload_len: u32,
    /// The whole packet from the IP header on; empty where nobody wants to write it again.
    pub raw: Vec<u8>,
}

impl Packet {
    /// Whether all of `set` are set and none of `clear`.
    pub fn has(&self, set: u8, clear: u8) -> bool {
        self.flags & set == set && self.flags & clear == 0
    }
}
