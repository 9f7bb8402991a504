//! The table and its findings on hand-made segments.

use super::{
    finding::{Doubt, Finding, RstKind},
    link::Direction,
    point::Place,
    script::{self, SERVER},
    sums::Sums,
    table::{Options, Table},
    *,
};
use crate::verdict::VerdictId;

/// Seen at the server's own host: what goes which way shows it.
fn at_server(mut segment: Segment) -> Segment {
    let out = segment.packet.src == SERVER;
    segment.direction = Some(if out { Direction::Out } else { Direction::In });
    segment
}

fn segments(port: u16, script: &str) -> Vec<Segment> {
    let segment = |(packet, number)| Segment {
        packet,
        number,
        interface: 0,
        device: 0,
        direction: None,
        ttl: 64,
        ip_id: 0,
    };
    script::packets(port, script).into_iter().zip(1..).map(segment).collect()
}

fn judge(segments: impl IntoIterator<Item = Segment>, options: Options) -> Vec<Finding> {
    let mut table = Table::new(options);
    segments.into_iter().for_each(|segment| table.add(segment));
    table.end().collect()
}

/// The family, phantom and doubts of one connection that was captured on the server's host, after
/// whose last packet the capture goes on for a minute: that of another client.
fn told(script: &str) -> String {
    told_of(segments(30001, script).into_iter().map(at_server).collect())
}

fn told_of(mut all: Vec<Segment>) -> String {
    let mut last = segments(30002, "60000>S");
    last[0].number = 99;
    all.append(&mut last);
    let found = judge(all, Options::default());
    let finding = found.iter().find(|f| f.client.port() == 30001).expect("it is told");
    let mut text = finding.family().to_owned();
    if finding.recovered {
        text.push_str(" recovered");
    }
    if finding.phantom == Some(true) {
        text.push_str(" phantom");
    }
    for doubt in &finding.doubts {
        text.push(' ');
        text.push_str(doubt.as_str());
    }
    text
}

#[test]
fn at_the_server_a_segment_that_arrived_and_is_not_answered_was_dropped() {
    assert_eq!(told("0>S 1000>S"), "syn.drop which_queue firewall");
    assert_eq!(
        told("0>S 0<SA 200>A 1000<SA 1200>A"),
        "ack.drop.overflow phantom which_test firewall"
    );
    assert_eq!(
        told("0>S 0<SA 200>A 201>D 401>D"),
        "ack.drop.overflow.cookie phantom which_test firewall"
    );
    assert_eq!(told("0>S 0<SA 200>A"), "ack idle firewall");
    assert_eq!(told("0>S 0<SA"), "syn request_or_cookie no_ack");
}

#[test]
fn elsewhere_it_may_have_been_lost() {
    let told = |script| told_of(segments(30001, script));
    assert_eq!(told("0>S 1000>S"), "syn.drop which_queue lost");
    assert_eq!(told("0>S 5<SA 5>A 6>D 400>D 900>D"), "ack idle lost");
    assert_eq!(told("0>S 5<SA 5>A 1005<SA"), "ack.drop.overflow phantom which_test lost");
    // It left before the third ACK can have come.
    assert_eq!(told("0>S 900<SA 900>A 1700<SA"), "ack idle lost");
}

#[test]
fn what_a_socket_sends_stands_alone() {
    assert_eq!(told("0>S 0<SA 200>A 201>D 201<K"), "ack.accepted");
    assert_eq!(
        told("0>S 0<SA 200>A 1000<SA 1200>A 1201>D 1202<K"),
        "ack.accepted recovered phantom"
    );
    let lossy = || Options { lossy: true, ..Options::default() };
    let finding = |script| judge(segments(30001, script), lossy()).swap_remove(0);
    assert_eq!(finding("0>S 0<SA 200>A 201>D 201<K").family(), "ack.accepted");
    let reset = finding("0>S 0<SA 200>A 200<R 5000>S");
    assert_eq!((reset.family(), &reset.doubts[..]), ("unknown", &[Doubt::Missing][..]));
}

#[test]
fn silence_that_nothing_breaks_is_also_that_of_a_socket() {
    let verdicts = judge(segments(30001, "0>S 0<SA 200>A"), Options::default());
    let named = |prefix: &str| verdicts[0].verdicts.iter().any(|id| id.as_str() == prefix);
    for id in ["ack.accepted", "ack.accepted.cookie", "ack.drop.overflow", "ack.drop.other"] {
        assert!(named(id), "{id}");
    }
    let silent = judge_after(segments(30001, "0>S 0<SA 200>A"));
    assert!(!silent.iter().any(|id| id.as_str() == "ack.reset.overflow"), "{silent:?}");
    let told = judge_after(segments(30001, "0>S 0<SA 200>A 201>D").into_iter().map(at_server));
    assert!(!told.iter().any(|id| id.came_through()), "{told:?}");
}

/// The verdicts on the first connection when the capture goes on for a minute.
fn judge_after(all: impl IntoIterator<Item = Segment>) -> Vec<VerdictId> {
    let all = all.into_iter().chain(segments(30002, "60000>S"));
    judge(all, Options::default()).swap_remove(0).verdicts
}

#[test]
fn a_rst_is_somebodys() {
    let kinds = |script: &str| -> Vec<RstKind> {
        let found = judge(segments(30001, script), Options::default());
        found[0].resets.iter().map(|reset| reset.kind).collect()
    };
    assert_eq!(kinds("0>S 0<RA"), [RstKind::RefusesSyn]);
    assert_eq!(kinds("0>S 0<SA 200>A 200<R"), [RstKind::RefusesAck]);
    assert_eq!(kinds("0>S 0<SA 200>A 900>D 900<R"), [RstKind::RefusesData]);
    assert_eq!(kinds("0>S 0<SA 200>A 3000<RA"), [RstKind::Closes]);
    assert_eq!(kinds("0>S 0<SA 200>A 400>R"), [RstKind::Client]);
    let mut foreign = segments(30001, "0>S 0<SA 200>A 200<R");
    foreign[3].ttl = 250;
    let found = judge(foreign, Options::default());
    assert!(found[0].doubts.contains(&Doubt::Sender), "{:?}", found[0].doubts);
}

#[test]
fn a_port_that_closed_since_does_not_speak_for_the_listener() {
    assert_eq!(told("0>S 1000>S 3100>S 3100<RA"), "syn.drop which_queue firewall");
    assert_eq!(told("0>S 0<RA"), "syn.refused");
    // A keepalive, long after the third ACK was dropped.
    assert_eq!(told("0>S 0<SA 200>A 20000>A 20000<R"), "ack phantom which_test");
    // The socket may have gone with its host in between.
    assert_eq!(told("0>S 0<SA 200>A 90000>D 90000<R"), "unknown idle");
}

#[test]
fn a_capture_with_one_direction_tells_nothing() {
    let seen = |to_server: bool| {
        let all = segments(30001, "0>S 0<SA 200>A 201>D 201<K");
        let half = all.into_iter().filter(|s| (s.packet.dst == SERVER) == to_server);
        judge(half, Options::default()).swap_remove(0)
    };
    assert_eq!(seen(true).doubts, [Doubt::OneSided]);
    assert_eq!(seen(false).doubts, [Doubt::OneSided]);
    let all = segments(30001, "0<SA 1000<SA");
    assert_eq!(judge(all, Options::default())[0].doubts, [Doubt::OneSided]);
}

#[test]
fn one_connection_at_several_interfaces_is_one() {
    let mut all = Vec::new();
    for segment in segments(30001, "0>S 0<SA 200>A 201>D 201<K") {
        for interface in [3, 7] {
            let mut copy = segment.clone();
            copy.interface = interface;
            copy.packet.t_ns += u64::from(interface) * 1000;
            all.push(copy);
        }
    }
    // The same addresses elsewhere: another connection.
    for mut other in segments(30001, "1>S 1000>S") {
        other.packet.seq = 0x7000_0000;
        other.interface = 9;
        all.push(other);
    }
    let mut table = Table::new(Options::default());
    for segment in all {
        table.add(segment);
    }
    let found: Vec<Finding> = table.end().collect();
    let families: Vec<&str> = found.iter().map(Finding::family).collect();
    assert_eq!(families, ["ack.accepted", "syn.drop"]);
    // When the server's ACK comes, the data's copy is on its way: what is over is not looked at.
    assert_eq!((table.counts().copies, table.counts().without_handshake), (3, 0));
}

#[test]
fn a_port_that_is_used_again_is_another_connection() {
    let mut all = segments(30001, "0>S 0<SA 200>A 200<R");
    let mut again = segments(30001, "5000>S 5000<SA 5200>A 5201>D 5201<K");
    for segment in &mut again {
        let number = |n: &mut u32| *n = n.wrapping_add(0x1000_0000);
        let client = segment.packet.dst == SERVER;
        number(if client { &mut segment.packet.seq } else { &mut segment.packet.ack });
    }
    all.append(&mut again);
    let found = judge(all, Options::default());
    let families: Vec<&str> = found.iter().map(Finding::family).collect();
    assert_eq!(families, ["ack.reset", "ack.accepted"]);
}

#[test]
fn whoever_is_quiet_for_long_is_told_before_the_end() {
    let mut table = Table::new(Options::default());
    let mut other = segments(30002, "90000>S 90200>S");
    let all = segments(30001, "0>S 1000>S");
    all.into_iter().chain(other.drain(..)).for_each(|segment| table.add(segment));
    let found = table.findings();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].family(), "syn.drop");
}

/// Clocks were set back, or files were put together in the wrong order.
#[test]
fn a_file_that_is_not_in_order_is_read_all_the_same() {
    let mut all = segments(30001, "0>S 1000>S 1000<SA 1200>A");
    all[0].packet.t_ns += 2_000_000_000;
    let found = judge(all, Options::default());
    assert_eq!((found.len(), found[0].evidence.flow.syns.len()), (1, 2));
}

#[test]
fn one_that_is_in_no_order_is_not_taken_for_another_connection() {
    let told = |order: &[usize]| {
        let all = segments(30001, "0>S 1<SA 200>A 900>D 1100<R");
        told_of(order.iter().map(|i| all[*i].clone()).collect())
    };
    assert_eq!(told(&[0, 1, 2, 3, 4]), "ack phantom which_test");
    assert_eq!(told(&[0, 3, 4, 1, 2]), "unknown disorder");
    assert_eq!(told(&[4, 3, 2, 1, 0]), "unknown disorder");
    // What a socket sends needs no order.
    let all = segments(30001, "0>S 1<SA 200>A 900>D 1100<K");
    assert_eq!(told_of([0, 1, 3, 4, 2].map(|i: usize| all[i].clone()).to_vec()), "ack.accepted");
}

#[test]
fn a_connection_is_known_to_pass_a_bounded_number_of_interfaces() {
    let syn = segments(30001, "0>S").remove(0);
    let seen_at = |interface| Segment { interface, ..syn.clone() };
    let mut table = Table::new(Options::default());
    (0..10_000).for_each(|interface| table.add(seen_at(interface)));
    assert_eq!((table.end().count(), table.counts().copies), (1, 9_999));
}

#[test]
fn options_choose() {
    let all = || segments(30001, "0>S 0<SA 200>A 201>D 201<K");
    let count = |options| judge(all(), options).len();
    assert_eq!(count(Options { ports: vec![12345], ..Options::default() }), 1);
    assert_eq!(count(Options { ports: vec![30001], ..Options::default() }), 0, "a client's");
    assert_eq!(count(Options { ipv4: Some(false), ..Options::default() }), 0);
    let at = Options { at: Some(Place::Server), ..Options::default() };
    assert!(judge(all(), at)[0].point.at_server());
}

#[test]
fn sums_are_of_listeners_and_clients() {
    let mut all = segments(30001, "0>S 0<SA 200>A 201>D 201<K");
    all.append(&mut segments(30002, "10>S 10<SA 210>A 1010<SA 1210>A 3010<SA"));
    all.append(&mut segments(30003, "20>S 1020>S 3020>S"));
    let mut sums = Sums::default();
    for finding in judge(all, Options::default()) {
        sums.add(&finding);
    }
    let listener = &sums.listeners[&SERVER];
    assert_eq!(listener, &sums.all);
    assert_eq!(listener, &sums.clients[&script::client(30001).ip()]);
    assert_eq!((listener.connections, listener.phantoms), (3, 1));
    assert_eq!((listener.syn_retransmits, listener.synack_retransmits), (2, 2));
    let families: Vec<_> = listener.families.iter().map(|(f, n)| (*f, *n)).collect();
    assert_eq!(families, [("ack.accepted", 1), ("ack.drop.overflow", 1), ("syn.drop", 1)]);
    assert_eq!(sums.doubts[&Doubt::Lost], 2);
}
