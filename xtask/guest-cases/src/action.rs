//! What an actor can do, as the words of a script.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::Range,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::words::Words;

/// TCP's flags in the order of their bits, as the words of a script.
pub const FLAGS: [(char, u8); 5] = [('F', 1), ('S', 2), ('R', 4), ('P', 8), ('A', 16)];

/// One action. In the order of a case: the place, the server, the client, what both did.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// `in ACTOR`: into the network namespace of another actor, or `in host`: stay in the one of this
    /// program. Without it, an actor's first action is to make a namespace of its own. (Wherever an
    /// action names an actor, its process id stands when it is sent.)
    In(String),
    /// `tun`: the device whose other end is this actor: 10.7.0.1 and 10.7.0.10, fd00:7::1 and
    /// fd00:7::10.
    Tun,
    /// `tap`: the same as an Ethernet device, whose neighbours nobody answers for.
    Tap,
    /// `route add|del A.B.C.D/N`: through that device.
    Route {
        /// Whether it is added.
        add: bool,
        /// The network.
        network: Ipv4Addr,
        /// The length of its prefix.
        length: u8,
    },
    /// `veth ACTOR`: a pair, `veth0` here and `veth1` in that actor's namespace.
    Veth(String),
    /// `device KIND ACTOR`: `dev0`, a macvlan, ipvlan or vlan device on `veth0` or `veth1`, in that
    /// actor's namespace (`self` for this one).
    Device(String, String),
    /// `up DEVICE A.B.C.D`: with that address, of a network of 24 bits.
    Up(String, Ipv4Addr),
    /// `counts NAME`: this kernel has a counter of that name, and so what raises it.
    Counts(String),
    /// `sysctl net.a.b VALUE`
    Sysctl(String, String),
    /// `cpu N`: runs there from now on.
    Cpu(usize),
    /// `redirect PORT TO`, `tproxy PORT TO`: a rule of nftables by which connections to a port go to
    /// another, see [`Rule`].
    Rule(Rule, u16, u16),
    /// `destroy PORT SPORT`: SOCK_DESTROY of what a client has there, a connection or a request.
    Destroy(u16, u16),
    /// `listen NAME PORT BACKLOG [ip=A] [v6] [v6only] [reuseport] [mptcp] [smc] [transparent]
    /// [md5] [rcvbuf=N] [fastopen=N] [defer=N]`
    Listen(Listen),
    /// `listeners NAME PORT N`: `NAME0` and so on at ports in a row, each with backlog 1.
    Listeners {
        /// The first part of their names.
        name: String,
        /// The first port.
        port: u16,
        /// How many.
        count: u16,
    },
    /// `relisten NAME BACKLOG`
    Relisten(String, i32),
    /// `close NAME`: the listener, or listeners whose names begin with it if `NAME*`.
    Close(String),
    /// `accept NAME [n=N]`: so many connections are in its accept queue; and no more with `all`.
    Accept {
        /// The listener.
        name: String,
        /// How many are taken.
        count: usize,
        /// Whether then none must be left.
        all: bool,
    },
    /// `block NAME N`: so many threads wait in accept() from now on.
    Block(String, usize),
    /// `read NAME eof|data|reset`: what the last accepted connection gives.
    Read(String, String),
    /// `hangup NAME [reset]`: closes what was accepted; by an RST with linger 0.
    Hangup {
        /// The listener.
        name: String,
        /// Whether by linger 0.
        reset: bool,
    },
    /// `seg PORT SPORT FLAGS …`, `syn PORT SPORT …`, `ack PORT SPORT …`
    Segment(Segment),
    /// `hs PORT SPORT … [any]`: SYN, SYN-ACK, third ACK; with `any`, a SYN without answer is well.
    Handshake {
        /// The SYN.
        segment: Segment,
        /// Whether a SYN may be dropped.
        any: bool,
    },
    /// `load PORT SPORT n=N NAME`: healthy handshakes one after the other, each accepted and reset.
    Load {
        /// The client's ports in a row, to this port.
        clients: Segment,
        /// The listener.
        name: String,
    },
    /// `icmp PORT SPORT [v6]`: the client's host is unreachable, says a router about the SYN-ACK.
    Icmp {
        /// The server's port.
        port: u16,
        /// The client's port.
        client: u16,
        /// By IPv6.
        v6: bool,
    },
    /// `connect A.B.C.D:PORT n=N`: real clients, one after the other, that stay open.
    Connect(SocketAddr, u16),
    /// `steer PORT NAME`: an sk_lookup program that gives SYNs to this port to the listener.
    Steer(u16, String),
    /// `storm N SEED`: in each of N new namespaces, listeners that come and go and drop in many ways.
    Storm(u16, u64),
    /// `churn PORT SPORT n=N`: a listener at each port in a row, one healthy handshake, closed.
    Churn(Segment),
    /// `flood PORT N`: fills the accept queue of each listener at N ports in a row, all with backlog
    /// 1, and sends it three SYNs more.
    Flood(u16, u16),
    /// `brief NAME PORT N`: `NAME0` and so on at N ports in a row, one after the other, each with backlog
    /// 1: filled as in `flood`, and closed at once.
    Brief {
        /// The first part of their names.
        name: String,
        /// The first port.
        port: u16,
        /// How many.
        count: u16,
    },
    /// `drain MS`: takes what the server sends until it is silent for so long.
    Drain(u64),
    /// `got SPORT [n=N] FLAGS…|-`: what was sent to the client since it was last asked, in order,
    /// the same several times in a row counted once.
    Got {
        /// Clients.
        ports: Range<u16>,
        /// Flags of each segment.
        answers: Vec<String>,
    },
}

/// A way for segments to come to another port's listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// `redirect to :PORT`: they are given that port before TCP sees them.
    Redirect,
    /// `tproxy to :PORT`: a transparent listener there gets them, and they keep theirs.
    Tproxy,
}

/// A listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listen {
    /// Its name in the script.
    pub name: String,
    /// Its port.
    pub port: u16,
    /// Its backlog.
    pub backlog: i32,
    /// Its address; any if `None`.
    pub ip: Option<IpAddr>,
    /// AF_INET6.
    pub v6: bool,
    /// IPV6_V6ONLY.
    pub v6only: bool,
    /// SO_REUSEPORT.
    pub reuseport: bool,
    /// IPPROTO_MPTCP.
    pub mptcp: bool,
    /// AF_SMC.
    pub smc: bool,
    /// IP_TRANSPARENT.
    pub transparent: bool,
    /// TCP_MD5SIG with a key for the clients.
    pub md5: bool,
    /// SO_RCVBUF.
    pub rcvbuf: Option<i32>,
    /// TCP_FASTOPEN.
    pub fastopen: Option<i32>,
    /// TCP_DEFER_ACCEPT.
    pub defer: Option<i32>,
}

/// A segment of each of some clients.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// The server's port.
    pub port: u16,
    /// Clients' ports.
    pub clients: Range<u16>,
    /// TCP's flags.
    pub flags: u8,
    /// Sequence number, relative to the client's first.
    pub seq: i32,
    /// Acknowledgement, relative to the server's first; 0 of a client that has no SYN-ACK.
    pub ack: i32,
    /// Bytes of data.
    pub len: usize,
    /// The client's first sequence number, from now on.
    pub isn: Option<u32>,
    /// By IPv6.
    pub v6: bool,
    /// The server's address.
    pub to: Option<IpAddr>,
    /// The client's address.
    pub from: Option<IpAddr>,
    /// An extension header before TCP, by IPv6.
    pub extension: Option<Extension>,
    /// With a timestamp of this value.
    pub timestamp: Option<u32>,
    /// With further options, as they are on the wire.
    pub options: Vec<u8>,
    /// With a Fast Open cookie: the one that the server gave to this client's port.
    pub cookie_of: Option<u16>,
    /// With a checksum that is wrong.
    pub bad_checksum: bool,
}

impl Segment {
    /// With nothing special, by IPv4, of a client's first sequence number.
    pub fn bare(port: u16, clients: Range<u16>, flags: u8) -> Self {
        Self {
            port,
            clients,
            flags,
            seq: 0,
            ack: 0,
            len: 0,
            isn: None,
            v6: false,
            to: None,
            from: None,
            extension: None,
            timestamp: None,
            options: Vec::new(),
            cookie_of: None,
            bad_checksum: false,
        }
    }
}

/// An extension header of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    /// Hop-by-hop options.
    HopByHop,
    /// Destination options.
    Destination,
}

impl Action {
    /// Reads an action's words; says which it does not understand.
    pub fn parse(line: &str) -> Result<Self> {
        let mut words = Words::of(line);
        let verb = words.next("an action")?;
        let action = match verb {
            "in" => Self::In(words.next("actor")?.to_owned()),
            "tun" => Self::Tun,
            "tap" => Self::Tap,
            "route" => {
                let add = match words.next("add or del")? {
                    "add" => true,
                    "del" => false,
                    other => bail!("a route is not {other}"),
                };
                let network = words.next("network")?.split_once('/').context("no prefix")?;
                Self::Route { add, network: network.0.parse()?, length: network.1.parse()? }
            }
            "veth" => Self::Veth(words.next("actor")?.to_owned()),
            "device" => {
                let kind = words.next("kind")?;
                ensure!(["macvlan", "ipvlan", "vlan"].contains(&kind), "no device is a {kind}");
                Self::Device(kind.to_owned(), words.next("actor")?.to_owned())
            }
            "up" => Self::Up(words.next("device")?.to_owned(), words.parse("address")?),
            "counts" => Self::Counts(words.next("counter")?.to_owned()),
            "sysctl" => Self::Sysctl(words.next("name")?.to_owned(), words.rest().join(" ")),
            "cpu" => Self::Cpu(words.parse("CPU")?),
            "redirect" | "tproxy" => {
                let rule = if verb == "tproxy" { Rule::Tproxy } else { Rule::Redirect };
                Self::Rule(rule, words.parse("port")?, words.parse("other port")?)
            }
            "destroy" => Self::Destroy(words.parse("port")?, words.parse("client's port")?),
            "listen" => Self::Listen(listen(&mut words)?),
            "listeners" => Self::Listeners {
                name: words.next("name")?.to_owned(),
                port: words.parse("port")?,
                count: words.parse("number")?,
            },
            "relisten" => Self::Relisten(words.next("name")?.to_owned(), words.parse("backlog")?),
            "close" => Self::Close(words.next("name")?.to_owned()),
            "accept" => Self::Accept {
                name: words.next("name")?.to_owned(),
                count: words.key("n")?.unwrap_or(1),
                all: words.has("all"),
            },
            "block" => Self::Block(words.next("name")?.to_owned(), words.parse("number")?),
            "read" => {
                let (name, what) = (words.next("name")?, words.next("eof, data or reset")?);
                ensure!(["eof", "data", "reset"].contains(&what), "nothing to read is {what}");
                Self::Read(name.to_owned(), what.to_owned())
            }
            "hangup" => {
                Self::Hangup { name: words.next("name")?.to_owned(), reset: words.has("reset") }
            }
            "seg" | "syn" | "ack" => Self::Segment(segment(&mut words, verb)?),
            "hs" => {
                let any = words.has("any");
                Self::Handshake { segment: segment(&mut words, "syn")?, any }
            }
            "load" => {
                let clients = segment(&mut words, "load")?;
                Self::Load { clients, name: words.next("listener")?.to_owned() }
            }
            "icmp" => Self::Icmp {
                port: words.parse("port")?,
                client: words.parse("client's port")?,
                v6: words.has("v6"),
            },
            "connect" => {
                Self::Connect(words.parse("address and port")?, words.key("n")?.unwrap_or(1))
            }
            "steer" => Self::Steer(words.parse("port")?, words.next("listener")?.to_owned()),
            "storm" => Self::Storm(words.parse("number")?, words.parse("seed")?),
            "churn" => Self::Churn(segment(&mut words, "load")?),
            "flood" => Self::Flood(words.parse("port")?, words.parse("number")?),
            "brief" => Self::Brief {
                name: words.next("name")?.to_owned(),
                port: words.parse("port")?,
                count: words.parse("number")?,
            },
            "drain" => Self::Drain(words.parse("milliseconds")?),
            "got" => Self::Got { ports: ports(&mut words)?, answers: words.rest() },
            other => bail!("{other} is no action"),
        };
        words.end()?;
        Ok(action)
    }
}

fn listen(words: &mut Words) -> Result<Listen> {
    let ip: Option<IpAddr> = words.key("ip")?;
    Ok(Listen {
        name: words.next("name")?.to_owned(),
        port: words.parse("port")?,
        backlog: words.parse("backlog")?,
        v6: words.has("v6") || ip.is_some_and(|ip| ip.is_ipv6()),
        ip,
        v6only: words.has("v6only"),
        reuseport: words.has("reuseport"),
        mptcp: words.has("mptcp"),
        smc: words.has("smc"),
        transparent: words.has("transparent"),
        md5: words.has("md5"),
        rcvbuf: words.key("rcvbuf")?,
        fastopen: words.key("fastopen")?,
        defer: words.key("defer")?,
    })
}

/// `SPORT [n=N]`
fn ports(words: &mut Words) -> Result<Range<u16>> {
    let first: u16 = words.parse("client's port")?;
    let count: u16 = words.key("n")?.unwrap_or(1);
    let end = first.checked_add(count).context("there are not so many ports")?;
    Ok(first..end)
}

fn segment(words: &mut Words, verb: &str) -> Result<Segment> {
    let port = words.parse("port")?;
    let clients = ports(words)?;
    let (flags, seq, ack) = match verb {
        "ack" => (flag('A'), 1, 1),
        "seg" => (flags(words.next("flags")?)?, 1, 1),
        _ => (flag('S'), 0, 0),
    };
    let to: Option<IpAddr> = words.key("to")?;
    Ok(Segment {
        port,
        clients,
        flags,
        seq: words.key("seq")?.unwrap_or(seq),
        ack: words.key("ack")?.unwrap_or(ack),
        len: words.key("len")?.unwrap_or(0),
        isn: words.key("isn")?,
        v6: words.has("v6") || to.is_some_and(|to| to.is_ipv6()),
        to,
        from: words.key("from")?,
        extension: match words.key::<String>("ext")?.as_deref() {
            None => None,
            Some("hop") => Some(Extension::HopByHop),
            Some("dst") => Some(Extension::Destination),
            Some(other) => bail!("ext cannot be {other}"),
        },
        timestamp: words.key("ts")?,
        options: bytes(&words.key::<String>("opt")?.unwrap_or_default())?,
        cookie_of: words.key("cookie")?,
        bad_checksum: words.has("badsum"),
    })
}

fn flag(wanted: char) -> u8 {
    FLAGS.iter().filter(|(flag, _)| *flag == wanted).map(|(_, bit)| bit).sum()
}

fn flags(word: &str) -> Result<u8> {
    ensure!(word.chars().all(|c| flag(c) != 0), "{word} is no set of flags");
    Ok(word.chars().map(flag).sum())
}

/// A segment's flags as a word, without PSH, which says nothing.
pub fn flags_word(flags: u8) -> String {
    let shown = FLAGS.iter().filter(|(flag, bit)| *flag != 'P' && flags & bit != 0);
    shown.map(|(flag, _)| flag).collect()
}

fn bytes(hex: &str) -> Result<Vec<u8>> {
    let pairs = hex.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    });
    pairs.collect::<Option<_>>().with_context(|| format!("{hex} is not hexadecimal"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_read() {
        let Action::Segment(segment) =
            Action::parse("seg 80 40000 RA n=3 ack=99 ext=dst opt=2202 v6").unwrap()
        else {
            panic!("it is no segment")
        };
        assert_eq!((segment.port, segment.clients, segment.flags), (80, 40_000..40_003, 20));
        assert_eq!((segment.seq, segment.ack), (1, 99));
        assert_eq!((segment.extension, segment.v6), (Some(Extension::Destination), true));
        assert_eq!(segment.options, [0x22, 2]);
        for bad in ["seg 80 40000 X", "syn 80 65535 n=2", "syn 80", "syn 80 1 ext=x", "ack 80 1 2"]
        {
            assert!(Action::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn flags_are_written_in_their_own_order() {
        assert_eq!(flags_word(flags("SA").unwrap()), "SA");
        assert_eq!(flags_word(flags("APF").unwrap()), "FA");
        assert_eq!(flags_word(0), "");
    }
}
