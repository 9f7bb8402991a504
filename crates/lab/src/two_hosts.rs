//! The experiment's two ends by themselves, for two real hosts: no namespaces, no link, nothing
//! changed.

use std::{net::SocketAddr, os::unix::fs::MetadataExt, sync::Arc};

use socket2::Socket;
use tokio::{sync::oneshot, task::JoinHandle};

use super::{
    ClientView, LabError, ListenerQueue, Script,
    clients::{self, Client},
    clock::monotonic_ns,
    error::During,
    listener, sockopt, steps, sysctl,
};

/// A listener on this host.
pub struct Server {
    listener: Arc<Socket>,
    accepting: Option<Accepting>,
}

/// A task that accepts.
struct Accepting {
    stop: oneshot::Sender<()>,
    accepted: JoinHandle<Result<Vec<Socket>, LabError>>,
}

/// The sysctls that decide what an overflow leads to, in the calling thread's namespace; `None`
/// for one that this kernel or namespace does not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `net.ipv4.tcp_abort_on_overflow`.
    pub abort_on_overflow: Option<u32>,
    /// `net.ipv4.tcp_syncookies`.
    pub syncookies: Option<u32>,
    /// `net.core.somaxconn`.
    pub somaxconn: Option<u32>,
}

impl Settings {
    /// Reads them.
    pub fn read() -> Self {
        let read = |key| sysctl::read(key).ok();
        Self {
            abort_on_overflow: read("ipv4.tcp_abort_on_overflow"),
            syncookies: read("ipv4.tcp_syncookies"),
            somaxconn: read("core.somaxconn"),
        }
    }
}

impl Server {
    /// Listens at `address`; an IPv6 address takes IPv4 clients too.
    pub fn open(address: SocketAddr, backlog: u32) -> Result<Self, LabError> {
        let listener = listener::open(address, backlog, &Script::default())?;
        Ok(Self { listener: Arc::new(listener), accepting: None })
    }

    /// The accept queue.
    pub fn queue(&self) -> Result<ListenerQueue, LabError> {
        sockopt::listener_queue(&*self.listener)
    }

    /// Accepts from now on, from inside a runtime; greets each client with a byte.
    pub fn accept(&mut self) -> Result<(), LabError> {
        let listener = self.listener.try_clone().during("duplicating the listener")?;
        let (stop, stopped) = oneshot::channel();
        let accepted = tokio::spawn(steps::accept(listener, stopped));
        self.accepting = Some(Accepting { stop, accepted });
        Ok(())
    }

    /// Stops accepting and closes the listener; then what was accepted. Answers with how many
    /// that were, and with the time of the close, CLOCK_MONOTONIC nanoseconds.
    pub async fn close(self) -> Result<(usize, u64), LabError> {
        let accepted = match self.accepting {
            Some(Accepting { stop, accepted }) => {
                // If the task is gone, its answer says why.
                let _ = stop.send(());
                accepted.await.map_err(|_| LabError::ThreadEnded("accepting"))??
            }
            None => Vec::new(),
        };
        let closed = monotonic_ns();
        drop(self.listener);
        Ok((accepted.len(), closed))
    }
}

/// Clients on this host.
pub struct Clients {
    clients: Vec<Client>,
    /// Just before the first `connect()`, CLOCK_MONOTONIC nanoseconds.
    pub started_ns: u64,
}

impl Clients {
    /// Connects `count` clients to `server` back to back, from inside a `LocalSet`; each then
    /// sends `payload` bytes as soon as it believes it is connected.
    pub fn connect(server: SocketAddr, count: u16, payload: usize) -> Result<Self, LabError> {
        let (clients, started_ns) = clients::burst_from_anywhere(server, count, payload)?;
        Ok(Self { clients, started_ns })
    }

    /// What each believes now.
    pub fn views(&self) -> Result<Vec<ClientView>, LabError> {
        self.clients.iter().map(Client::view).collect()
    }
}

/// Inode number of the calling thread's network namespace.
pub fn own_netns() -> Result<u32, LabError> {
    let path = "/proc/thread-self/ns/net";
    let inode = std::fs::metadata(path).during(format!("reading {path}"))?.ino();
    u32::try_from(inode)
        .map_err(|_| LabError::Parse { what: path, why: format!("inode {inode} over 32 bits") })
}
