//! Rules of nftables in the calling process's network namespace, as `nft` would make them: a table, a
//! chain in front of routing, a rule.

use std::io;

use anyhow::{Context as _, Result};
use guest_cases::action::Rule;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

/// `NFNL_MSG_BATCH_BEGIN`, `NFNL_MSG_BATCH_END` and `NFNL_SUBSYS_NFTABLES` of
/// include/uapi/linux/netfilter/nfnetlink.h.
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NFTABLES: u16 = 10;
/// `NFT_MSG_NEWTABLE`, `NFT_MSG_NEWCHAIN` and `NFT_MSG_NEWRULE` of
/// include/uapi/linux/netfilter/nf_tables.h.
const NEW_TABLE: u16 = 0;
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;
/// `NLM_F_REQUEST`, `NLM_F_ACK` and `NLM_F_CREATE`.
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const CREATE: u16 = 0x400;
/// `NLA_F_NESTED`.
const NESTED: u16 = 1 << 15;
/// `NFPROTO_IPV4`, `NF_INET_PRE_ROUTING`.
const IPV4: u8 = 2;
const PRE_ROUTING: u32 = 0;
/// `NFT_REG_1`.
const REGISTER: u32 = 1;

/// Connections to port `from` go to `to`; whether this kernel has such rules.
pub fn send_to(rule: Rule, from: u16, to: u16) -> Result<bool> {
    let (kind, priority, verb) = match rule {
        Rule::Redirect => ("nat", -100_i32, "redir"),
        Rule::Tproxy => ("filter", -150_i32, "tproxy"),
    };
    let table = name(1, "cases");
    let hook = nested(4, &[number(1, PRE_ROUTING), number(2, priority.cast_unsigned())]);
    let chain = [name(1, "cases"), name(3, "prerouting"), hook, name(7, kind)];
    let register = number(1, REGISTER);
    let is = |value: &[u8]| {
        let data = nested(3, &[attribute(1, value)]);
        expression("cmp", &[register.clone(), number(2, 0), data])
    };
    let port = number(if rule == Rule::Redirect { 1 } else { 3 }, REGISTER);
    let family = number(1, IPV4.into());
    let expressions = [
        // NFT_META_L4PROTO
        expression("meta", &[register.clone(), number(2, 16)]),
        is(&[6]),
        // NFT_PAYLOAD_TRANSPORT_HEADER: two bytes at 2.
        expression("payload", &[register.clone(), number(2, 2), number(3, 2), number(4, 2)]),
        is(&from.to_be_bytes()),
        expression("immediate", &[register.clone(), nested(2, &[attribute(1, &to.to_be_bytes())])]),
        if rule == Rule::Redirect {
            expression(verb, &[port])
        } else {
            expression(verb, &[family, port])
        },
    ];
    let whole = [name(1, "cases"), name(2, "prerouting"), nested(4, &expressions)];
    let batch = [
        message(BATCH_BEGIN, REQUEST, 0, NFTABLES, &[]),
        message(NFTABLES << 8 | NEW_TABLE, REQUEST | CREATE, IPV4, 0, &[table]),
        message(NFTABLES << 8 | NEW_CHAIN, REQUEST | CREATE, IPV4, 0, &chain),
        message(NFTABLES << 8 | NEW_RULE, REQUEST | CREATE | ACK, IPV4, 0, &whole),
        message(BATCH_END, REQUEST, 0, NFTABLES, &[]),
    ];
    match exchange(&batch.concat()) {
        // No nftables, no such chain, no such expression.
        Err(e)
            if matches!(e.raw_os_error(), Some(libc::EINVAL | libc::ENOENT | libc::EOPNOTSUPP)) =>
        {
            Ok(false)
        }
        other => {
            other.map(|()| true).with_context(|| format!("cannot make a rule that says {verb}"))
        }
    }
}

fn exchange(batch: &[u8]) -> io::Result<()> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(batch, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    // `struct nlmsgerr`, behind the header.
    let code =
        answer.get(16..20).and_then(|code| code.try_into().ok()).map_or(0, i32::from_ne_bytes);
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-code)) }
}

/// `struct nlmsghdr` and `struct nfgenmsg`, and attributes.
fn message(kind: u16, flags: u16, family: u8, resource: u16, attributes: &[Vec<u8>]) -> Vec<u8> {
    let body = attributes.concat();
    let length = u32::try_from(20 + body.len()).unwrap_or(u32::MAX);
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([family, 0]);
    bytes.extend(resource.to_be_bytes());
    bytes.extend(body);
    bytes
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn nested(kind: u16, attributes: &[Vec<u8>]) -> Vec<u8> {
    attribute(kind | NESTED, &attributes.concat())
}

fn number(kind: u16, value: u32) -> Vec<u8> {
    attribute(kind, &value.to_be_bytes())
}

fn name(kind: u16, text: &str) -> Vec<u8> {
    attribute(kind, &[text.as_bytes(), &[0]].concat())
}

/// `NFTA_LIST_ELEM`: its name and its data.
fn expression(verb: &str, attributes: &[Vec<u8>]) -> Vec<u8> {
    nested(1, &[name(1, verb), nested(2, attributes)])
}
