//! An event in a few bytes: the number of its template, and what is its own as variable-length
//! integers, less what the event before it has in common.

use overflow_common::Path;

use super::template::{After, Template};
use crate::decode::{ConnKey, Event, QueueView, Segment};

/// No event takes more bytes.
pub(super) const LONGEST: usize = 5 + 10 + 5 * 6;

/// What a later event of the connection is packed as a difference from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Earlier {
    /// When it was, nanoseconds.
    pub t_ns: u64,
    /// Its segment's sequence number, or that of the latest one that had any.
    pub seq: u32,
}

/// Writes an event; `earlier` is changed to this one.
pub(super) fn write(
    out: &mut Vec<u8>,
    number: u32,
    template: &Template,
    m: &Event,
    earlier: &mut Earlier,
) {
    put(out, u64::from(number));
    put(out, m.t_ns.wrapping_sub(earlier.t_ns));
    earlier.t_ns = m.t_ns;
    if let (Some((_, payload)), Some(segment)) = (template.segment, &m.segment) {
        put(out, zigzag(earlier.seq, segment.seq));
        earlier.seq = segment.seq;
        if payload {
            put(out, u64::from(segment.payload_len));
        }
    }
    if let (Some(limit), Some((len, _))) = (template.limit, m.before.accept) {
        put(out, near(limit, len));
    }
    if let (After::Limit(limit), Some((len, _))) = (template.after, m.after.and_then(|q| q.accept))
    {
        put(out, near(limit, len));
    }
    if let (true, Some(qlen)) = (template.qlen, m.before.qlen) {
        put(out, u64::from(qlen));
    }
    if let (true, Some(young)) = (template.young, m.before.young) {
        put(out, zigzag(m.before.qlen.unwrap_or(0), young));
    }
}

/// The number of the template that stands at `at`, and where the rest is.
pub(super) fn number(bytes: &[u8], at: &mut usize) -> u32 {
    low(get(bytes, at))
}

/// Reads the time that stands at `at`.
pub(super) fn time(bytes: &[u8], at: &mut usize, earlier_ns: u64) -> u64 {
    earlier_ns.wrapping_add(get(bytes, at))
}

/// Reads the rest of an event of this template.
pub(super) fn read(
    bytes: &[u8],
    at: &mut usize,
    template: &Template,
    conn: ConnKey,
    earlier: &mut Earlier,
) -> Event {
    let mut next = || get(bytes, at);
    let t_ns = earlier.t_ns.wrapping_add(next());
    earlier.t_ns = t_ns;
    let segment = template.segment.map(|(flags, payload)| {
        let seq = unzigzag(earlier.seq, next());
        earlier.seq = seq;
        Segment { flags, seq, ack_seq: 0, payload_len: if payload { low(next()) } else { 0 } }
    });
    let accept = template.limit.map(|limit| (far(limit, next()), limit));
    let after = match template.after {
        After::Unread => None,
        After::Unknown => Some(None),
        After::Same => Some(accept),
        After::Limit(limit) => Some(Some((far(limit, next()), limit))),
    };
    let qlen = template.qlen.then(|| low(next()));
    let young = template.young.then(|| unzigzag(qlen.unwrap_or(0), next()));
    Event {
        t_ns,
        kind: template.kind,
        rung: template.rung,
        path: Path(template.path),
        conn,
        sk: template.sk,
        sk_state: template.sk_state,
        req: 0,
        segment,
        before: QueueView { accept, qlen, young },
        after: after.map(|accept| QueueView { accept, qlen: None, young: None }),
        abort_on_overflow: template.abort_on_overflow,
        syncookies: template.syncookies,
        num_timeout: template.num_timeout,
        defer_accept: template.defer_accept,
        drop_reason: template.drop_reason.clone(),
        reset_reason: template.reset_reason.clone(),
        ino: template.ino,
        in_window: template.in_window,
        timestamps: template.timestamps,
        freed_in: template.freed_in,
    }
}

/// Passes over the rest of an event of this template.
pub(super) fn skip(bytes: &[u8], at: &mut usize, template: &Template, earlier: &mut Earlier) {
    earlier.t_ns = time(bytes, at, earlier.t_ns);
    let mut rest = usize::from(template.limit.is_some())
        + usize::from(matches!(template.after, After::Limit(_)))
        + usize::from(template.qlen)
        + usize::from(template.young);
    if let Some((_, payload)) = template.segment {
        earlier.seq = unzigzag(earlier.seq, get(bytes, at));
        rest += usize::from(payload);
    }
    for _ in 0..rest {
        get(bytes, at);
    }
}

/// Seven bits a byte, the lowest first; the last byte is below 128.
fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f | 0x80).to_le_bytes()[0]);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn get(bytes: &[u8], at: &mut usize) -> u64 {
    let mut value = 0;
    let mut shift = 0;
    loop {
        let byte = bytes[*at];
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return value;
        }
        shift += 7;
    }
}

/// Of what was 32 bits wide when it was put.
fn low(value: u64) -> u32 {
    (value & 0xffff_ffff) as u32
}

/// A difference of either sign, small if it is small.
fn zigzag(from: u32, to: u32) -> u64 {
    let difference = to.wrapping_sub(from).cast_signed();
    u64::from((difference << 1 ^ difference >> 31).cast_unsigned())
}

fn unzigzag(from: u32, value: u64) -> u32 {
    let value = low(value);
    from.wrapping_add(value >> 1 ^ 0_u32.wrapping_sub(value & 1))
}

/// A queue's length: small if it is near empty or, above its limit, near full.
fn near(limit: u32, len: u32) -> u64 {
    match len.checked_sub(limit) {
        Some(over) => u64::from(over) << 1 | 1,
        None => u64::from(len) << 1,
    }
}

fn far(limit: u32, value: u64) -> u32 {
    let number = low(value >> 1);
    if value & 1 == 1 { limit.wrapping_add(number) } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_come_back() {
        let mut rng = fastrand::Rng::with_seed(2);
        let mut bytes = Vec::new();
        let values: Vec<u64> = (0..1000).map(|_| rng.u64(..) >> rng.u32(..64)).collect();
        for value in &values {
            put(&mut bytes, *value);
        }
        let mut at = 0;
        assert!(values.iter().all(|value| get(&bytes, &mut at) == *value));
        assert_eq!(at, bytes.len());
        for _ in 0..1000 {
            let (a, b) = (rng.u32(..) >> rng.u32(..32), rng.u32(..) >> rng.u32(..32));
            assert_eq!(unzigzag(a, zigzag(a, b)), b);
            assert_eq!(far(a, near(a, b)), b);
        }
        assert_eq!((zigzag(5, 6), zigzag(5, 4), near(128, 129)), (2, 1, 3));
    }
}
