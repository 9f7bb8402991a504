//! Requests and waiting children that something else than a handshake puts an end to.

use std::time::Duration;

use super::{Alternative, Scenario, When, queue::SHRINK, steps};
use crate::{Action, CellConfig, Script, Segment, Setup, Step};
use overflow_core::packet::flags;

/// A listener with room, and nobody but a client made by hand.
const ALONE: CellConfig = CellConfig { backlog: 5, clients: 0, ..CellConfig::SEED };

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "icmp-error",
        shows: "An ICMP error about the SYN-ACK ends the request, and counts as ListenDrops although \
                both queues are empty",
        config: CellConfig {
            hold: Duration::from_millis(1500),
            script: steps(&[by_hand!(Segment { unreachable: true, ..Segment::ACK })]),
            ..ALONE
        },
        alternatives: &[Alternative {
            when: When::Always,
            histories: &[(1, "syn.queued later.request_icmp_error")],
        }],
        counters: &[("ListenDrops", 1), ("ListenOverflows", 0), ("OutRsts", 0)],
    },
    Scenario {
        name: "destroyed",
        shows: "SOCK_DESTROY (ss -K) resets the children that wait, and ends requests without a word",
        config: CellConfig {
            backlog: 8,
            hold: Duration::from_millis(2500),
            script: Script {
                name: "",
                setup: &[Setup::NeedsDestroy],
                steps: &[SHRINK, Step { at_ms: 600, action: Action::Destroy }],
            },
            ..CellConfig::SEED
        },
        alternatives: &[Alternative {
            when: When::Always,
            histories: &[
                (2, "syn.queued ack.accepted later.reset_by_server"),
                (3, "syn.queued ack.drop.overflow later.request_destroyed"),
            ],
        }],
        counters: &[("OutRsts", 2), ("EmbryonicRsts", 0), ("ListenOverflows", 3)],
    },
    Scenario {
        name: "keepalive",
        shows: "The keepalive of a child runs out before anybody accepts it: RST, and the dead child \
                keeps its place in the queue",
        config: CellConfig {
            hold: Duration::from_millis(3500),
            script: Script {
                name: "",
                setup: &[Setup::KeepAlive(1)],
                steps: &[by_hand!(Segment::ACK)],
            },
            ..ALONE
        },
        alternatives: &[Alternative {
            when: When::Always,
            histories: &[(1, "syn.queued ack.accepted later.reset_by_server")],
        }],
        counters: &[("OutRsts", 1), ("TCPAbortOnTimeout", 1)],
    },
    Scenario {
        name: "reset-in-queue",
        shows: "The client resets what nobody has accepted: the dead child keeps its place, and \
                accept() hands it out",
        config: CellConfig {
            hold: Duration::from_millis(1500),
            script: steps(&[
                by_hand!(
                    Segment::ACK,
                    Segment { after_ms: 200, flags: flags::RST, ..Segment::ACK }
                ),
                Step { at_ms: 1000, action: Action::Accept },
            ]),
            ..ALONE
        },
        alternatives: &[Alternative {
            when: When::Always,
            histories: &[(1, "syn.queued ack.accepted later.reset_in_queue later.accepted_by_app")],
        }],
        counters: &[("OutRsts", 0), ("EstabResets", 1), ("EmbryonicRsts", 0)],
    },
];
