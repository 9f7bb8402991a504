//! What the lab would say without a tracer: packets, counters, sockets and settings alone must not come
//! to another verdict than the one traced.

use super::{Comparison, blank, infer::Queues};
use crate::CellConfig;
use overflow_core::{capture::evidence::WireEvidence, verdict::Known};

/// Why they contradict the tracer, if they do. That nothing can be told is no contradiction.
pub(super) fn objection(
    queues: &Queues<'_>,
    config: &CellConfig,
    evidence: &WireEvidence,
    comparison: &Comparison,
) -> Option<String> {
    // Beside a script's steps, nobody accepts and nothing goes away.
    if !config.script.is_plain() {
        return None;
    }
    let stage = comparison.connection.handshake().filter(|s| s.known == Known::Traced)?;
    let mut alone = blank(comparison.connection.client, comparison.connection.server);
    queues.complete(&mut alone, evidence);
    let inferred = alone.handshake()?.id;
    (inferred != stage.id)
        .then(|| format!("the tracer says {}, and without it, it would be {inferred}", stage.id))
}
