//! The server: a listener that never calls `accept()`.

use std::{io, net::SocketAddr, time::Duration};

use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, TcpKeepalive, Type};

use overflow_core::tcp_state::TcpState;
use overflow_host::sockets::{
    Family, TcpSocket, is_unavailable, procfs,
    sock_diag::{self, Wanted},
};

use crate::{LabError, ListenerQueue, Script, ServerSocket, Setup, ends::sockopt, error::During};

/// Opens the listener in the calling thread's namespace; an IPv6 one takes IPv4 clients too.
pub(crate) fn open(address: SocketAddr, backlog: u32, script: &Script) -> Result<Socket, LabError> {
    let what = "opening the listener";
    let protocol = protocol(script);
    let socket =
        Socket::new(Domain::for_address(address), Type::STREAM, Some(protocol)).during(what)?;
    if address.is_ipv6() {
        // The default is a sysctl of the namespace (bindv6only).
        socket.set_only_v6(false).during(what)?;
    }
    set_up(&socket, script).during(what)?;
    socket.bind(&SockAddr::from(address)).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => {
            LabError::Bind { addr: address, cause: source }
        }
        _ => LabError::Io { what: format!("binding the listener to {address}"), source },
    })?;
    again(&socket, backlog)?;
    Ok(socket)
}

/// `listen(2)`, on a socket that may listen already.
pub(crate) fn again(socket: &Socket, backlog: u32) -> Result<(), LabError> {
    let backlog = i32::try_from(backlog).map_err(|_| LabError::Backlog(backlog))?;
    socket.listen(backlog).during("listening")
}

/// What both sides' sockets speak.
pub(crate) fn protocol(script: &Script) -> Protocol {
    if script.has(Setup::Mptcp) { Protocol::MPTCP } else { Protocol::TCP }
}

fn set_up(socket: &Socket, script: &Script) -> io::Result<()> {
    for setup in script.setup {
        match *setup {
            Setup::DeferAccept(seconds) => sockopt::set_defer_accept(socket, seconds)?,
            Setup::FastOpen(max) => sockopt::set_fast_open(socket, max)?,
            Setup::Mark(mark) => socket.set_mark(mark)?,
            // BPF_RET | BPF_K: lets all of each packet pass.
            Setup::Filter => socket.attach_filter(&[SockFilter::new(0x06, 0, 0, u32::MAX)])?,
            Setup::ReusePort => socket.set_reuse_port(true)?,
            Setup::KeepAlive(seconds) => {
                let every = Duration::from_secs(seconds.into());
                let keepalive = TcpKeepalive::new().with_time(every).with_interval(every);
                socket.set_tcp_keepalive(&keepalive.with_retries(1))?;
            }
            Setup::Mptcp
            | Setup::Sysctl(..)
            | Setup::NeedsSysctl(_)
            | Setup::NeedsDestroy
            | Setup::ClientSysctl(..)
            | Setup::Unroutable(_) => {}
        }
    }
    Ok(())
}

/// The server's side of every connection, and the listener's queue.
pub(crate) struct View {
    /// Children in the accept queue and requests.
    pub(crate) sockets: Vec<ServerSocket>,
    /// The accept queue.
    pub(crate) queue: ListenerQueue,
    /// What had to stand in for `sock_diag`, if anything.
    pub(crate) note: Option<String>,
}

/// Looks at `listener`, if it is still open, and at its connections, from a thread of its namespace.
pub(crate) fn view(listener: Option<&Socket>, port: u16, ipv6: bool) -> Result<View, LabError> {
    let (sockets, note) = sockets(ipv6)?;
    let own = || sockets.iter().filter(|s| s.local.port() == port);
    let queue = match (own().find(|s| s.is_listener()), listener) {
        (Some(TcpSocket { recv_q, send_q: Some(send_q), .. }), _) => {
            ListenerQueue { recv_q: *recv_q, send_q: *send_q }
        }
        (_, Some(listener)) => sockopt::listener_queue(listener)?,
        (_, None) => ListenerQueue::default(),
    };
    let sockets = own()
        .filter(|s| !s.is_listener())
        .map(|s| ServerSocket {
            peer: s.peer,
            state: TcpState::name_of(s.state),
            retransmits: s.retransmits,
        })
        .collect();
    Ok(View { sockets, queue, note })
}

/// Every TCP socket of the calling thread's namespace that is `AF_INET6` or `AF_INET`, and why they
/// come from procfs, if they do.
pub(crate) fn sockets(ipv6: bool) -> Result<(Vec<TcpSocket>, Option<String>), LabError> {
    let family = if ipv6 { Family::V6 } else { Family::V4 };
    match sock_diag::sockets(family, Wanted::All) {
        Ok(sockets) => Ok((sockets, None)),
        Err(error) if is_unavailable(&error) => {
            let note = format!(
                "sock_diag is not available here ({error}); sockets were read from \
                 /proc/net and the listener's queue from TCP_INFO"
            );
            let sockets = procfs::sockets(family)?.into_iter().collect::<Result<_, _>>()?;
            Ok((sockets, Some(note)))
        }
        Err(error) => Err(error).during("a sock_diag dump"),
    }
}
