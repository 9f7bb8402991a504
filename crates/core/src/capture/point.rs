//! Where a capture was taken: at the server, at the client, or somewhere on the way. What silence
//! means depends on it.

use std::net::IpAddr;

use super::{Segment, link::Direction};

/// Where a capture was taken, as seen from one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// On the server's host.
    Server,
    /// On the client's host.
    Client,
    /// Client and server are the same host: nothing is lost between them.
    Both,
    /// On the way: a mirror port, a router, a host of containers.
    Between,
    /// Nothing tells.
    Unknown,
}

/// How a place is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Surety {
    /// The user said so.
    Given,
    /// The capture says which packets its host sent, or both ends have one address.
    Shown,
    /// Hop counts or times suggest it; a switch next to that host would show the same.
    Suggested,
}

/// A place, with the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// Where.
    pub place: Place,
    /// How that is known.
    pub surety: Surety,
    /// Why, in words.
    pub why: &'static str,
}

/// What was seen of the packets to and from one server at one interface.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Signs {
    /// SYNs that the capturing host received, and those it sent.
    syns: [u64; 2],
    /// SYN-ACKs that it received, and those it sent.
    synacks: [u64; 2],
    /// Whether both ends have the same address.
    one_host: bool,
    /// Whether every packet of the client, and of the server, had an initial TTL.
    fresh: [Option<bool>; 2],
    /// Shortest time from a SYN to its SYN-ACK, nanoseconds: the way to the server and back.
    pub(super) to_server_ns: Option<u64>,
    /// Shortest time from a SYN-ACK to its ACK, nanoseconds: the way to the client and back.
    to_client_ns: Option<u64>,
}

/// A SYN-ACK, or an ACK to it, that comes later than that waited for something else.
const ANSWER_NS: u64 = 1_000_000_000;
/// A shorter way than this is no way at all.
const NEAR_NS: u64 = 200_000;

impl Place {
    /// The word of the command line and of the lines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
            Self::Both => "both",
            Self::Between => "between",
            Self::Unknown => "unknown",
        }
    }

    /// In words, behind "taken".
    pub const fn words(self) -> &'static str {
        match self {
            Self::Server => "at the server",
            Self::Client => "at the client",
            Self::Both => "on the host of both ends",
            Self::Between => "between client and server",
            Self::Unknown => "at an unknown place",
        }
    }
}

impl Surety {
    /// The word of the lines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Shown => "shown",
            Self::Suggested => "suggested",
        }
    }
}

impl Point {
    /// As the user said.
    pub const fn given(place: Place) -> Self {
        Self { place, surety: Surety::Given, why: "as given by --at" }
    }

    /// Whether what the capture shows of the client surely reached the server's host, and what it
    /// shows of the server surely left it just then.
    pub const fn at_server(&self) -> bool {
        matches!(self.place, Place::Server | Place::Both)
            && matches!(self.surety, Surety::Given | Surety::Shown)
    }
}

impl Signs {
    /// Adds a segment.
    pub(super) fn add(&mut self, segment: &Segment, from_server: bool, syn: bool) {
        if syn && let Some(direction) = segment.direction {
            let counts = if from_server { &mut self.synacks } else { &mut self.syns };
            counts[usize::from(direction == Direction::Out)] += 1;
        }
        let (src, dst) = (segment.packet.src.ip(), segment.packet.dst.ip());
        self.one_host |= src == dst || (is_loopback(src) && is_loopback(dst));
        // What systems begin with: Linux and BSD 64, Windows 128, some devices 255.
        let fresh = matches!(segment.ttl, 64 | 128 | 255);
        let all = &mut self.fresh[usize::from(from_server)];
        *all = Some(all.unwrap_or(true) && fresh);
    }

    /// Notes how long the answer to a SYN took.
    pub(super) fn answered(&mut self, ns: u64) {
        keep_least(&mut self.to_server_ns, ns);
    }

    /// Notes how long the answer to a SYN-ACK took.
    pub(super) fn acknowledged(&mut self, ns: u64) {
        keep_least(&mut self.to_client_ns, ns);
    }

    /// Where that is.
    pub(super) fn point(&self) -> Point {
        let shown = |place, why| Point { place, surety: Surety::Shown, why };
        let suggested = |place, why| Point { place, surety: Surety::Suggested, why };
        if self.one_host {
            return shown(Place::Both, "both ends have the address of one host");
        }
        match (self.syns.map(|n| n > 0), self.synacks.map(|n| n > 0)) {
            ([true, false], [false, true]) => {
                return shown(Place::Server, "the capturing host received SYNs and sent SYN-ACKs");
            }
            ([false, true], [true, false]) => {
                return shown(Place::Client, "the capturing host sent SYNs and received SYN-ACKs");
            }
            ([true, true], _) | (_, [true, true]) => {
                return shown(Place::Between, "the capturing host passed SYNs or SYN-ACKs on");
            }
            ([true, false], [false, false]) => {
                return shown(Place::Server, "the capturing host received SYNs");
            }
            ([false, true], [false, false]) => {
                return shown(Place::Client, "the capturing host sent SYNs");
            }
            _ => {}
        }
        match self.fresh {
            [Some(false), Some(true)] => {
                return suggested(Place::Server, "only the client's packets have crossed routers");
            }
            [Some(true), Some(false)] => {
                return suggested(Place::Client, "only the server's packets have crossed routers");
            }
            [Some(false), Some(false)] => {
                return suggested(Place::Between, "both ends' packets have crossed routers");
            }
            _ => {}
        }
        match (self.to_server_ns, self.to_client_ns) {
            (Some(server), Some(client)) if client > NEAR_NS && client / 4 > server => {
                suggested(Place::Server, "SYNs are answered much faster than SYN-ACKs")
            }
            (Some(server), Some(client)) if server > NEAR_NS && server / 4 > client => {
                suggested(Place::Client, "SYN-ACKs are answered much faster than SYNs")
            }
            _ => suggested(Place::Unknown, "neither directions, hop counts nor times tell"),
        }
    }
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

fn keep_least(least: &mut Option<u64>, ns: u64) {
    if ns < ANSWER_NS {
        *least = Some(least.map_or(ns, |l| l.min(ns)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Packet, flags};

    const CLIENT: &str = "198.51.100.7:40000";
    const SERVER: &str = "192.0.2.1:80";
    const MS: u64 = 1_000_000;

    /// The client's and the server's TTL, which way SYN and SYN-ACK went, and both ways' times.
    fn point(ttl: [u8; 2], direction: [Option<Direction>; 2], times: [u64; 2]) -> Point {
        point_of(CLIENT, ttl, direction, times)
    }

    fn point_of(
        client: &str,
        ttl: [u8; 2],
        direction: [Option<Direction>; 2],
        times: [u64; 2],
    ) -> Point {
        let mut signs = Signs::default();
        for from_server in [false, true] {
            let at = usize::from(from_server);
            let ends = [client, SERVER].map(|end| end.parse().unwrap());
            let packet = Packet {
                t_ns: 0,
                src: ends[at],
                dst: ends[1 - at],
                flags: flags::SYN,
                seq: 0,
                ack: 0,
                payload_len: 0,
                raw: Vec::new(),
            };
            let segment = Segment {
                packet,
                number: 1,
                interface: 0,
                device: 0,
                direction: direction[at],
                ttl: ttl[at],
                ip_id: 0,
            };
            signs.add(&segment, from_server, true);
        }
        signs.answered(times[0]);
        signs.acknowledged(times[1]);
        signs.point()
    }

    #[test]
    fn directions_show_it() {
        use Direction::{In, Out};
        let place = |way: [Direction; 2]| point([64, 64], way.map(Some), [9, 9]);
        assert!(place([In, Out]).at_server());
        assert_eq!(place([Out, In]).place, Place::Client);
        let point = point([64, 64], [Some(In), None], [9, 9]);
        assert_eq!((point.place, point.surety), (Place::Server, Surety::Shown));
    }

    #[test]
    fn hop_counts_suggest_it_before_times_do() {
        let place = |ttl, times| point(ttl, [None; 2], times).place;
        assert_eq!(place([57, 64], [90 * MS, 1]), Place::Server);
        assert_eq!(place([128, 57], [1, 90 * MS]), Place::Client);
        assert_eq!(place([57, 57], [1, 90 * MS]), Place::Between);
        assert_eq!(place([64, 64], [MS / 10, 90 * MS]), Place::Server);
        assert_eq!(place([64, 64], [90 * MS, MS / 10]), Place::Client);
        assert_eq!(place([64, 64], [50 * MS, 90 * MS]), Place::Unknown);
        assert_eq!(place([64, 64], [10_000, 90_000]), Place::Unknown);
        assert!(!point([57, 64], [None; 2], [1, 90 * MS]).at_server(), "suggested only");
    }

    #[test]
    fn one_address_is_one_host() {
        let point = point_of("192.0.2.1:40000", [64, 64], [None; 2], [9, 9]);
        assert_eq!((point.place, point.surety), (Place::Both, Surety::Shown));
    }
}
