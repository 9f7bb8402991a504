//! A difference in words.

use std::fmt;

use super::Difference;
use overflow_core::{
    model::{scenario::Phase, time::MS},
    verdict::{Stage, VerdictId},
};

/// Both histories, and the first condition on which they part.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = match self.phase {
            Phase::Prefill => "prefill, ",
            Phase::Burst => "",
        };
        let ids = |ids: &[VerdictId]| {
            let ids: Vec<&str> = ids.iter().map(|id| id.as_str()).collect();
            if ids.is_empty() { "nothing".to_owned() } else { ids.join(" → ") }
        };
        let model = self.decision.map_or_else(
            || "the model has no further stage".to_owned(),
            |d| {
                let function = d.condition.function();
                format!("the model: {} at {} ms, {function}: {}", d.id, d.t_ns / MS, d.condition)
            },
        );
        let kernel = self.stage.as_deref().map_or_else(
            || "the trace has no further stage".to_owned(),
            |s| format!("the kernel: {}", stage(s)),
        );
        write!(
            f,
            "{phase}port {}\n    predicted {}\n    traced    {}\n    {model}\n    {kernel}",
            self.client.port(),
            ids(&self.predicted),
            ids(&self.traced),
        )
    }
}

fn stage(stage: &Stage) -> String {
    let values = &stage.values;
    let read = [
        ("sk_ack_backlog", values.sk_ack_backlog),
        ("sk_max_ack_backlog", values.sk_max_ack_backlog),
        ("reqsk_queue_len", values.syn_queue_len),
        ("young", values.syn_queue_young),
        ("num_timeout", values.num_timeout.map(u32::from)),
    ];
    let read: Vec<String> =
        read.iter().filter_map(|(name, value)| Some(format!("{name} {}", (*value)?))).collect();
    let values = if read.is_empty() { String::new() } else { format!(", {}", read.join(", ")) };
    format!("{}{values}", stage.id)
}
