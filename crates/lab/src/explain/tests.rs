//! The explanation follows the data.

use std::time::Duration;

use super::*;
use overflow_core::verdict::{Known, Values};

fn connection(ids: &[VerdictId]) -> Connection {
    let stage = |id: &VerdictId| Stage {
        id: *id,
        t_ns: 0,
        known: Known::Traced,
        path: &[],
        values: Values {
            sk_ack_backlog: Some(if id.is_syn() { 0 } else { 2 }),
            sk_max_ack_backlog: Some(1),
            syn_queue_len: Some(2),
            ..Values::default()
        },
        repeats_ns: Vec::new(),
    };
    Connection {
        client: ([10, 7, 0, 2], 30001).into(),
        server: ([10, 7, 0, 1], 12345).into(),
        stages: ids.iter().map(stage).collect(),
        ..Connection::default()
    }
}

fn config(abort_on_overflow: u8, syncookies: u8) -> CellConfig {
    CellConfig {
        abort_on_overflow,
        syncookies,
        backlog: 1,
        somaxconn: None,
        clients: 5,
        port: 12345,
        delay: Duration::from_millis(200),
        prefill: 0,
        payload: 0,
        hold: Duration::from_secs(2),
        ..CellConfig::SEED
    }
}

/// Explains cells given as (abort, syncookies, what became of the five).
fn explained(cells: &[(u8, u8, [&[VerdictId]; 5])], release: &str) -> Vec<Paragraph> {
    let configs: Vec<CellConfig> = cells.iter().map(|(a, s, _)| config(*a, *s)).collect();
    let bursts: Vec<Vec<Connection>> =
        cells.iter().map(|(_, _, ids)| ids.iter().map(|ids| connection(ids)).collect()).collect();
    let facts: Vec<Facts<'_>> = configs
        .iter()
        .zip(&bursts)
        .map(|(config, burst)| Facts {
            config,
            limit: 1,
            connections: burst.iter().collect(),
            listen_overflows: Some(3),
        })
        .collect();
    explain(&facts, release)
}

fn titles(found: &[Paragraph]) -> Vec<&'static str> {
    found.iter().map(|p| p.title).collect()
}

const OK: &[VerdictId] = &[VerdictId::SynQueued, VerdictId::AckAccepted];
const COOKIE: &[VerdictId] = &[VerdictId::SynCookie, VerdictId::AckDropOverflowCookie];
const RESET: &[VerdictId] = &[VerdictId::SynQueued, VerdictId::AckResetOverflow];
const KEPT: &[VerdictId] = &[VerdictId::SynQueued, VerdictId::AckDropOverflow];
const NO_SYNACK: &[VerdictId] = &[VerdictId::SynDropSynQueueFull];

#[test]
fn only_paths_that_were_taken_are_mentioned() {
    let cookies = [OK, OK, COOKIE, COOKIE, COOKIE];
    let found = explained(&[(0, 1, cookies), (1, 1, cookies)], "6.12.107");
    assert_eq!(
        titles(&found),
        [
            "Lost in the cookie path",
            "What tcp_abort_on_overflow changed",
            "Why another distribution differs"
        ]
    );
    assert!(found[0].text.contains("6 connections ended here"));
    assert!(found[0].text.contains("SYN queue full (2 > 1)"));
    assert!(found[1].text.starts_with("Nothing with tcp_syncookies=1"));
    assert!(found[2].text.contains("SYNs that get a cookie here become requests there"));
    assert!(found[2].text.contains("in 2 of 2 cells. They part at client 3 of"));
    assert!(found[2].text.contains("syn.cookie here (reqsk_queue_len 2 > sk_max_ack_backlog 1)"));

    let found = explained(&[(1, 0, [OK, OK, NO_SYNACK, NO_SYNACK, NO_SYNACK])], "6.12.107");
    assert_eq!(titles(&found), ["Lost before any ACK", "Why another distribution differs"]);
    assert!(!found[0].text.contains("accept queue"));

    assert_eq!(explained(&[(1, 1, [OK, OK, OK, OK, OK])], "6.12.107"), []);
}

#[test]
fn the_request_path_mentions_only_the_branch_that_was_taken() {
    let found = explained(&[(1, 1, [OK, OK, RESET, RESET, RESET])], "3.10.0-1160.el7");
    assert_eq!(titles(&found), ["Lost in the request path"]);
    assert!(found[0].text.contains("With 1 it removes the request"));
    assert!(!found[0].text.contains("With 0"));

    let cells = [(0, 1, [OK, OK, KEPT, KEPT, KEPT]), (1, 1, [OK, OK, RESET, RESET, RESET])];
    let found = explained(&cells, "3.10.0-1160.el7");
    assert_eq!(
        titles(&found),
        [
            "Lost in the request path",
            "What tcp_abort_on_overflow changed",
            "Why counters do not tell"
        ]
    );
    assert!(found[1].text.starts_with("With tcp_syncookies=1, it decided"));
}

#[test]
fn a_queue_filled_beforehand_is_compared_by_its_own_rule() {
    let mut config = config(1, 1);
    config.prefill = 2;
    config.clients = 3;
    let burst = [0; 3].map(|_| connection(&[VerdictId::SynDropAcceptQueueFull]));
    let facts = Facts {
        config: &config,
        limit: 1,
        connections: burst.iter().collect(),
        listen_overflows: Some(7),
    };
    assert_eq!(on_centos7(&facts).unwrap().to_string(), "2 reset, 1 no SYN-ACK");
    let found = explain(&[facts], "6.12.107");
    assert_eq!(titles(&found), ["Lost before any ACK", "Why another distribution differs"]);
    assert!(found[0].text.contains("without exception since 4.10"));
    assert!(found[1].text.contains("only while more than one request is young"));
    assert!(found[1].text.contains("SYNs that are dropped here become requests there"));
    assert!(found[1].text.ends_with(
        "They part at client 1 of abort=1,syncookies=1: syn.drop.accept_queue_full here \
         (sk_ack_backlog 2 > sk_max_ack_backlog 1), syn.queued there (qlen 0 >> max_qlen_log 4 = \
         0)."
    ));
}

#[test]
fn the_kernel_is_known_by_its_name_and_by_what_it_did() {
    let limit = |release| features(&[], release).syn_queue;
    assert_eq!(limit("3.10.0-1160.el7.x86_64"), SynQueueTest::MaxQlenLog);
    assert_eq!(limit("4.15.0-213-generic"), SynQueueTest::AtBacklog);
    assert_eq!(limit("of tomorrow"), SynQueueTest::AboveBacklog);

    // A cookie for a SYN that met as many requests as the backlog: >=, whatever the name says.
    let mut cookie = connection(COOKIE);
    cookie.stages[0].values.syn_queue_len = Some(1);
    cookie.stages[0].values.syncookies = Some(1);
    let config = config(1, 1);
    let facts =
        Facts { config: &config, limit: 1, connections: vec![&cookie], listen_overflows: None };
    assert_eq!(
        features(std::slice::from_ref(&facts), "6.1.0-50-amd64").syn_queue,
        SynQueueTest::AtBacklog
    );
    let found = explain(&[facts], "6.1.0-50-amd64");
    assert!(found[0].text.contains("SYN queue full (1 ≥ 1)"), "{}", found[0].text);
}
