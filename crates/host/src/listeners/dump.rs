//! Listeners and connection requests of the calling thread's namespace, both families.

use std::{collections::BTreeMap, io, net::SocketAddr};

use overflow_core::tcp_state::TcpState;

use super::SynQueues;
use crate::sockets::{
    Family, TcpSocket, is_unavailable, procfs,
    sock_diag::{self, Wanted},
};

/// What one namespace holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Dump {
    /// Its listeners.
    pub(super) listeners: Vec<TcpSocket>,
    /// Requests waiting for their third ACK, by the address they arrived at, if they were asked for.
    pub(super) requests: Option<BTreeMap<SocketAddr, u32>>,
    /// Why it comes from procfs, if it does.
    pub(super) fallback: Option<String>,
}

/// Every TCP listener of the calling thread's namespace, and its requests if they are wanted.
pub(super) fn dump(syn_queues: SynQueues) -> io::Result<Dump> {
    let (wanted, requests) = match syn_queues {
        SynQueues::Counted => (Wanted::Requests, Some(BTreeMap::new())),
        SynQueues::Left => (Wanted::Listeners, None),
    };
    let mut dump = Dump { requests, ..Dump::default() };
    match sock_diag::sockets(Family::V4, wanted) {
        Ok(sockets) => dump.take(sockets),
        Err(error) if is_unavailable(&error) => {
            dump.take(by_procfs()?);
            dump.fallback = Some(format!(
                "sock_diag is not available ({error}): Send-Q and drops of listeners are unknown"
            ));
            return Ok(dump);
        }
        Err(error) => return Err(error),
    }
    match sock_diag::sockets(Family::V6, wanted) {
        Ok(sockets) => dump.take(sockets),
        // A kernel without IPv6.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
        Err(error) => return Err(error),
    }
    Ok(dump)
}

/// Listeners and requests as procfs shows them.
fn by_procfs() -> io::Result<Vec<TcpSocket>> {
    let v4 = procfs::sockets(Family::V4).map_err(io::Error::from)?;
    // A kernel without IPv6 has no such file.
    let v6 = procfs::sockets(Family::V6).unwrap_or_default();
    Ok(v4.into_iter().chain(v6).flatten().collect())
}

impl Dump {
    fn take(&mut self, sockets: Vec<TcpSocket>) {
        for socket in sockets {
            let request = [TcpState::SynRecv, TcpState::NewSynRecv];
            if socket.is_listener() {
                self.listeners.push(socket);
            } else if let Some(requests) = &mut self.requests
                && request.iter().any(|state| socket.state == state.number())
            {
                *requests.entry(socket.local).or_default() += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_and_requests_and_nothing_else() {
        let socket = |local: &str, state: TcpState| TcpSocket {
            local: local.parse().unwrap(),
            peer: ([0, 0, 0, 0], 0).into(),
            state: state.number(),
            retransmits: 0,
            recv_q: 0,
            send_q: None,
            inode: 0,
            uid: 0,
            v6only: false,
            drops: None,
            cgroup_id: None,
        };
        let listener = socket("127.0.0.1:8080", TcpState::Listen);
        let mut dump = Dump { requests: Some(BTreeMap::new()), ..Dump::default() };
        dump.take(vec![
            listener.clone(),
            socket("127.0.0.1:8080", TcpState::SynRecv),
            socket("127.0.0.1:8080", TcpState::Established),
        ]);
        dump.take(vec![socket("127.0.0.1:8080", TcpState::NewSynRecv)]);
        assert_eq!(dump.listeners, [listener]);
        let requests = BTreeMap::from([("127.0.0.1:8080".parse().unwrap(), 2)]);
        assert_eq!(dump.requests, Some(requests));
    }
}
