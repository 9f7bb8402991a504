//! Which IP the lab speaks, and the addresses that follow from it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Which IP clients and listener speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum Family {
    /// IPv4 on both sides.
    #[default]
    Ipv4,
    /// IPv6 on both sides.
    Ipv6,
    /// IPv4 clients of a dual-stack IPv6 listener: the kernel maps their addresses.
    Mapped,
}

impl Family {
    /// Its name in options and in a run's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Mapped => "mapped",
        }
    }

    /// Whether the listener is an `AF_INET6` socket.
    pub(crate) const fn listens_on_ipv6(self) -> bool {
        !matches!(self, Self::Ipv4)
    }

    /// The addresses of the cell number `subnet`: 10.7.`subnet`.0/24 or fd07:`subnet`::/64.
    pub(crate) fn addresses(self, subnet: u8) -> Addresses {
        let host = |n: u8| match self {
            Self::Ipv4 | Self::Mapped => IpAddr::from(Ipv4Addr::new(10, 7, subnet, n)),
            Self::Ipv6 => Ipv6Addr::new(0xfd07, subnet.into(), 0, 0, 0, 0, 0, n.into()).into(),
        };
        Addresses { server: host(1), client: host(2), crafted: host(3) }
    }

    /// What the listener binds to, so that clients reach it at `server`.
    pub(crate) fn bind_address(self, server: SocketAddr) -> SocketAddr {
        match self {
            Self::Ipv4 | Self::Ipv6 => server,
            Self::Mapped => SocketAddr::from((Ipv6Addr::UNSPECIFIED, server.port())),
        }
    }
}

/// The addresses of one cell, on one subnet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    /// The server's.
    pub(crate) server: IpAddr,
    /// The clients'.
    pub(crate) client: IpAddr,
    /// Behind the clients' interface, but of no host: whoever sends from it by hand is not
    /// disturbed by the RSTs with which a kernel answers for connections it does not know.
    pub(crate) crafted: IpAddr,
}

/// The length of the subnet's prefix, bits.
pub(crate) const fn prefix_len(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 24,
        IpAddr::V6(_) => 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dual_stack_listener_is_reached_by_ipv4() {
        let addresses = Family::Mapped.addresses(3);
        assert_eq!(addresses.server.to_string(), "10.7.3.1");
        let bound = Family::Mapped.bind_address(SocketAddr::new(addresses.server, 80));
        assert_eq!(bound.to_string(), "[::]:80");
    }

    #[test]
    fn ipv6_has_a_subnet_per_cell() {
        let addresses = Family::Ipv6.addresses(255);
        assert_eq!(addresses.client.to_string(), "fd07:ff::2");
        let server = SocketAddr::new(addresses.server, 80);
        assert_eq!(Family::Ipv6.bind_address(server), server);
        assert_eq!((prefix_len(addresses.client), prefix_len([10, 7, 0, 1].into())), (64, 24));
    }
}
