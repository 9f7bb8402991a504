//! The experiment's two ends by themselves, for two real hosts: no namespaces, no link, nothing
//! changed.

use std::{net::SocketAddr, sync::Arc};

use socket2::Socket;
use tokio::{sync::oneshot, task::JoinHandle};

use crate::{
    ClientView, LabError, ListenerQueue, Script,
    cell::steps,
    ends::{
        clients::{self, Client},
        listener, sockopt,
    },
    error::During,
};
use overflow_host::clock::monotonic_ns;

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
                // If the task is gone, its answer holds the cause.
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
