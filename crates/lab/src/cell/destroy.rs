//! `SOCK_DESTROY`: connections and requests ended by an administrator, as `ss -K` does.

use std::{io, net::SocketAddr};

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader, NetlinkPayload};
use netlink_packet_sock_diag::inet::SocketId;
use netlink_sys::Socket;
use overflow_host::sockets::{
    TcpSocket,
    sock_diag::{Wanted, connect, message, send, understood},
};

use crate::{LabError, ends::listener, error::During};

/// `SOCK_DESTROY` of include/uapi/linux/sock_diag.h.
const SOCK_DESTROY: u16 = 21;

/// Destroys the sockets and requests of local `port` in the calling thread's namespace, but for the
/// listener (`tcp_abort` in net/ipv4/tcp.c).
pub(crate) fn destroy(ipv6: bool, port: u16) -> Result<(), LabError> {
    let (mut doomed, _) = listener::sockets(ipv6)?;
    doomed.retain(|s| s.local.port() == port && !s.is_listener());
    // The dump is in the order of a hash table, whose key is random.
    doomed.sort_by_key(|s| s.peer);
    let ends = |s: &TcpSocket| (s.local, s.peer);
    destroy_all(&doomed.iter().map(ends).collect::<Vec<_>>())
}

/// Whether this kernel can: asked about a socket that is not there.
pub(crate) fn can_destroy() -> Result<(), LabError> {
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    destroy_all(&[(nobody, nobody)])
}

/// Destroys the sockets with these addresses, ours and the peer's; one that is gone is no error.
fn destroy_all(doomed: &[(SocketAddr, SocketAddr)]) -> Result<(), LabError> {
    let destroyed = || {
        let socket = connect()?;
        doomed.iter().try_for_each(|(local, peer)| destroy_one(&socket, *local, *peer))
    };
    match destroyed() {
        // Without the handler of this type, or with it but not for TCP.
        Err(e) if matches!(e.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EINVAL)) => {
            Err(LabError::NoDestroy)
        }
        other => other.during("SOCK_DESTROY"),
    }
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
    let mut message = message(header, Wanted::All, socket_id);
    message.header.message_type = SOCK_DESTROY;
    send(socket, &message)?;
    let (bytes, _) = socket.recv_from_full()?;
    match understood(&bytes)?.payload {
        // Gone by itself meanwhile.
        NetlinkPayload::Error(error) if error.to_io().raw_os_error() == Some(libc::ENOENT) => {
            Ok(())
        }
        NetlinkPayload::Error(error) if error.code.is_some() => Err(error.to_io()),
        _ => Ok(()),
    }
}
