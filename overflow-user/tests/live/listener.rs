//! A listener whose accept queue is full, and what the kernel counted.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

/// A `TcpExt` counter of the calling thread's network namespace.
pub fn counter(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/thread-self/net/netstat").unwrap();
    let mut rows = text.lines().filter(|l| l.starts_with("TcpExt:"));
    let names = rows.next().unwrap().split_whitespace();
    let values = rows.next().unwrap().split_whitespace();
    names.zip(values).find(|(n, _)| *n == name).unwrap().1.parse().unwrap()
}

/// A port for a listener that does not listen yet, so that a trace can be of it alone.
pub struct Bound(socket2::Socket);

impl Bound {
    /// Takes a free port of the calling thread's network namespace.
    pub fn new() -> Self {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        Self(socket)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.0.local_addr().unwrap().as_socket_ipv4().unwrap().port()
    }

    /// Listens with backlog 1: the listener, and those of `clients` that it held. The rest came
    /// once it was full.
    pub fn overflow(self, clients: usize) -> (TcpListener, Vec<TcpStream>) {
        self.0.listen(1).unwrap();
        let listener = TcpListener::from(self.0);
        let server = listener.local_addr().unwrap();
        let timeout = Duration::from_millis(100);
        let connect = |_| TcpStream::connect_timeout(&server, timeout).ok();
        let clients: Vec<TcpStream> = (0..clients).filter_map(connect).collect();
        assert_eq!(clients.len(), 2, "backlog 1 holds two");
        (listener, clients)
    }
}
