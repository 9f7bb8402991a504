//! Full queues: what a burst meets, by backlog and sysctls.

use std::time::Duration;

use super::{Alternative, Scenario, When, steps};
use crate::{Action, CellConfig, Script, Setup, Step};

/// Eight requests are admitted, two children: `listen(1)` after the SYNs, before the third ACKs.
pub(super) const SHRINK: Step = Step { at_ms: 80, action: Action::Listen(1) };

/// Requests carry their listener's mark, and are routed by it.
const MARK: u32 = 7;

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "centos7",
        shows: "What CentOS 7 does with backlog 1 and abort=1, on any kernel: three of five third \
                ACKs meet their request and are answered by RST",
        config: CellConfig {
            abort_on_overflow: 1,
            backlog: 8,
            hold: Duration::from_secs(2),
            script: steps(&[SHRINK]),
            ..CellConfig::SEED
        },
        alternatives: &[Alternative {
            when: When::Always,
            histories: &[
                (2, "syn.queued ack.accepted later.listener_closed"),
                (3, "syn.queued ack.reset.overflow"),
            ],
        }],
        counters: &[("EmbryonicRsts", 3), ("OutRsts", 3), ("ListenOverflows", 3)],
    },
    Scenario {
        name: "centos7-abort0",
        shows: "The same with abort=0: the three ACKs are dropped, their SYN-ACKs sent again",
        config: CellConfig {
            backlog: 8,
            hold: Duration::from_millis(2500),
            script: steps(&[SHRINK]),
            ..CellConfig::SEED
        },
        alternatives: &[Alternative {
            when: When::Always,
            histories: &[
                (2, "syn.queued ack.accepted later.listener_closed"),
                // The third ACK at 200 ms, and the one that answers the SYN-ACK of 1 s.
                (3, "syn.queued ack.drop.overflow*2"),
            ],
        }],
        counters: &[("EmbryonicRsts", 0), ("OutRsts", 0), ("ListenOverflows", 6)],
    },
    Scenario {
        name: "abort-switched",
        shows: "The sysctl is read anew at every ACK: dropped at 0, reset after it was set to 1",
        config: CellConfig {
            backlog: 8,
            hold: Duration::from_millis(2500),
            script: steps(&[
                SHRINK,
                Step { at_ms: 600, action: Action::Sysctl("ipv4.tcp_abort_on_overflow", 1) },
            ]),
            ..CellConfig::SEED
        },
        alternatives: &[Alternative {
            when: When::Always,
            histories: &[
                (2, "syn.queued ack.accepted later.listener_closed"),
                (3, "syn.queued ack.drop.overflow ack.reset.overflow"),
            ],
        }],
        counters: &[("EmbryonicRsts", 3)],
    },
    Scenario {
        name: "accept-queue-full",
        shows: "SYNs that find the accept queue full are dropped, abort=1 or not",
        config: CellConfig {
            abort_on_overflow: 1,
            prefill: 2,
            clients: 3,
            hold: Duration::from_millis(2500),
            ..CellConfig::SEED
        },
        alternatives: &[Alternative {
            when: When::Always,
            histories: &[
                (2, "syn.queued ack.accepted later.listener_closed"),
                (3, "syn.drop.accept_queue_full"),
            ],
        }],
        counters: &[("EmbryonicRsts", 0)],
    },
    Scenario {
        name: "syn-queue-full",
        shows: "Without SYN cookies, SYNs that find the SYN queue full are dropped",
        config: CellConfig { syncookies: 0, hold: Duration::from_millis(700), ..CellConfig::SEED },
        alternatives: &[
            Alternative {
                when: When::AboveBacklog,
                histories: &[
                    (2, "syn.queued ack.accepted later.listener_closed"),
                    (3, "syn.drop.syn_queue_full"),
                ],
            },
            Alternative {
                when: When::AtBacklog,
                histories: &[
                    (1, "syn.queued ack.accepted later.listener_closed"),
                    (4, "syn.drop.syn_queue_full"),
                ],
            },
        ],
        counters: &[("ListenOverflows", 0)],
    },
    Scenario {
        name: "syn-backlog-spared",
        shows: "Without SYN cookies the last quarter of tcp_max_syn_backlog is for known peers: a \
                SYN is dropped although both queues have room",
        config: CellConfig {
            syncookies: 0,
            backlog: 8,
            hold: Duration::from_millis(600),
            script: Script {
                name: "",
                setup: &[Setup::Sysctl("ipv4.tcp_max_syn_backlog", 4)],
                steps: &[],
            },
            ..CellConfig::SEED
        },
        alternatives: &[Alternative {
            when: When::Always,
            histories: &[
                (4, "syn.queued ack.accepted later.listener_closed"),
                (1, "syn.drop.other"),
            ],
        }],
        counters: &[("ListenOverflows", 0), ("ListenDrops", 1), ("TCPReqQFullDrop", 0)],
    },
    Scenario {
        name: "syn-without-route",
        shows: "A SYN is dropped although both queues have room: its SYN-ACK has no route back",
        config: CellConfig {
            backlog: 5,
            clients: 2,
            hold: Duration::from_millis(700),
            script: Script {
                name: "",
                setup: &[Setup::Mark(MARK), Setup::Unroutable(MARK)],
                steps: &[],
            },
            ..CellConfig::SEED
        },
        alternatives: &[Alternative { when: When::Always, histories: &[(2, "syn.drop.other")] }],
        counters: &[("ListenOverflows", 0), ("ListenDrops", 2), ("PassiveOpens", 0)],
    },
    Scenario {
        name: "backlog-0",
        shows: "listen(0) holds one connection; whether its SYN is queued or answered by a cookie \
                depends on the kernel",
        config: CellConfig {
            abort_on_overflow: 1,
            backlog: 0,
            clients: 3,
            hold: Duration::from_millis(1500),
            ..CellConfig::SEED
        },
        alternatives: &[
            Alternative {
                when: When::AboveBacklog,
                histories: &[
                    (1, "syn.queued ack.accepted later.listener_closed"),
                    (2, "syn.cookie ack.drop.overflow.cookie"),
                ],
            },
            Alternative {
                when: When::AtBacklog,
                histories: &[
                    (1, "syn.cookie ack.accepted.cookie later.listener_closed"),
                    (2, "syn.cookie ack.drop.overflow.cookie"),
                ],
            },
        ],
        counters: &[("EmbryonicRsts", 0), ("OutRsts", 0), ("ListenOverflows", 2)],
    },
];
