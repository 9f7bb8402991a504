//! TCP sockets by `sock_diag`, as `ss` reads them.

use std::{io, net::SocketAddr};

use netlink_packet_core::{
    DefaultNla, Emitable, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
    Nla as _,
};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP},
    inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags, Timer, nlas::Nla},
};
use netlink_sys::{Socket, SocketAddr as NetlinkAddr, protocols::NETLINK_SOCK_DIAG};

use super::{Family, TcpSocket};

/// `INET_DIAG_CGROUP_ID` of include/uapi/linux/inet_diag.h, since v5.9 (commit 6e3a401fc8af).
const INET_DIAG_CGROUP_ID: u16 = 21;

/// What to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Sockets in every state.
    All,
    /// Listeners, with their drops. Only for these the kernel need not go through all connections of the
    /// host (`inet_diag_dump_icsk`).
    Listeners,
    /// The same, and requests.
    Requests,
    /// Connections of which the server has not closed its end, with their `tcp_info`.
    Connected,
}

/// Lists them.
pub fn sockets(family: Family, wanted: Wanted) -> io::Result<Vec<TcpSocket>> {
    sockets_at(family, wanted, 0)
}

/// Those with this local port.
pub fn sockets_at(family: Family, wanted: Wanted, port: u16) -> io::Result<Vec<TcpSocket>> {
    let mut sockets = Vec::new();
    dump(family, wanted, port, |response| sockets.push(described(response)))?;
    Ok(sockets)
}

/// The connections with this local port that wait for `accept()`: their local addresses, and their
/// ages in milliseconds. They have no inode yet, as a socket that was closed has none any more; but
/// that one is in neither of these states.
pub fn unaccepted_at(family: Family, port: u16) -> io::Result<Vec<(SocketAddr, u32)>> {
    let mut found = Vec::new();
    dump(family, Wanted::Connected, port, |response| {
        if response.header.inode == 0
            && let Some(age) = response.nlas.iter().find_map(last_data_sent)
        {
            found.push((described(response).local, age));
        }
    })?;
    Ok(found)
}

/// Hands over the sockets with this local port; 0 is any (`inet_diag_dump_icsk`).
fn dump(
    family: Family,
    wanted: Wanted,
    port: u16,
    mut each: impl FnMut(&InetResponse),
) -> io::Result<()> {
    let socket = connect()?;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let any = if family == Family::V6 { SocketId::new_v6() } else { SocketId::new_v4() };
    let id = SocketId { source_port: port, ..any };
    send(&socket, &message(header, wanted, id))?;
    loop {
        let (bytes, _) = socket.recv_from_full()?;
        if take(&bytes, &mut each)? {
            return Ok(());
        }
    }
}

/// Hands over the sockets of one datagram; true after the last one.
fn take(bytes: &[u8], each: &mut impl FnMut(&InetResponse)) -> io::Result<bool> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let message = understood(rest)?;
        // Messages begin at multiples of four (NLMSG_ALIGN).
        let len = (message.header.length as usize).next_multiple_of(4).min(rest.len());
        rest = &rest[len..];
        match message.payload {
            NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                each(&response);
            }
            NetlinkPayload::Error(error) => return Err(failure(error.raw_code())),
            NetlinkPayload::Done(_) => return Ok(true),
            _ => {}
        }
    }
    Ok(false)
}

/// Takes apart what may come from the kernel.
#[cfg(fuzzing)]
pub(crate) fn fuzz(bytes: &[u8]) {
    let mut sockets = Vec::new();
    let _ = take(bytes, &mut |response| sockets.push(described(response)));
}

/// A socket for questions to the kernel.
pub fn connect() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&NetlinkAddr::new(0, 0))?;
    Ok(socket)
}

/// Sends one message.
pub fn send(socket: &Socket, message: &NetlinkMessage<SockDiagMessage>) -> io::Result<()> {
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0).map(drop)
}

/// The message that these bytes begin with.
pub fn understood(bytes: &[u8]) -> io::Result<NetlinkMessage<SockDiagMessage>> {
    NetlinkMessage::deserialize(bytes).map_err(|e| io::Error::other(e.to_string()))
}

/// A question about TCP sockets with this address.
pub fn message(
    header: NetlinkHeader,
    wanted: Wanted,
    socket_id: SocketId,
) -> NetlinkMessage<SockDiagMessage> {
    let family = Family::of(socket_id.source_address);
    // SYN_RECV covers requests: inet_diag_dump_icsk adds TCPF_NEW_SYN_RECV to it (since v4.4,
    // commit 079096f103fa).
    let (states, extensions) = match wanted {
        Wanted::All => (StateFlags::all(), ExtensionFlags::empty()),
        Wanted::Listeners => (StateFlags::LISTEN, ExtensionFlags::SKMEMINFO),
        Wanted::Requests => (StateFlags::LISTEN | StateFlags::SYN_RECV, ExtensionFlags::SKMEMINFO),
        Wanted::Connected => {
            (StateFlags::ESTABLISHED | StateFlags::CLOSE_WAIT, ExtensionFlags::INFO)
        }
    };
    let request = InetRequest {
        family: if family == Family::V6 { AF_INET6 } else { AF_INET },
        protocol: IPPROTO_TCP,
        extensions,
        states,
        socket_id,
    };
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    message
}

/// The error of this code, an errno below 0; `ErrorMessage::to_io` negates what cannot be.
fn failure(code: i32) -> io::Error {
    match code.checked_neg() {
        Some(errno) => io::Error::from_raw_os_error(errno),
        None => io::Error::other("sock_diag answers with an error that is none"),
    }
}

fn described(response: &InetResponse) -> TcpSocket {
    let header = &response.header;
    let id = &header.socket_id;
    let mut socket = TcpSocket {
        local: SocketAddr::new(id.source_address.to_canonical(), id.source_port),
        peer: SocketAddr::new(id.destination_address.to_canonical(), id.destination_port),
        state: header.state,
        // For a request the kernel puts num_retrans here (inet_req_diag_fill), beside timer 1.
        retransmits: match header.timer {
            Some(Timer::Retransmit(_, retransmits)) => retransmits,
            _ => 0,
        },
        recv_q: header.recv_queue,
        send_q: Some(header.send_queue),
        inode: header.inode.into(),
        uid: header.uid,
        v6only: false,
        drops: None,
        cgroup_id: None,
    };
    for attribute in &response.nlas {
        match attribute {
            Nla::SkV6Only(v6only) => socket.v6only = *v6only,
            Nla::MemInfo(memory) => socket.drops = Some(memory.drops),
            Nla::Other(other) => socket.cgroup_id = cgroup_id(other).or(socket.cgroup_id),
            _ => {}
        }
    }
    socket
}

/// `tcpi_last_data_sent` of `struct tcp_info` (include/uapi/linux/tcp.h): milliseconds since the
/// server sent data, and until it does, since `tcp_create_openreq_child`.
fn last_data_sent(attribute: &Nla) -> Option<u32> {
    const AT: usize = 44;
    let Nla::TcpInfo(info) = attribute else { return None };
    Some(u32::from_ne_bytes(info.get(AT..AT + 4)?.try_into().ok()?))
}

fn cgroup_id(attribute: &DefaultNla) -> Option<u64> {
    if attribute.kind() != INET_DIAG_CGROUP_ID {
        return None;
    }
    // The attribute's header has four bytes.
    let mut bytes = vec![0; attribute.buffer_len()];
    attribute.emit(&mut bytes);
    Some(u64::from_ne_bytes(bytes.get(4..12)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use netlink_packet_sock_diag::inet::InetResponseHeader;

    use super::*;

    fn response(local: &str, nlas: Vec<Nla>) -> InetResponse {
        let local: SocketAddr = local.parse().unwrap();
        let header = InetResponseHeader {
            family: AF_INET6,
            state: 10,
            timer: Some(Timer::Retransmit(std::time::Duration::ZERO, 3)),
            socket_id: SocketId {
                source_address: local.ip(),
                source_port: local.port(),
                ..SocketId::new_v6()
            },
            recv_queue: 2,
            send_queue: 128,
            uid: 33,
            inode: 77,
        };
        InetResponse { header, nlas: nlas.into() }
    }

    #[test]
    fn a_mapped_listener_with_its_attributes() {
        let cgroup = DefaultNla::new(INET_DIAG_CGROUP_ID, 4711_u64.to_ne_bytes().to_vec());
        let other = DefaultNla::new(INET_DIAG_CGROUP_ID + 1, vec![1; 8]);
        let nlas = vec![Nla::SkV6Only(true), Nla::Other(cgroup), Nla::Other(other)];
        let expected = TcpSocket {
            local: "10.7.0.1:80".parse().unwrap(),
            peer: "[::]:0".parse().unwrap(),
            state: 10,
            retransmits: 3,
            recv_q: 2,
            send_q: Some(128),
            inode: 77,
            uid: 33,
            v6only: true,
            drops: None,
            cgroup_id: Some(4711),
        };
        assert_eq!(described(&response("[::ffff:10.7.0.1]:80", nlas)), expected);
    }

    /// The fuzzer's.
    #[test]
    fn an_error_that_is_none_is_an_error() {
        let mut bytes = 36_u32.to_ne_bytes().to_vec();
        // NLMSG_ERROR, and the header of what it is about.
        bytes.extend([2, 0]);
        bytes.extend([0; 10]);
        let with = |code: i32| [&*bytes, &code.to_ne_bytes(), &[0; 16]].concat();
        let errno = |code| take(&with(code), &mut |_| {}).unwrap_err().raw_os_error();
        assert_eq!((errno(-libc::ENOENT), errno(i32::MIN)), (Some(libc::ENOENT), None));
    }

    #[test]
    fn a_listener_of_this_process_is_listed_alike_by_both_requests() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let local = listener.local_addr().unwrap();
        let find = |wanted| {
            let mut found = sockets(Family::V4, wanted).unwrap();
            found.retain(|s| s.local == local);
            found.pop().unwrap()
        };
        let (any, listening) = (find(Wanted::All), find(Wanted::Listeners));
        assert!(any.is_listener());
        assert_eq!((any.drops, listening.drops), (None, Some(0)));
        assert_eq!(TcpSocket { drops: None, ..listening }, any);
    }

    #[test]
    fn a_connection_waits_until_it_is_accepted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let local = listener.local_addr().unwrap();
        let ages = || unaccepted_at(Family::V4, local.port()).unwrap();
        assert_eq!(ages(), []);
        let client = TcpStream::connect(local).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(100));
        let waiting = ages();
        assert_eq!(waiting.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [local]);
        assert!((80..10_000).contains(&waiting[0].1), "{waiting:?}");
        let accepted = listener.accept().unwrap();
        assert_eq!(ages(), []);
        drop((client, accepted));
        let only = sockets_at(Family::V4, Wanted::Requests, local.port()).unwrap();
        assert!(only.iter().all(|s| s.local.port() == local.port() && s.is_listener()));
    }
}
