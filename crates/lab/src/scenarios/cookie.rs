//! SYN cookies: connections that only their clients believe in.

use std::time::Duration;

use super::{Alternative, Scenario, When, queue::SHRINK, steps};
use crate::{Action, CellConfig, Crafted, Segment, Step};

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "cookies-always",
        shows: "With tcp_syncookies=2 no request is kept, and abort=1 resets nobody however large the \
                SYN queue",
        config: CellConfig {
            abort_on_overflow: 1,
            syncookies: 2,
            backlog: 8,
            hold: Duration::from_secs(2),
            script: steps(&[SHRINK]),
            ..CellConfig::SEED
        },
        alternatives: &[Alternative {
            when: When::Always,
            histories: &[
                (2, "syn.cookie ack.accepted.cookie later.listener_closed"),
                (3, "syn.cookie ack.drop.overflow.cookie"),
            ],
        }],
        counters: &[("SyncookiesSent", 5), ("ListenOverflows", 3), ("EmbryonicRsts", 0)],
    },
    Scenario {
        name: "phantom-with-data",
        shows: "A cookie's client sends two segments: the first is dropped like its ACK, the second \
                fails the cookie check and is answered by RST",
        config: CellConfig {
            hold: Duration::from_millis(1800),
            script: steps(&[Step {
                at_ms: 500,
                action: Action::Send { segments: 2, bytes: 1000 },
            }]),
            ..CellConfig::SEED
        },
        alternatives: &[
            Alternative {
                when: When::AboveBacklog,
                histories: &[
                    (2, "syn.queued ack.accepted later.listener_closed"),
                    (3, "syn.cookie ack.drop.overflow.cookie later.reset_no_socket"),
                ],
            },
            Alternative {
                when: When::AtBacklog,
                histories: &[
                    (1, "syn.queued ack.accepted later.listener_closed"),
                    (1, "syn.cookie ack.accepted.cookie later.listener_closed"),
                    (3, "syn.cookie ack.drop.overflow.cookie later.reset_no_socket"),
                ],
            },
        ],
        counters: &[("SyncookiesFailed", 3), ("EmbryonicRsts", 0)],
    },
    Scenario {
        name: "phantom-revived",
        shows: "A slot becomes free and a phantom's data comes: the cookie in its ACK number makes \
                the connection after all",
        config: CellConfig {
            // As many as find room at once.
            clients: 4,
            hold: Duration::from_millis(1800),
            script: steps(&[
                Step { at_ms: 500, action: Action::Accept },
                Step { at_ms: 800, action: Action::Send { segments: 1, bytes: 100 } },
            ]),
            ..CellConfig::SEED
        },
        alternatives: &[
            Alternative {
                when: When::AboveBacklog,
                histories: &[
                    (2, "syn.queued ack.accepted later.accepted_by_app"),
                    (
                        2,
                        "syn.cookie ack.drop.overflow.cookie later.recovered ack.accepted.cookie \
                         later.accepted_by_app",
                    ),
                ],
            },
            Alternative {
                when: When::AtBacklog,
                histories: &[
                    (1, "syn.queued ack.accepted later.accepted_by_app"),
                    (1, "syn.cookie ack.accepted.cookie later.accepted_by_app"),
                    (
                        2,
                        "syn.cookie ack.drop.overflow.cookie later.recovered ack.accepted.cookie \
                         later.accepted_by_app",
                    ),
                ],
            },
        ],
        counters: &[("PassiveOpens", 4)],
    },
    Scenario {
        name: "invalid-cookie",
        shows: "An ACK without a request and without a valid cookie is answered by RST",
        config: CellConfig {
            syncookies: 2,
            backlog: 5,
            clients: 0,
            hold: Duration::from_millis(1500),
            script: steps(&[by_hand!(Segment { ack: 1000, ..Segment::ACK })]),
            ..CellConfig::SEED
        },
        alternatives: &[Alternative {
            when: When::Always,
            histories: &[(1, "syn.cookie ack.reset.invalid_cookie")],
        }],
        counters: &[("SyncookiesFailed", 1), ("OutRsts", 1)],
    },
    Scenario {
        name: "stray-ack",
        shows: "An ACK of whose handshake nothing was seen is answered by RST: the late segment of a \
                closed connection, say, and no verdict",
        config: CellConfig {
            syncookies: 2,
            backlog: 5,
            clients: 1,
            hold: Duration::from_millis(1500),
            script: steps(&[Step {
                // Only after a cookie was sent is one looked for (tcp_synq_no_recent_overflow).
                at_ms: 500,
                action: Action::Craft(&[Crafted {
                    handshake: false,
                    timestamps: false,
                    segments: &[Segment::ACK],
                }]),
            }]),
            ..CellConfig::SEED
        },
        alternatives: &[Alternative {
            when: When::Always,
            histories: &[(1, "syn.cookie ack.accepted.cookie later.listener_closed"), (1, "")],
        }],
        counters: &[("SyncookiesFailed", 1), ("OutRsts", 1)],
    },
];
