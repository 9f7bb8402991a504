//! A thread's `net/tcp` and `net/tcp6`: what stands in for `sock_diag` on kernels without it.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use overflow_core::tcp_state::TcpState;

use super::{Family, TcpSocket};
use crate::{ReadError, own_thread};

/// Every TCP socket of this family; a line that cannot be understood is an error of its own.
pub fn sockets(family: Family) -> Result<Vec<Result<TcpSocket, ReadError>>, ReadError> {
    let file = match family {
        Family::V4 => "net/tcp",
        Family::V6 => "net/tcp6",
    };
    let path = own_thread::file(file);
    let text = fs::read_to_string(&path).map_err(ReadError::io(&path.to_string_lossy()))?;
    Ok(rows(&text, file))
}

/// The rows below the heading.
pub(crate) fn rows(text: &str, path: &'static str) -> Vec<Result<TcpSocket, ReadError>> {
    let strange = |line: &str| ReadError::form(path, format!("line {line:?}"));
    text.lines().skip(1).map(|line| row(line).ok_or_else(|| strange(line))).collect()
}

/// `sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode …`
/// (`get_tcp4_sock` and `get_openreq4` in net/ipv4/tcp_ipv4.c).
fn row(line: &str) -> Option<TcpSocket> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let local = address(fields.next()?)?;
    let peer = address(fields.next()?)?;
    let state = u8::from_str_radix(fields.next()?, 16).ok()?;
    let (send_q, recv_q) = fields.next()?.split_once(':')?;
    let retransmits = u32::from_str_radix(fields.nth(1)?, 16).ok()?;
    let send_q = u32::from_str_radix(send_q, 16).ok()?;
    let listens = state == TcpState::Listen.number();
    Some(TcpSocket {
        local,
        peer,
        state,
        retransmits: u8::try_from(retransmits).unwrap_or(u8::MAX),
        recv_q: u32::from_str_radix(recv_q, 16).ok()?,
        // Of a listener it is always 0 here.
        send_q: (!listens).then_some(send_q),
        uid: fields.next()?.parse().ok()?,
        inode: fields.nth(1)?.parse().ok()?,
        v6only: false,
        drops: None,
        cgroup_id: None,
    })
}

/// `0100070A:3039`: the address as native-endian words, one or four, the port as a number.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let word = |at: usize| {
        let word = u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    let ip = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (bytes, at) in bytes.chunks_exact_mut(4).zip([0, 8, 16, 24]) {
                bytes.copy_from_slice(&word(at)?);
            }
            Ipv6Addr::from(bytes).to_canonical()
        }
        _ => return None,
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
                send_q: Some(0),
                inode: 0,
                uid: 1000,
                v6only: false,
                drops: None,
                cgroup_id: None,
            })
        );
    }

    #[test]
    fn a_listener_shows_its_queue_as_rx_and_no_limit() {
        let line = "   0: 0100070A:3039 00000000:0000 0A 00000000:00000081 00:00000000 00000000 \
                    33 0 12345 1 0000000000000000 100 0 0 10 0";
        let listener = row(line).unwrap();
        assert!(listener.is_listener());
        assert_eq!((listener.recv_q, listener.send_q), (129, None));
        assert_eq!((listener.inode, listener.uid), (12345, 33));
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn mapped_and_native_ipv6() {
        let ip = |text| address(text).map(|a| a.to_string());
        let mapped = "0000000000000000FFFF00000100070A:3039";
        assert_eq!(ip(mapped).as_deref(), Some("10.7.0.1:12345"));
        let native = "000007FD000000000000000001000000:3039";
        assert_eq!(ip(native).as_deref(), Some("[fd07::1]:12345"));
        let loopback = "00000000000000000000000001000000:0016";
        assert_eq!(ip(loopback).as_deref(), Some("[::1]:22"));
        assert_eq!(ip("000007FD0000:3039"), None);
        assert_eq!(ip("000007FD0000000000000000010000000:3039"), None);
    }

    #[test]
    fn a_cut_line_is_not_a_socket() {
        assert_eq!(row("   0: 0100070A:3039 00000000:0000 0A"), None);
    }
}
