//! A connection's class, the word by which measurements call what became of it, from its line.

use crate::lines::{self, Connection};

/// The burst, in order of `connect()`, which is that of its ports.
pub fn burst<'a>(connections: impl IntoIterator<Item = &'a Connection>) -> Vec<&'a Connection> {
    let mut burst: Vec<_> = connections.into_iter().filter(|c| lines::in_burst(c)).collect();
    burst.sort_by_key(|connection| connection.client.port());
    burst
}

/// The class of a connection: `ACCEPTED`, `ACK_DROPPED_COOKIE`, `RST_ON_ACK(syn_rexmit)`.
pub fn class(connection: &Connection) -> String {
    let stages = &connection.stages;
    let met = |id: &str| stages.iter().any(|stage| stage.id.is_under(id));
    let first_syn_dropped = stages.first().is_some_and(|s| s.id.is_under("syn.drop"));
    let word = if met("ack.accepted") {
        "ACCEPTED"
    } else if met("ack.reset") && met("ack.drop.defer_accept") || met("later.reset_no_socket") {
        // The third ACK had passed; what was refused is data.
        "RST_ON_DATA"
    } else if met("ack.reset") {
        "RST_ON_ACK"
    } else if met("syn.queued") {
        "ACK_DROPPED_REXMIT"
    } else if met("syn.cookie") {
        "ACK_DROPPED_COOKIE"
    } else {
        return "SYN_DROPPED".to_owned();
    };
    let suffix = if first_syn_dropped { "(syn_rexmit)" } else { "" };
    format!("{word}{suffix}")
}

/// Classes in a row, run-length coded: `2 ACCEPTED, 3 ACK_DROPPED_COOKIE`.
pub fn short(classes: &[String]) -> String {
    let runs = classes.chunk_by(|a, b| a == b);
    runs.map(|run| format!("{} {}", run.len(), run[0])).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use overflow_core::{
        model::scenario::Phase,
        verdict::{self, Known, Stage, Values, VerdictId},
        wire,
    };

    fn connection(port: u16, history: &str) -> Connection {
        let stage = |id: &str| Stage {
            id: VerdictId::parse(id).unwrap(),
            t_ns: 0,
            known: Known::Traced,
            path: &[],
            values: Values::default(),
            repeats_ns: Vec::new(),
        };
        let connection = verdict::Connection {
            client: ([10, 7, 0, 2], port).into(),
            stages: history.split(' ').map(stage).collect(),
            ..verdict::Connection::default()
        };
        let line =
            wire::Connection { phase: Some(Phase::Burst), ..wire::Connection::of(&connection) };
        serde_json::from_str(&serde_json::to_string(&line).unwrap()).unwrap()
    }

    #[test]
    fn stages_make_the_class() {
        for (history, expected) in [
            ("syn.queued ack.accepted later.listener_closed", "ACCEPTED"),
            ("syn.cookie ack.accepted.cookie", "ACCEPTED"),
            ("syn.queued ack.drop.overflow", "ACK_DROPPED_REXMIT"),
            ("syn.cookie ack.drop.overflow.cookie later.phantom", "ACK_DROPPED_COOKIE"),
            ("syn.drop.syn_queue_full syn.drop.accept_queue_full", "SYN_DROPPED"),
            ("syn.drop.syn_queue_full syn.queued ack.reset.overflow", "RST_ON_ACK(syn_rexmit)"),
            ("syn.queued ack.reset.overflow", "RST_ON_ACK"),
            ("syn.queued ack.drop.defer_accept ack.reset.overflow", "RST_ON_DATA"),
            ("syn.cookie ack.drop.overflow.cookie later.reset_no_socket", "RST_ON_DATA"),
        ] {
            assert_eq!(class(&connection(30001, history)), expected, "{history}");
        }
    }

    #[test]
    fn the_burst_is_in_order_of_ports() {
        let lines = [connection(30010, "syn.queued"), connection(30009, "syn.cookie")];
        let ports: Vec<_> = burst(&lines).into_iter().map(|line| line.client.port()).collect();
        assert_eq!(ports, [30009, 30010]);
    }

    #[test]
    fn rows_are_shortened() {
        let classes = ["A", "A", "C"].map(str::to_owned);
        assert_eq!(short(&classes), "2 A, 1 C");
    }
}
