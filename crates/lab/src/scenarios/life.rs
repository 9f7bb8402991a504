//! What becomes of a request whose third ACK was dropped.

use std::time::Duration;

use super::{Alternative, Scenario, When, queue::SHRINK, steps};
use crate::{Action, CellConfig, Script, Segment, Setup, Step};
use overflow_core::packet::flags;

const ONE_RETRY: Setup = Setup::Sysctl("ipv4.tcp_synack_retries", 1);

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "accept-later",
        shows: "The application begins to accept after 2 s: the ACK of the next SYN-ACK gets in",
        config: CellConfig {
            backlog: 8,
            // As many as find room at once: three would come before the application is back.
            clients: 4,
            hold: Duration::from_secs(5),
            script: steps(&[SHRINK, Step { at_ms: 2000, action: Action::Accept }]),
            ..CellConfig::SEED
        },
        alternatives: &[Alternative {
            when: When::Always,
            histories: &[
                (2, "syn.queued ack.accepted later.accepted_by_app"),
                (
                    2,
                    "syn.queued ack.drop.overflow*2 later.recovered ack.accepted \
                     later.accepted_by_app",
                ),
            ],
        }],
        counters: &[("ListenOverflows", 4), ("PassiveOpens", 4)],
    },
    Scenario {
        name: "accept-too-late",
        shows: "The application begins to accept when the client has closed: its FIN completes the \
                handshake, and accept() hands out what nobody waits for",
        config: CellConfig {
            backlog: 8,
            clients: 2,
            hold: Duration::from_millis(2500),
            script: steps(&[
                by_hand!(
                    Segment { after_ms: 200, ..Segment::ACK },
                    Segment {
                        after_ms: 1000,
                        flags: flags::ACK | flags::PSH | flags::FIN,
                        payload: 10,
                        ..Segment::ACK
                    }
                ),
                SHRINK,
                Step { at_ms: 800, action: Action::Accept },
            ]),
            ..CellConfig::SEED
        },
        alternatives: &[Alternative {
            when: When::Always,
            histories: &[
                (2, "syn.queued ack.accepted later.accepted_by_app"),
                (
                    1,
                    "syn.queued ack.drop.overflow later.recovered_too_late ack.accepted \
                     later.accepted_by_app",
                ),
            ],
        }],
        counters: &[("ListenOverflows", 1), ("PassiveOpens", 3)],
    },
    Scenario {
        name: "request-expires",
        shows: "With tcp_synack_retries=1 the request is gone after 3 s, unknown to its client",
        config: CellConfig {
            backlog: 8,
            hold: Duration::from_millis(4500),
            script: Script { name: "", setup: &[ONE_RETRY], steps: &[SHRINK] },
            ..CellConfig::SEED
        },
        alternatives: &[Alternative {
            when: When::Always,
            histories: &[
                (2, "syn.queued ack.accepted later.listener_closed"),
                (3, "syn.queued ack.drop.overflow*2 later.request_expired"),
            ],
        }],
        counters: &[("OutRsts", 0)],
    },
    Scenario {
        name: "data-after-expiry",
        shows: "Data of a client whose request expired meets only the listener: RST",
        config: CellConfig {
            backlog: 8,
            hold: Duration::from_millis(5500),
            script: Script {
                name: "",
                setup: &[ONE_RETRY],
                steps: &[
                    SHRINK,
                    Step { at_ms: 4500, action: Action::Send { segments: 1, bytes: 100 } },
                ],
            },
            ..CellConfig::SEED
        },
        alternatives: &[Alternative {
            when: When::Always,
            histories: &[
                (2, "syn.queued ack.accepted later.listener_closed"),
                (3, "syn.queued ack.drop.overflow*2 later.request_expired later.reset_no_socket"),
            ],
        }],
        counters: &[("OutRsts", 3), ("EmbryonicRsts", 0)],
    },
    Scenario {
        name: "defer-accept",
        shows: "TCP_DEFER_ACCEPT ignores the bare third ACK; data completes the handshake",
        config: CellConfig {
            backlog: 5,
            clients: 2,
            hold: Duration::from_millis(1500),
            script: Script {
                name: "",
                setup: &[Setup::DeferAccept(2)],
                steps: &[Step { at_ms: 500, action: Action::Send { segments: 1, bytes: 100 } }],
            },
            ..CellConfig::SEED
        },
        alternatives: &[Alternative {
            when: When::Always,
            histories: &[(
                2,
                "syn.queued ack.drop.defer_accept ack.accepted later.listener_closed",
            )],
        }],
        counters: &[("TCPDeferAcceptDrop", 2)],
    },
    Scenario {
        name: "listener-close",
        shows: "The listener closes: children are reset, requests die unseen at their next timeout",
        config: CellConfig {
            backlog: 8,
            hold: Duration::from_millis(2500),
            script: steps(&[SHRINK, Step { at_ms: 600, action: Action::Close }]),
            ..CellConfig::SEED
        },
        alternatives: &[Alternative {
            when: When::Always,
            histories: &[
                (2, "syn.queued ack.accepted later.listener_closed"),
                (3, "syn.queued ack.drop.overflow later.request_orphaned"),
            ],
        }],
        counters: &[("OutRsts", 2)],
    },
];
