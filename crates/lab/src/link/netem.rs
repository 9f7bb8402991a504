//! A netem qdisc with nothing but a delay: rtnetlink has no netem, so its options are laid out
//! here.

use std::{io, time::Duration};

use futures_util::{StreamExt, TryStreamExt};
use netlink_packet_core::{
    DefaultNla, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::{
    Handle,
    packet_route::{
        RouteNetlinkMessage,
        tc::{TcAttribute, TcHandle, TcMessage, TcStats2},
    },
};

use crate::{LabError, error::During, link::netlink::refused};

/// Packets netem holds at most; the qdisc's own default of 1000 is less than a large burst.
const LIMIT: u32 = 100_000;

/// `TCA_OPTIONS` of include/uapi/linux/rtnetlink.h.
const TCA_OPTIONS: u16 = 2;
/// `TCA_NETEM_LATENCY64` of include/uapi/linux/pkt_sched.h: signed nanoseconds; since 4.15
/// (commit 99803171ef04), ignored before.
const TCA_NETEM_LATENCY64: u16 = 10;
/// `PSCHED_SHIFT` of include/net/pkt_sched.h: a tick of the packet scheduler is 64 ns.
const PSCHED_SHIFT: u32 = 6;

/// Delays everything that interface `index` of the handle's network namespace sends.
///
/// It fails where the kernel has no sch_netem, or the interface has a queueing discipline already.
pub async fn add(handle: &Handle, index: u32, delay: Duration) -> Result<(), LabError> {
    let mut message = TcMessage::with_index(index.cast_signed());
    message.header.parent = TcHandle::ROOT;
    message.header.handle = TcHandle { major: 1, minor: 0 };
    message.attributes = vec![
        TcAttribute::Kind("netem".to_owned()),
        TcAttribute::Other(DefaultNla::new(TCA_OPTIONS, options(delay))),
    ];
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::NewQueueDiscipline(message));
    request.header.flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;

    let mut handle = handle.clone();
    let mut replies = handle.request(request).map_err(refused).during("adding netem")?;
    while let Some(reply) = replies.next().await {
        if let NetlinkPayload::Error(error) = reply.payload
            && error.code.is_some()
        {
            return Err(explain(&error.to_io())).during("adding netem");
        }
    }
    Ok(())
}

/// Packets the root qdisc of interface `index` dropped because it was full.
pub(crate) async fn drops(handle: &Handle, index: u32) -> Result<u64, LabError> {
    let what = "reading the qdisc's statistics";
    let index = index.cast_signed();
    let mut qdiscs = handle.qdisc().get().index(index).execute();
    while let Some(qdisc) = qdiscs.try_next().await.map_err(refused).during(what)? {
        if qdisc.header.index != index || qdisc.header.parent != TcHandle::ROOT {
            continue;
        }
        for attribute in qdisc.attributes {
            let TcAttribute::Stats2(stats) = attribute else { continue };
            for stat in stats {
                if let TcStats2::Queue(queue) = stat {
                    return Ok(u64::from(queue.drops));
                }
            }
        }
    }
    Err(io::Error::other("the kernel sent none")).during(what)
}

/// `struct tc_netem_qopt` (six native-endian u32: latency in ticks, limit, loss, gap, duplicate,
/// jitter), then the nested attributes.
fn options(delay: Duration) -> Vec<u8> {
    let ns = i64::try_from(delay.as_nanos()).unwrap_or(i64::MAX);
    // Kernels with the 64-bit attribute take that and ignore the ticks, which end at 274 s.
    let ticks = u32::try_from(ns >> PSCHED_SHIFT).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(36);
    for word in [ticks, LIMIT, 0, 0, 0, 0] {
        bytes.extend(word.to_ne_bytes());
    }
    let attribute_len: u16 = 4 + 8;
    bytes.extend(attribute_len.to_ne_bytes());
    bytes.extend(TCA_NETEM_LATENCY64.to_ne_bytes());
    bytes.extend(ns.to_ne_bytes());
    bytes
}

fn explain(error: &io::Error) -> io::Error {
    if error.raw_os_error() == Some(libc::ENOENT) {
        return io::Error::other("this kernel has no sch_netem, or cannot load the module here");
    }
    io::Error::other(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_laid_out_as_the_kernel_reads_them() {
        let bytes = options(Duration::from_millis(200));
        let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!(bytes.len(), 24 + 12);
        assert_eq!((word(0), word(4)), (3_125_000, LIMIT));
        assert_eq!(bytes[8..24], [0; 16]);
        assert_eq!(u16::from_ne_bytes([bytes[24], bytes[25]]), 12);
        assert_eq!(u16::from_ne_bytes([bytes[26], bytes[27]]), TCA_NETEM_LATENCY64);
        assert_eq!(i64::from_ne_bytes(bytes[28..].try_into().unwrap()), 200_000_000);
    }
}
