//! How a third ACK's timestamps stand to its request's, as `tcp_check_req` (net/ipv4/tcp_minisocks.c)
//! compares them. Looked at only when it has returned NULL.

use overflow_common::valid;

use crate::{
    globals::{
        REQ_TS_RECENT, REQ_TSTAMP_OK, REQ_TSVAL_FIRST, REQ_TSVAL_LAST, SKB_HEAD,
        SKB_TRANSPORT_HEADER,
    },
    read,
};

/// Bytes of a TCP header without options.
const BARE: u64 = 20;
/// So many options are looked at: a SYN has five, a later segment one or two, and padding.
const OPTIONS: u32 = 16;
/// Kinds of TCP options (RFC 9293, 7323).
const END: u8 = 0;
const NOP: u8 = 1;
const TIMESTAMPS: u8 = 8;
/// The length of the timestamps option.
const TIMESTAMPS_LEN: u8 = 10;

/// The bits of [`valid`] that say how the timestamps of `skb` stand to those of `req`; none if that
/// cannot be read. In a function of its own: only what was refused pays for its loop.
#[inline(never)]
pub fn compare(skb: u64, req: u64) -> u32 {
    look(skb, req).unwrap_or(0).into()
}

#[inline(always)]
fn look(skb: u64, req: u64) -> Option<u16> {
    let recent = read::field(req, &REQ_TS_RECENT)? as u32;
    let tcp = read::field(skb, &SKB_HEAD)? + read::field(skb, &SKB_TRANSPORT_HEADER)?;
    let mut bits = valid::TIMESTAMPS;
    let option = find(tcp)?;
    if option == 0 {
        return Some(bits);
    }
    let (tsval, tsecr) = (number(option + 2), number(option + 6));
    // tcp_paws_check: nothing is older than 0, which stands for none.
    if recent != 0 && recent.wrapping_sub(tsval).cast_signed() > 0 {
        bits |= valid::TSVAL_OLD;
    }
    if let (Some(first), Some(last)) =
        (read::field(req, &REQ_TSVAL_FIRST), read::field(req, &REQ_TSVAL_LAST))
    {
        let (first, last) = (first as u32, last as u32);
        let sent = last.wrapping_sub(first) >= tsecr.wrapping_sub(first);
        if tsecr != 0 && read::field(req, &REQ_TSTAMP_OK)? != 0 && !sent {
            bits |= valid::TSECR_UNSENT;
        }
    }
    Some(bits)
}

/// The address of the timestamps option, 0 if there is none; `None` where its end was not reached.
#[inline(always)]
fn find(tcp: u64) -> Option<u64> {
    let mut data_offset = 0_u8;
    read::into(tcp + 12, &mut data_offset);
    let end = u64::from(data_offset >> 4) * 4;
    let mut at = BARE;
    for _ in 0..OPTIONS {
        // A kind of its own length is the last one.
        if at + 1 >= end {
            return Some(0);
        }
        let mut head = 0_u16;
        read::into(tcp + at, &mut head);
        let [kind, length] = head.to_ne_bytes();
        if kind == END || (kind != NOP && length < 2) {
            return Some(0);
        }
        if kind == TIMESTAMPS && length == TIMESTAMPS_LEN && at + 10 <= end {
            return Some(tcp + at);
        }
        at += if kind == NOP { 1 } else { u64::from(length) };
    }
    None
}

/// A number in network order.
#[inline(always)]
fn number(at: u64) -> u32 {
    let mut value = 0_u32;
    read::into(at, &mut value);
    u32::from_be(value)
}
