//! Where connections go, kept once for all that go there.

use std::{collections::HashMap, net::SocketAddr};

use foldhash::fast::RandomState;

/// Inode number of a network namespace, and an address in it.
pub(super) type Server = (u32, SocketAddr);

/// Servers by number, as long as a connection has them.
pub(crate) struct Servers {
    by_number: Vec<(Server, u32)>,
    numbers: HashMap<Server, u32, RandomState>,
    free: Vec<u32>,
    /// The one that was asked for last: mostly the next one too.
    latest: u32,
    most: usize,
}

impl Servers {
    /// At most so many.
    pub(super) fn new(most: usize) -> Self {
        let (by_number, numbers, free) = (Vec::new(), HashMap::default(), Vec::new());
        Self { by_number, numbers, free, latest: 0, most: most.max(1) }
    }

    /// Whether there is room for this one, or it is there.
    pub(super) fn take(&mut self, server: Server) -> bool {
        self.numbers.len() < self.most || self.find(server).is_some()
    }

    /// The number of the server that was asked for last, if it is this one.
    pub(super) fn latest(&self, server: &Server) -> Option<u32> {
        let (there, _) = self.by_number.get(self.latest as usize)?;
        (there == server).then_some(self.latest)
    }

    /// The number of a server that has connections.
    pub(super) fn find(&mut self, server: Server) -> Option<u32> {
        match self.by_number.get(self.latest as usize) {
            Some((there, uses)) if *there == server && *uses > 0 => Some(self.latest),
            _ => {
                self.latest = *self.numbers.get(&server)?;
                Some(self.latest)
            }
        }
    }

    /// The number of a server that has a connection more. There must be room for it.
    pub(super) fn number(&mut self, server: Server) -> u32 {
        let number = self.find(server).unwrap_or_else(|| {
            let number = self.free.pop().unwrap_or_else(|| {
                self.by_number.push((server, 0));
                u32::try_from(self.by_number.len() - 1).unwrap_or(u32::MAX)
            });
            self.by_number[number as usize].0 = server;
            self.numbers.insert(server, number);
            self.latest = number;
            number
        });
        self.by_number[number as usize].1 += 1;
        number
    }

    /// The server with this number.
    pub(super) fn server(&self, number: u32) -> Server {
        self.by_number[number as usize].0
    }

    /// It has a connection less.
    pub(super) fn release(&mut self, number: u32) {
        let (server, uses) = &mut self.by_number[number as usize];
        *uses -= 1;
        if *uses == 0 {
            self.numbers.remove(server);
            self.free.push(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_given_again_when_nobody_has_them() {
        let server = |port| (1, SocketAddr::from(([10, 0, 0, 1], port)));
        let mut servers = Servers::new(2);
        assert!(servers.take(server(80)));
        assert_eq!([80, 81, 80].map(|port| servers.number(server(port))), [0, 1, 0]);
        assert!(servers.take(server(81)) && !servers.take(server(82)));
        servers.release(0);
        assert_eq!((servers.find(server(80)), servers.find(server(82))), (Some(0), None));
        servers.release(0);
        assert_eq!(servers.find(server(80)), None);
        assert_eq!((servers.number(server(83)), servers.server(0)), (0, server(83)));
    }
}
