//! Segments that meet their request and are refused for what they carry; all are made by hand.

use std::time::Duration;

use super::{Alternative, Scenario, When, queue::SHRINK, steps};
use crate::{CellConfig, Segment, Step};
use overflow_core::packet::flags;

/// A listener with room, and nobody but the crafted client.
const ALONE: CellConfig = CellConfig {
    abort_on_overflow: 1,
    backlog: 5,
    clients: 0,
    hold: Duration::from_millis(1500),
    ..CellConfig::SEED
};

/// The third ACK as it should be, 200 ms after what went wrong.
const THEN_THE_RIGHT_ONE: Segment = Segment { after_ms: 200, ..Segment::ACK };

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "bad-ack",
        shows: "A third ACK that acknowledges something else is answered by RST; the request stays",
        config: CellConfig {
            script: steps(&[by_hand!(Segment { ack: 1000, ..Segment::ACK }, THEN_THE_RIGHT_ONE)]),
            ..ALONE
        },
        alternatives: &[Alternative {
            when: When::Always,
            histories: &[(1, "syn.queued ack.reset.bad_ack ack.accepted later.listener_closed")],
        }],
        counters: &[("OutRsts", 1), ("EmbryonicRsts", 0)],
    },
    Scenario {
        name: "bad-sequence",
        shows: "A third ACK outside of the window is dropped, and answered by an ACK",
        config: CellConfig {
            script: steps(&[by_hand!(
                Segment { seq: 1_000_000, ..Segment::ACK },
                THEN_THE_RIGHT_ONE
            )]),
            ..ALONE
        },
        alternatives: &[Alternative {
            when: When::Always,
            histories: &[(
                1,
                "syn.queued ack.drop.out_of_window ack.accepted later.listener_closed",
            )],
        }],
        counters: &[("OutRsts", 0), ("ListenDrops", 0)],
    },
    Scenario {
        name: "paws",
        shows: "A third ACK with a timestamp from the past is dropped (PAWS)",
        config: CellConfig {
            script: steps(&[by_hand!(
                timestamps;
                Segment { tsval: -500_000, ..Segment::ACK },
                THEN_THE_RIGHT_ONE
            )]),
            ..ALONE
        },
        alternatives: &[Alternative {
            when: When::Always,
            histories: &[(1, "syn.queued ack.drop.paws ack.accepted later.listener_closed")],
        }],
        counters: &[("PAWSEstabRejected", 1), ("OutRsts", 0)],
    },
    Scenario {
        name: "no-flags",
        shows: "A segment without ACK, SYN and RST meets its request and is dropped without a word",
        config: CellConfig {
            script: steps(&[by_hand!(
                Segment { flags: flags::PSH, ..Segment::ACK },
                THEN_THE_RIGHT_ONE
            )]),
            ..ALONE
        },
        alternatives: &[Alternative {
            when: When::Always,
            histories: &[(1, "syn.queued ack.drop.other ack.accepted later.listener_closed")],
        }],
        counters: &[("OutRsts", 0), ("ListenDrops", 0), ("PassiveOpens", 1)],
    },
    Scenario {
        name: "bad-syn",
        shows: "A SYN inside the window of its request is answered by RST and ends the request",
        config: CellConfig {
            script: steps(&[by_hand!(Segment { flags: flags::SYN | flags::ACK, ..Segment::ACK })]),
            ..ALONE
        },
        alternatives: &[Alternative {
            when: When::Always,
            histories: &[(1, "syn.queued ack.reset.bad_syn")],
        }],
        counters: &[("OutRsts", 1), ("EmbryonicRsts", 1), ("AttemptFails", 1)],
    },
    Scenario {
        name: "client-reset",
        shows: "The client's own RST ends the request: EmbryonicRsts counts it, no RST was sent",
        config: CellConfig {
            script: steps(&[by_hand!(Segment { flags: flags::RST, ..Segment::ACK })]),
            ..ALONE
        },
        alternatives: &[Alternative {
            when: When::Always,
            histories: &[(1, "syn.queued later.reset_by_client")],
        }],
        counters: &[("OutRsts", 0), ("EmbryonicRsts", 1), ("AttemptFails", 1)],
    },
    Scenario {
        name: "inexact-reset",
        shows: "A RST in the window but not at its edge: ends the request, or since 2026 only draws \
                a challenge ACK",
        config: CellConfig {
            script: steps(&[by_hand!(
                Segment { flags: flags::RST, seq: 100, ..Segment::ACK },
                THEN_THE_RIGHT_ONE
            )]),
            ..ALONE
        },
        alternatives: &[
            // Commit a28c4fcbf774.
            Alternative {
                when: When::Always,
                histories: &[(1, "syn.queued ack.accepted later.listener_closed")],
            },
            Alternative {
                when: When::Always,
                histories: &[(1, "syn.queued later.reset_by_client later.reset_no_socket")],
            },
            // The same, where what the RST did to the request is not seen.
            Alternative {
                when: When::Always,
                histories: &[(1, "syn.queued later.reset_no_socket")],
            },
        ],
        counters: &[],
    },
    Scenario {
        name: "duplicate-ack",
        shows: "Each copy of a third ACK is decided anew: with abort=0 every one counts an overflow",
        config: CellConfig {
            abort_on_overflow: 0,
            backlog: 8,
            clients: 2,
            hold: Duration::from_millis(2500),
            script: steps(&[
                by_hand!(
                    Segment { after_ms: 300, ..Segment::ACK },
                    Segment { after_ms: 100, ..Segment::ACK }
                ),
                SHRINK_LATER,
            ]),
            ..CellConfig::SEED
        },
        alternatives: &[Alternative {
            when: When::Always,
            histories: &[
                (2, "syn.queued ack.accepted later.listener_closed"),
                (1, "syn.queued ack.drop.overflow*2"),
            ],
        }],
        counters: &[("ListenOverflows", 2), ("ListenDrops", 2)],
    },
];

const SHRINK_LATER: Step = Step { at_ms: 350, ..SHRINK };
