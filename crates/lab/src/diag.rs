//! The namespace's TCP sockets by `sock_diag`, connection requests included.

use std::{io, net::SocketAddr};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP},
    inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags, Timer},
};
use netlink_sys::{Socket, SocketAddr as NetlinkAddr, protocols::NETLINK_SOCK_DIAG};

use super::{LabError, proc_tcp, tcp_state};

/// `SOCK_DESTROY` of include/uapi/linux/sock_diag.h.
const SOCK_DESTROY: u16 = 21;

/// A TCP socket or request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TcpSocket {
    /// This side.
    pub(super) local: SocketAddr,
    /// The other side; all zero for a listener.
    pub(super) peer: SocketAddr,
    /// State as numbered in include/net/tcp_states.h.
    pub(super) state: u8,
    /// Retransmissions of the SYN-ACK or of data.
    pub(super) retransmits: u8,
    /// `idiag_rqueue`: for a listener the accept queue's length.
    pub(super) recv_q: u32,
    /// `idiag_wqueue`: for a listener the accept queue's limit.
    pub(super) send_q: u32,
}

/// A list of sockets, and where it comes from.
pub(super) struct Dump {
    /// The sockets.
    pub(super) sockets: Vec<TcpSocket>,
    /// Why they come from procfs instead of `sock_diag`, if they do.
    pub(super) fallback: Option<String>,
}

/// Every TCP socket of the calling thread's namespace that is `AF_INET6` or `AF_INET`, IPv4-mapped
/// addresses as IPv4.
pub(super) fn dump(ipv6: bool) -> Result<Dump, LabError> {
    match by_netlink(ipv6) {
        Ok(sockets) => Ok(Dump { sockets, fallback: None }),
        // inet_diag may be a module that cannot be loaded here: ENOENT, or on a kernel without
        // even NETLINK_SOCK_DIAG, EPROTONOSUPPORT.
        Err(error)
            if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EPROTONOSUPPORT)) =>
        {
            let fallback = format!(
                "sock_diag is not available here ({error}); sockets were read from \
                 /proc/net and the listener's queue from TCP_INFO"
            );
            Ok(Dump { sockets: proc_tcp::sockets(ipv6)?, fallback: Some(fallback) })
        }
        Err(source) => Err(LabError::Io { what: "a sock_diag dump".into(), source }),
    }
}

/// Destroys the sockets and requests of local `port` in the calling thread's namespace, but for the
/// listener (`tcp_abort` in net/ipv4/tcp.c).
pub(super) fn destroy(ipv6: bool, port: u16) -> Result<(), LabError> {
    let mut doomed = dump(ipv6)?.sockets;
    doomed.retain(|s| s.local.port() == port && !s.is_listener());
    // The dump is in the order of a hash table, whose key is drawn by lot.
    doomed.sort_by_key(|s| s.peer);
    let ends = |s: &TcpSocket| (s.local, s.peer);
    destroy_all(&doomed.iter().map(ends).collect::<Vec<_>>())
}

/// Whether this kernel can: asked about a socket that is not there.
pub(super) fn can_destroy() -> Result<(), LabError> {
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    destroy_all(&[(nobody, nobody)])
}

/// Destroys the sockets with these addresses, ours and the peer's; one that is gone is no error.
fn destroy_all(doomed: &[(SocketAddr, SocketAddr)]) -> Result<(), LabError> {
    let destroyed = || {
        let socket = connected()?;
        doomed.iter().try_for_each(|(local, peer)| destroy_one(&socket, *local, *peer))
    };
    destroyed().map_err(|source| match source.raw_os_error() {
        // Without the handler of this type, or with it but not for TCP.
        Some(libc::EOPNOTSUPP | libc::EINVAL) => LabError::NoDestroy,
        _ => LabError::Io { what: "SOCK_DESTROY".into(), source },
    })
}

fn destroy_one(socket: &Socket, local: SocketAddr, peer: SocketAddr) -> io::Result<()> {
    let mut socket_id = if peer.is_ipv6() { SocketId::new_v6() } else { SocketId::new_v4() };
    socket_id.source_address = local.ip();
    socket_id.source_port = local.port();
    socket_id.destination_address = peer.ip();
    socket_id.destination_port = peer.port();
    // INET_DIAG_NOCOOKIE: whichever it is.
    socket_id.cookie = [0xff; 8];
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_ACK;
    let mut message = request(header, socket_id);
    message.header.message_type = SOCK_DESTROY;
    send(socket, &message)?;
    let (bytes, _) = socket.recv_from_full()?;
    let answer = NetlinkMessage::<SockDiagMessage>::deserialize(&bytes)
        .map_err(|e| io::Error::other(e.to_string()))?;
    match answer.payload {
        // Gone by itself meanwhile.
        NetlinkPayload::Error(error) if error.to_io().raw_os_error() == Some(libc::ENOENT) => {
            Ok(())
        }
        NetlinkPayload::Error(error) if error.code.is_some() => Err(error.to_io()),
        _ => Ok(()),
    }
}

fn connected() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&NetlinkAddr::new(0, 0))?;
    Ok(socket)
}

fn send(socket: &Socket, message: &NetlinkMessage<SockDiagMessage>) -> io::Result<()> {
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0).map(drop)
}

fn by_netlink(ipv6: bool) -> io::Result<Vec<TcpSocket>> {
    let socket = connected()?;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let any = if ipv6 { SocketId::new_v6() } else { SocketId::new_v4() };
    send(&socket, &request(header, any))?;
    let mut sockets = Vec::new();
    loop {
        let (bytes, _) = socket.recv_from_full()?;
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let message = NetlinkMessage::<SockDiagMessage>::deserialize(rest)
                .map_err(|e| io::Error::other(e.to_string()))?;
            // Messages begin at multiples of four (NLMSG_ALIGN).
            let len = (message.header.length as usize).next_multiple_of(4).min(rest.len());
            rest = &rest[len..];
            match message.payload {
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                    sockets.push(describe(&response));
                }
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                NetlinkPayload::Done(_) => return Ok(sockets),
                _ => {}
            }
        }
    }
}

/// About the TCP sockets of this address, in whatever state.
fn request(header: NetlinkHeader, socket_id: SocketId) -> NetlinkMessage<SockDiagMessage> {
    let request = InetRequest {
        family: if socket_id.source_address.is_ipv6() { AF_INET6 } else { AF_INET },
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::empty(),
        // SYN_RECV covers requests: inet_diag_dump_icsk adds TCPF_NEW_SYN_RECV to it (since 4.4,
        // commit 079096f103fa).
        states: StateFlags::all(),
        socket_id,
    };
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    message
}

fn describe(response: &InetResponse) -> TcpSocket {
    let header = &response.header;
    let id = &header.socket_id;
    TcpSocket {
        local: SocketAddr::new(id.source_address.to_canonical(), id.source_port),
        peer: SocketAddr::new(id.destination_address.to_canonical(), id.destination_port),
        state: header.state,
        // For a request the kernel puts num_retrans here (inet_req_diag_fill), beside timer 1.
        retransmits: match header.timer {
            Some(Timer::Retransmit(_, retransmits)) => retransmits,
            _ => 0,
        },
        recv_q: header.recv_queue,
        send_q: header.send_queue,
    }
}

impl TcpSocket {
    /// Whether this is the listener itself.
    pub(super) fn is_listener(&self) -> bool {
        self.state == tcp_state::LISTEN
    }
}
