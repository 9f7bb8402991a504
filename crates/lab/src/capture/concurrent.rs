//! Whether a burst was one: a pure question to the capture.

use std::{collections::BTreeSet, net::SocketAddr};

use overflow_core::packet::{Packet, flags};

/// Whether the first SYN of every client in `burst` came before the first third ACK of any of
/// them. `packets` are in order of time at the server's interface.
pub(crate) fn concurrent(packets: &[Packet], burst: &BTreeSet<SocketAddr>) -> bool {
    let mut missing = burst.clone();
    for packet in packets.iter().filter(|p| burst.contains(&p.src)) {
        if packet.has(flags::SYN, flags::ACK) {
            missing.remove(&packet.src);
        } else if packet.has(flags::ACK, flags::SYN | flags::RST) {
            return missing.is_empty();
        }
    }
    missing.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sent: &[(u16, u8)], expected: bool) {
        let client = |port: u16| SocketAddr::from(([10, 7, 0, 2], port));
        let server = SocketAddr::from(([10, 7, 0, 1], 12345));
        let packets: Vec<_> = sent
            .iter()
            .zip(0..)
            .map(|(&(port, flags), t_ns)| Packet {
                t_ns,
                src: client(port),
                dst: server,
                flags,
                seq: 0,
                ack: 0,
                payload_len: 0,
                raw: Vec::new(),
            })
            .collect();
        let burst = BTreeSet::from([client(1), client(2)]);
        assert_eq!(concurrent(&packets, &burst), expected, "{sent:?}");
    }

    const SYN: u8 = flags::SYN;
    const ACK: u8 = flags::ACK;

    #[test]
    fn all_syns_before_the_first_ack() {
        check(&[(1, SYN), (2, SYN), (1, ACK), (2, ACK)], true);
        check(&[(1, SYN), (2, SYN)], true);
    }

    #[test]
    fn an_ack_between_the_syns_spoils_it() {
        check(&[(1, SYN), (1, ACK), (2, SYN)], false);
        check(&[(1, SYN), (1, ACK | flags::PSH), (2, SYN)], false);
    }

    #[test]
    fn a_syn_that_never_came_spoils_it() {
        check(&[(1, SYN), (1, ACK)], false);
        check(&[], false);
    }

    #[test]
    fn prefill_and_retransmissions_do_not_matter() {
        check(&[(9, SYN), (9, ACK), (1, SYN), (1, SYN), (2, SYN), (2, ACK), (1, SYN)], true);
    }
}
