//! `/proc/thread-self/net/tcp` and `tcp6`: what stands in for `sock_diag` on kernels without inet_diag.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use super::{LabError, diag::TcpSocket, error::During};

const PATH: &str = "/proc/thread-self/net/tcp";
const PATH6: &str = "/proc/thread-self/net/tcp6";

/// Every `AF_INET6` or `AF_INET` TCP socket of the calling thread's namespace, requests included;
/// IPv4-mapped addresses as IPv4.
pub(super) fn sockets(ipv6: bool) -> Result<Vec<TcpSocket>, LabError> {
    let path = if ipv6 { PATH6 } else { PATH };
    let text = fs::read_to_string(path).during(format!("reading {path}"))?;
    text.lines()
        .skip(1)
        .map(|line| {
            row(line).ok_or_else(|| LabError::Parse { what: path, why: format!("line {line:?}") })
        })
        .collect()
}

/// `sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt …` (`get_tcp4_sock`
/// and `get_openreq4` in net/ipv4/tcp_ipv4.c).
fn row(line: &str) -> Option<TcpSocket> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let local = address(fields.next()?)?;
    let peer = address(fields.next()?)?;
    let state = u8::from_str_radix(fields.next()?, 16).ok()?;
    let (send_q, recv_q) = fields.next()?.split_once(':')?;
    let retransmits = u32::from_str_radix(fields.nth(1)?, 16).ok()?;
    Some(TcpSocket {
        local,
        peer,
        state,
        retransmits: u8::try_from(retransmits).unwrap_or(u8::MAX),
        recv_q: u32::from_str_radix(recv_q, 16).ok()?,
        send_q: u32::from_str_radix(send_q, 16).ok()?,
    })
}

/// `0100070A:3039`: the address as native-endian words, one or four, the port as a number.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let word = |at: usize| {
        let word = u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    let ip = if address.len() == 8 {
        IpAddr::V4(Ipv4Addr::from(word(0)?))
    } else {
        let mut bytes = [0; 16];
        for (bytes, at) in bytes.chunks_exact_mut(4).zip([0, 8, 16, 24]) {
            bytes.copy_from_slice(&word(at)?);
        }
        Ipv6Addr::from(bytes).to_canonical()
    };
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn a_request_with_retransmissions() {
        let line = "   2: 0100070A:3039 0200070A:7533 03 00000000:00000000 01:00000120 00000002 \
                    1000 0 0 2 0000000000000000";
        assert_eq!(
            row(line),
            Some(TcpSocket {
                local: "10.7.0.1:12345".parse().unwrap(),
                peer: "10.7.0.2:30003".parse().unwrap(),
                state: 3,
                retransmits: 2,
                recv_q: 0,
                send_q: 0,
            })
        );
    }

    #[test]
    fn a_listener_shows_its_queue_as_rx() {
        let line = "   0: 0100070A:3039 00000000:0000 0A 00000000:00000002 00:00000000 00000000 \
                    0 0 12345 1 0000000000000000 100 0 0 10 0";
        let listener = row(line).unwrap();
        assert_eq!((listener.state, listener.recv_q, listener.send_q), (10, 2, 0));
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn mapped_and_native_ipv6() {
        let ip = |text| address(text).map(|a| a.to_string());
        let mapped = "0000000000000000FFFF00000100070A:3039";
        assert_eq!(ip(mapped).as_deref(), Some("10.7.0.1:12345"));
        let native = "000007FD000000000000000001000000:3039";
        assert_eq!(ip(native).as_deref(), Some("[fd07::1]:12345"));
        assert_eq!(ip("000007FD0000:3039"), None);
    }

    #[test]
    fn a_cut_line_is_not_a_socket() {
        assert_eq!(row("   0: 0100070A:3039 00000000:0000 0A"), None);
    }
}
