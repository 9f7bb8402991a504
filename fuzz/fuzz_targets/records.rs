//! Records of the ring, whatever is in them, to verdicts: as many in a row as there are bytes for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use overflow_common::RawEvent;
use overflow_core::{
    connections::{Bounds, ConnTable},
    decode::Decoder,
    syn_limit::SynLimitEstimator,
};

/// Far fewer than a live trace has, so that all of them run out.
const BOUNDS: Bounds = Bounds { connections: 8, blocks: 32, events: 6, templates: 8, servers: 4 };

fuzz_target!(|bytes: &[u8]| {
    let mut decoder = Decoder::default();
    let mut table = ConnTable::new(BOUNDS);
    let mut limit = SynLimitEstimator::default();
    let mut stages = Vec::new();
    for record in bytes.chunks_exact(size_of::<RawEvent>()) {
        let Some(event) = RawEvent::from_bytes(record).and_then(|r| decoder.decode(&r)) else {
            continue;
        };
        limit.learn(&event);
        let mut finished = |_: &mut _, _| Ok(());
        table.add(&event, limit.limit(), &mut stages, Some(&mut finished)).unwrap();
        if event.conn.client.port() % 2 == 1 {
            table.expire(event.t_ns, limit.limit(), Some(&mut finished)).unwrap();
        }
    }
    let mut finished = |_: &mut _, _| Ok(());
    table.finish(limit.limit(), Some(&mut finished)).unwrap();
});
