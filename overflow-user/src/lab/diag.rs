//! The namespace's TCP sockets by `sock_diag`, connection requests included.

use std::{io, net::SocketAddr};

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP},
    inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags, Timer},
};
use netlink_sys::{Socket, SocketAddr as NetlinkAddr, protocols::NETLINK_SOCK_DIAG};

use super::{LabError, proc_tcp, tcp_state};

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

fn by_netlink(ipv6: bool) -> io::Result<Vec<TcpSocket>> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&NetlinkAddr::new(0, 0))?;
    socket.send(&request(ipv6), 0)?;
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

fn request(ipv6: bool) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let request = InetRequest {
        family: if ipv6 { AF_INET6 } else { AF_INET },
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::empty(),
        // SYN_RECV covers requests: inet_diag_dump_icsk adds TCPF_NEW_SYN_RECV to it (since 4.4,
        // commit 079096f103fa).
        states: StateFlags::all(),
        socket_id: if ipv6 { SocketId::new_v6() } else { SocketId::new_v4() },
    };
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
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
