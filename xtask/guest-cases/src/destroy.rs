//! `SOCK_DESTROY`: a connection or a request ended by an administrator, as `ss -K` does.

use std::{io, net::SocketAddr};

use anyhow::{Context as _, Result};
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, IPPROTO_TCP},
    inet::{ExtensionFlags, InetRequest, SocketId, StateFlags},
};
use netlink_sys::{Socket, SocketAddr as NetlinkAddr, protocols::NETLINK_SOCK_DIAG};

/// `SOCK_DESTROY` of include/uapi/linux/sock_diag.h.
const SOCK_DESTROY: u16 = 21;

/// Destroys the socket or request with these addresses, ours and the client's; whether this kernel
/// can (CONFIG_INET_DIAG_DESTROY).
pub fn destroy(local: SocketAddr, client: SocketAddr) -> Result<bool> {
    match destroyed(local, client) {
        Ok(()) => Ok(true),
        Err(e) if matches!(e.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EINVAL)) => Ok(false),
        Err(e) => Err(e).with_context(|| format!("cannot destroy {local} of {client}")),
    }
}

fn destroyed(local: SocketAddr, client: SocketAddr) -> io::Result<()> {
    let mut socket_id = SocketId::new_v4();
    socket_id.source_address = local.ip();
    socket_id.source_port = local.port();
    socket_id.destination_address = client.ip();
    socket_id.destination_port = client.port();
    // INET_DIAG_NOCOOKIE: whichever it is.
    socket_id.cookie = [0xff; 8];
    let request = InetRequest {
        family: AF_INET,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::empty(),
        states: StateFlags::all(),
        socket_id,
    };
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_ACK;
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    message.header.message_type = SOCK_DESTROY;
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&NetlinkAddr::new(0, 0))?;
    socket.send(&bytes, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    let answer: NetlinkMessage<SockDiagMessage> =
        NetlinkMessage::deserialize(&answer).map_err(|e| io::Error::other(e.to_string()))?;
    match answer.payload {
        NetlinkPayload::Error(error) if error.code.is_some() => Err(error.to_io()),
        _ => Ok(()),
    }
}
