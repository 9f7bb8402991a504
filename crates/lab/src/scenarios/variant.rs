//! Listeners of other kinds: Fast Open, `SO_REUSEPORT` migration, MPTCP.

use std::time::Duration;

use super::{Alternative, Scenario, When, queue::SHRINK};
use crate::{Action, CellConfig, Script, Segment, Setup, Step};

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "fast-open",
        shows: "A full fast-open queue is no drop: later SYNs get an ordinary handshake",
        config: CellConfig {
            backlog: 5,
            clients: 3,
            hold: Duration::from_millis(1500),
            script: Script {
                name: "",
                setup: &[
                    // TFO_SERVER_ENABLE | TFO_SERVER_COOKIE_NOT_REQD of include/net/tcp.h, and
                    // TFO_CLIENT_ENABLE | TFO_CLIENT_NO_COOKIE.
                    Setup::Sysctl("ipv4.tcp_fastopen", 0x202),
                    Setup::ClientSysctl("ipv4.tcp_fastopen", 0x5),
                    Setup::FastOpen(1),
                ],
                steps: &[],
            },
            ..CellConfig::SEED
        },
        alternatives: &[Alternative {
            when: When::Always,
            histories: &[
                (1, "syn.fastopen later.listener_closed"),
                (2, "syn.fastopen_queue_full syn.queued ack.accepted later.listener_closed"),
            ],
        }],
        counters: &[("TCPFastOpenPassive", 1), ("TCPFastOpenListenOverflow", 2)],
    },
    Scenario {
        name: "reuseport-migration",
        shows: "With tcp_migrate_req=1 the requests of a closed listener go to another of its \
                SO_REUSEPORT group, whose queue decides",
        config: CellConfig {
            backlog: 8,
            hold: Duration::from_millis(700),
            script: Script {
                name: "",
                setup: &[Setup::Sysctl("ipv4.tcp_migrate_req", 1), Setup::ReusePort],
                steps: &[Step { at_ms: 50, action: Action::Replace(1) }],
            },
            ..CellConfig::SEED
        },
        alternatives: &[
            Alternative {
                when: When::Always,
                histories: &[
                    (2, "syn.queued later.migrated ack.accepted later.listener_closed"),
                    (3, "syn.queued later.migrated ack.drop.overflow"),
                ],
            },
            // Debian's 5.10 has the sysctl but no reuseport_migrate_sock: the request is dropped at its
            // third ACK.
            Alternative {
                when: When::Always,
                histories: &[(5, "syn.queued later.request_orphaned later.reset_no_socket")],
            },
            // The same, where the function that drops it is inlined and so not seen.
            Alternative {
                when: When::Always,
                histories: &[(5, "syn.queued later.reset_no_socket")],
            },
        ],
        counters: &[],
    },
    Scenario {
        name: "reuseport-migration-at-timer",
        shows: "The same while a third ACK is long in coming: the request moves as its SYN-ACK is due \
                again",
        config: CellConfig {
            backlog: 8,
            clients: 0,
            hold: Duration::from_millis(2500),
            script: Script {
                name: "",
                setup: &[Setup::Sysctl("ipv4.tcp_migrate_req", 1), Setup::ReusePort],
                steps: &[
                    by_hand!(Segment { after_ms: 1600, ..Segment::ACK }),
                    Step { at_ms: 50, action: Action::Replace(1) },
                ],
            },
            ..CellConfig::SEED
        },
        alternatives: &[
            Alternative {
                when: When::Always,
                histories: &[(1, "syn.queued later.migrated ack.accepted later.listener_closed")],
            },
            // Debian's 5.10 has the sysctl but no reuseport_migrate_sock.
            Alternative {
                when: When::Always,
                histories: &[(1, "syn.queued later.request_orphaned later.reset_no_socket")],
            },
        ],
        counters: &[],
    },
    Scenario {
        name: "mptcp",
        shows: "An MPTCP listener overflows like any other, abort=1 included",
        config: CellConfig {
            abort_on_overflow: 1,
            backlog: 8,
            hold: Duration::from_secs(2),
            script: Script {
                name: "",
                setup: &[Setup::Sysctl("mptcp.enabled", 1), Setup::Mptcp],
                steps: &[SHRINK],
            },
            ..CellConfig::SEED
        },
        alternatives: &[Alternative {
            when: When::Always,
            histories: &[
                (2, "syn.queued ack.accepted later.listener_closed"),
                (3, "syn.queued ack.reset.overflow"),
            ],
        }],
        counters: &[("ListenOverflows", 3), ("EmbryonicRsts", 3)],
    },
];
