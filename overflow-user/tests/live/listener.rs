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

/// A listener with backlog 1, and the clients of five that it held: the others came once it was full.
pub fn overflow() -> (TcpListener, Vec<TcpStream>) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.listen(1).unwrap();
    let listener = TcpListener::from(socket);
    let server = listener.local_addr().unwrap();
    let timeout = Duration::from_millis(100);
    let clients = (0..5).filter_map(|_| TcpStream::connect_timeout(&server, timeout).ok());
    let clients: Vec<TcpStream> = clients.collect();
    assert_eq!(clients.len(), 2, "backlog 1 holds two");
    (listener, clients)
}
