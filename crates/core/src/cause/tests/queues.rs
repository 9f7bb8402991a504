//! Causes that the queues show, whoever holds the listener.

use super::*;
use crate::{
    cause::evidence::{Member, QueueSample, Waiting},
    listeners::Sysctls,
};

const MS: u64 = 1_000_000;

/// A listener with limit 128 whose queue had these lengths and drops, 20 ms apart.
fn queue(recv_q: &[u32], drops: &[u32]) -> Evidence {
    let mut evidence = evidence(vec![holder(10)]);
    let begin = evidence.t_ns - 20 * MS * (recv_q.len() as u64 - 1);
    let times = (0_u64..).map(|i| begin + 20 * MS * i);
    let samples = times.zip(recv_q.iter().zip(drops));
    evidence.queue = samples
        .map(|(t_ns, (recv_q, drops))| QueueSample { t_ns, recv_q: *recv_q, drops: Some(*drops) })
        .collect();
    evidence.listener.recv_q = *recv_q.last().unwrap();
    evidence
}

#[test]
fn a_queue_that_empties_was_a_burst_and_its_size_is_said() {
    let burst = queue(&[129, 90, 40, 0], &[0, 60, 60, 60]);
    let judged = judge(&burst);
    assert_eq!(judged.main().unwrap().id, Burst);
    assert!(judged.causes[0].evidence[0].ends_with("a backlog of 188 would have held it"));
    assert!(judged.causes[0].values.contains(&("backlog_enough", 188)));
    let taken = |passive_opens| {
        let rises = Some(Rises { passive_opens, ..Rises::default() });
        judge(&Evidence { rises, ..burst.clone() }).causes[0].evidence[0].clone()
    };
    assert!(taken(0).starts_with("accept() took 129 connections in 60"), "{}", taken(0));
    assert!(taken(9).starts_with("accept() took 129 to 138 connections"), "{}", taken(9));
}

#[test]
fn a_queue_that_stays_full_while_it_is_accepted_from_is_overload() {
    let over = queue(&[129, 128, 129, 128, 129], &[0, 5, 10, 15, 20]);
    assert_eq!(ids(&over), [Overload]);
    // The drops ended long ago.
    assert_eq!(ids(&queue(&[129, 128, 129, 128, 129], &[0, 9, 9, 9, 9])), [Burst]);
    // Refilled between the samples: the newest connection tells.
    let mut refilled = queue(&[129; 5], &[0, 5, 10, 15, 20]);
    refilled.waiting = Some(Waiting { count: 129, oldest_ns: 900 * MS, newest_ns: 5 * MS });
    assert_eq!(ids(&refilled), [Overload]);
}

#[test]
fn a_server_that_has_no_cpu_is_not_overloaded() {
    let starved = |thread| Evidence {
        holders: vec![single(thread)],
        ..queue(&[129, 128, 129, 128, 129], &[0, 5, 10, 15, 20])
    };
    assert_eq!(ids(&starved(running(10, 5, 95))), [CpuStarved]);
    // One that computes between accepts is.
    assert_eq!(ids(&starved(running(10, 95, 5))), [Overload]);
    assert_eq!(ids(&starved(sleeping(10, "recvfrom"))), [Overload]);
}

#[test]
fn the_sysctl_is_a_cause_only_where_more_room_would_have_helped() {
    let clamped = |evidence: Evidence| Evidence {
        sysctls: Sysctls { somaxconn: Some(128), ..Sysctls::default() },
        ..evidence
    };
    assert_eq!(ids(&clamped(queue(&[129, 90, 40, 0], &[0, 60, 60, 60]))), [Burst, LimitClamped]);
    assert_eq!(ids(&clamped(queue(&[129, 128, 129], &[0, 5, 10]))), [Overload]);
    let stuck = clamped(stalled(vec![single(sleeping(10, "futex"))]));
    assert_eq!(ids(&stuck), [Blocked]);
    let why = judge(&stuck).ruled_out.into_iter().find(|(id, _)| *id == LimitClamped).unwrap().1;
    assert!(why.contains("would only have filled later"), "{why}");
}

#[test]
fn the_last_quarter_of_tcp_max_syn_backlog_is_a_limit_without_cookies() {
    let with = |syn_recv, syncookies| {
        let mut evidence = queue(&[0, 0], &[0, 9]);
        evidence.listener.syn_recv = syn_recv;
        evidence.sysctls.syncookies = Some(syncookies);
        evidence.sysctls.max_syn_backlog = Some(128);
        ids(&evidence)
    };
    assert_eq!(with(Some(96), 0), [LimitClamped]);
    assert_eq!(with(Some(95), 0), []);
    assert_eq!(with(Some(96), 1), []);
}

#[test]
fn a_member_that_is_full_while_others_have_room_is_one_of_an_uneven_group() {
    let member =
        |inode, recv_q| Member { inode, recv_q, send_q: Some(128), owner: format!("app/{inode}") };
    let with = |members| Evidence { members, ..stalled(vec![single(sleeping(10, "futex"))]) };
    let judged = judge(&with(vec![member(8, 129), member(9, 3)]));
    assert_eq!(judged.causes.iter().map(|c| c.id).collect::<Vec<_>>(), [Blocked, UnevenGroup]);
    assert!(judged.causes[1].evidence[0].contains("1 of the 2 other"));
    assert!(judged.causes[1].evidence[0].contains("app/9 (3/128)"));
    assert_eq!(ids(&with(vec![member(8, 129), member(9, 65)])), [Blocked]);
}

#[test]
fn cookies_that_come_back_are_no_flood() {
    let with = |sent, back, apart_ns| {
        let mut evidence = queue(&[0, 0], &[0, 0]);
        evidence.listener.syn_recv = Some(129);
        evidence.apart_ns = apart_ns;
        evidence.rises = Some(Rises { passive_opens: 0, cookies_sent: sent, cookies_back: back });
        evidence
    };
    let second = 1_000 * MS;
    assert_eq!(ids(&with(400, 3, second)), [Flood]);
    let real = judge(&with(28, 14, second));
    assert_eq!(real.causes, []);
    assert!(real.ruled_out.contains(&(Flood, "14 of 28 SYN cookies came back".to_owned())));
    // Too few, or not long enough for one that is far away.
    assert_eq!(ids(&with(19, 0, second)), []);
    assert_eq!(ids(&with(400, 0, 200 * MS)), []);
    let mut room = with(400, 0, second);
    room.listener.syn_recv = Some(12);
    assert_eq!(ids(&room), []);
}

#[test]
fn requests_that_nobody_answers_are_a_flood_only_while_the_accept_queue_has_room() {
    let with = |recv_q, resent| {
        let mut evidence = queue(&[recv_q, recv_q], &[0, 0]);
        evidence.listener.syn_recv = Some(129);
        evidence.rises = Some(Rises::default());
        evidence.resent = Some(resent);
        evidence
    };
    assert_eq!(ids(&with(0, 120)), [Flood]);
    assert_eq!(ids(&with(0, 100)), []);
    assert!(!judge(&with(129, 129)).holds(Flood));
}

#[test]
fn with_room_in_the_queue_no_process_is_to_blame() {
    let mut room = stalled(vec![single(sleeping(10, "futex"))]);
    for sample in &mut room.queue {
        sample.recv_q = 3;
    }
    room.listener.recv_q = 3;
    let judged = judge(&room);
    assert_eq!(judged.causes, []);
    assert!(judged.ruled_out.contains(&(Blocked, "the accept queue has room".to_owned())));
    // But whoever waits for long waits for somebody who does not accept.
    let waiting = |oldest_ns| Some(Waiting { count: 3, oldest_ns, newest_ns: 700 * MS });
    assert_eq!(ids(&Evidence { waiting: waiting(5_000 * MS), ..room.clone() }), [Blocked]);
    assert_eq!(ids(&Evidence { waiting: waiting(900 * MS), ..room }), []);
}
