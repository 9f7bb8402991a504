//! The server: a listener that never calls `accept()`.

use std::{io, net::SocketAddr};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::{LabError, ListenerQueue, ServerSocket, diag, error::During, sockopt, tcp_state};

/// Opens the listener in the calling thread's namespace; an IPv6 one takes IPv4 clients too.
pub(super) fn open(address: SocketAddr, backlog: u32) -> Result<Socket, LabError> {
    let what = "opening the listener";
    let backlog = i32::try_from(backlog).map_err(|_| LabError::Backlog(backlog))?;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))
        .during(what)?;
    if address.is_ipv6() {
        // The default is a sysctl of the namespace (bindv6only).
        socket.set_only_v6(false).during(what)?;
    }
    socket.bind(&SockAddr::from(address)).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => {
            LabError::Bind { addr: address, source }
        }
        _ => LabError::Io { what: format!("binding the listener to {address}"), source },
    })?;
    socket.listen(backlog).during(what)?;
    Ok(socket)
}

/// The server's side of every connection, and the listener's queue.
pub(super) struct View {
    /// Children in the accept queue and requests.
    pub(super) sockets: Vec<ServerSocket>,
    /// The accept queue.
    pub(super) queue: ListenerQueue,
    /// What had to stand in for `sock_diag`, if anything.
    pub(super) note: Option<String>,
}

/// Looks at `listener` and its connections, from a thread of its namespace.
pub(super) fn view(listener: &Socket, port: u16, ipv6: bool) -> Result<View, LabError> {
    let dump = diag::dump(ipv6)?;
    let own = || dump.sockets.iter().filter(|s| s.local.port() == port);
    let queue = match own().find(|s| s.is_listener()) {
        Some(s) if dump.fallback.is_none() => ListenerQueue { recv_q: s.recv_q, send_q: s.send_q },
        // /proc/net/tcp has no Send-Q for a listener.
        _ => sockopt::listener_queue(listener)?,
    };
    let sockets = own()
        .filter(|s| !s.is_listener())
        .map(|s| ServerSocket {
            peer: s.peer,
            state: tcp_state::name(s.state),
            retransmits: s.retransmits,
        })
        .collect();
    Ok(View { sockets, queue, note: dump.fallback })
}
