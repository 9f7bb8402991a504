//! `/proc/thread-self/net/tcp` and `tcp6`: what stands in for `sock_diag` on kernels without it.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use super::{diag::Dump, found::Found};

/// Listeners and requests as procfs shows them: without the limit of the accept queue.
pub(super) fn dump() -> io::Result<Dump> {
    let mut dump = Dump::default();
    rows(&fs::read_to_string("/proc/thread-self/net/tcp")?, &mut dump);
    // A kernel without IPv6 has no such file.
    if let Ok(text) = fs::read_to_string("/proc/thread-self/net/tcp6") {
        rows(&text, &mut dump);
    }
    Ok(dump)
}

fn rows(text: &str, into: &mut Dump) {
    for line in text.lines().skip(1) {
        let _ = row(line, into);
    }
}

/// `sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode …`
/// (`get_tcp4_sock` and `get_openreq4` in net/ipv4/tcp_ipv4.c).
fn row(line: &str, into: &mut Dump) -> Option<()> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let local = address(fields.next()?)?;
    let state = fields.nth(1)?;
    let (_, recv_q) = fields.next()?.split_once(':')?;
    let uid = fields.nth(2)?.parse().ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    match state {
        "0A" => into.listeners.push(Found {
            local,
            v6only: false,
            inode,
            uid,
            recv_q: u32::from_str_radix(recv_q, 16).ok()?,
            send_q: None,
            drops: None,
            cgroup_id: None,
        }),
        "03" => *into.requests.entry(local).or_default() += 1,
        _ => {}
    }
    Some(())
}

/// `0100070A:3039`: the address as native-endian words, the port as a number.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let word = u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    let ip = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (i, part) in bytes.chunks_exact_mut(4).enumerate() {
                part.copy_from_slice(&word(i * 8)?);
            }
            IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn listeners_and_requests_of_both_families() {
        let mut dump = Dump::default();
        rows(
            "  sl  local_address …\n\
             \x20  0: 0100007F:1F90 00000000:0000 0A 00000000:00000081 00:00000000 00000000 \
             33 0 12345 1 0000000000000000 100 0 0 10 0\n\
             \x20  1: 0100007F:1F90 0100007F:8001 03 00000000:00000000 01:00000063 00000001 \
             0 0 0 2 0000000000000000\n\
             \x20  2: 0100007F:1F90 0100007F:8002 01 00000000:00000000 00:00000000 00000000 \
             0 0 7 2 0000000000000000\n",
            &mut dump,
        );
        rows(
            "  sl  local_address …\n\
             \x20  0: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 \
             0A 00000000:00000000 00:00000000 00000000 0 0 77 1 0000000000000000 100 0 0 10 0\n",
            &mut dump,
        );
        let listeners: Vec<_> = dump
            .listeners
            .iter()
            .map(|l| (l.local.to_string(), l.recv_q, l.inode, l.uid))
            .collect();
        assert_eq!(
            listeners,
            [("127.0.0.1:8080".to_owned(), 129, 12345, 33), ("[::1]:22".to_owned(), 0, 77, 0)]
        );
        assert_eq!(dump.requests[&"127.0.0.1:8080".parse().unwrap()], 1);
    }

    #[test]
    fn a_cut_line_is_nothing() {
        let mut dump = Dump::default();
        assert_eq!(row("   0: 0100007F:1F90 00000000:0000 0A", &mut dump), None);
        assert_eq!(dump, Dump::default());
    }
}
