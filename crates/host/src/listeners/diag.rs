//! Listeners and connection requests of the calling thread's namespace, by `sock_diag`.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
};

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP},
    inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags, nlas::Nla},
};
use netlink_sys::{Socket, SocketAddr as NetlinkAddr, protocols::NETLINK_SOCK_DIAG};

use super::{found::Found, procnet};

/// `TCP_LISTEN` of include/net/tcp_states.h.
const LISTEN: u8 = 10;
/// `INET_DIAG_CGROUP_ID` of include/uapi/linux/inet_diag.h, since v5.9 (commit 6e3a401fc8af).
const INET_DIAG_CGROUP_ID: u16 = 21;

/// What one namespace holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Dump {
    /// Its listeners.
    pub(super) listeners: Vec<Found>,
    /// Requests waiting for their third ACK, by the address they arrived at.
    pub(super) requests: BTreeMap<SocketAddr, u32>,
    /// Why it comes from procfs, if it does.
    pub(super) fallback: Option<String>,
}

/// Every TCP listener and request of the calling thread's namespace, both families.
pub(super) fn dump() -> io::Result<Dump> {
    let mut dump = Dump::default();
    match family(AF_INET, &mut dump) {
        Ok(()) => {}
        // inet_diag can be a module that cannot be loaded here: ENOENT; without even
        // NETLINK_SOCK_DIAG it is EPROTONOSUPPORT.
        Err(error)
            if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EPROTONOSUPPORT)) =>
        {
            dump = procnet::dump()?;
            dump.fallback = Some(format!(
                "sock_diag is not available ({error}): Send-Q and drops of listeners are unknown"
            ));
            return Ok(dump);
        }
        Err(error) => return Err(error),
    }
    match family(AF_INET6, &mut dump) {
        // A kernel without IPv6.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(dump),
        other => other.map(|()| dump),
    }
}

fn family(family: u8, into: &mut Dump) -> io::Result<()> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&NetlinkAddr::new(0, 0))?;
    socket.send(&request(family), 0)?;
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
                    take(&response, into);
                }
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                NetlinkPayload::Done(_) => return Ok(()),
                _ => {}
            }
        }
    }
}

fn request(family: u8) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let request = InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::SKMEMINFO,
        // SYN_RECV covers requests: inet_diag_dump_icsk adds TCPF_NEW_SYN_RECV to it (since v4.4,
        // commit 079096f103fa).
        states: StateFlags::LISTEN | StateFlags::SYN_RECV,
        socket_id: if family == AF_INET { SocketId::new_v4() } else { SocketId::new_v6() },
    };
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

fn take(response: &InetResponse, into: &mut Dump) {
    let header = &response.header;
    let id = &header.socket_id;
    let local = SocketAddr::new(id.source_address, id.source_port);
    if header.state != LISTEN {
        // A request to a v4-mapped address is shown as IPv6; its segments are IPv4.
        let local = SocketAddr::new(local.ip().to_canonical(), local.port());
        *into.requests.entry(local).or_default() += 1;
        return;
    }
    let mut found = Found {
        local,
        v6only: false,
        inode: header.inode.into(),
        uid: header.uid,
        recv_q: header.recv_queue,
        send_q: Some(header.send_queue),
        drops: None,
        cgroup_id: None,
    };
    for attribute in &response.nlas {
        match attribute {
            Nla::SkV6Only(v6only) => found.v6only = *v6only,
            Nla::MemInfo(memory) => found.drops = Some(memory.drops),
            Nla::Other(other) => found.cgroup_id = cgroup_id(other).or(found.cgroup_id),
            _ => {}
        }
    }
    // ::ffff:a.b.c.d is an IPv4 listener in an IPv6 socket.
    if let IpAddr::V6(v6) = local.ip()
        && let Some(v4) = v6.to_ipv4_mapped()
    {
        found.local = SocketAddr::new(v4.into(), local.port());
    }
    into.listeners.push(found);
}

fn cgroup_id(attribute: &netlink_packet_core::DefaultNla) -> Option<u64> {
    use netlink_packet_core::{Emitable, Nla as _};
    if attribute.kind() != INET_DIAG_CGROUP_ID {
        return None;
    }
    // The attribute's header has four bytes.
    let mut bytes = vec![0; attribute.buffer_len()];
    attribute.emit(&mut bytes);
    Some(u64::from_ne_bytes(bytes.get(4..12)?.try_into().ok()?))
}
