//! Single rules of the model, each on the kernels it tells apart.

use super::{
    super::{
        application::{Application, Pace},
        config::{Listener, Sysctls},
        features::Features,
        processor::{Costs, Processor},
        scenario::Burst,
        time::{MS, SEC, US},
    },
    *,
};

fn seed(features: Features, syncookies: u8, abort_on_overflow: u8) -> Scenario {
    let listener = Listener { backlog: 1, ..Listener::default() };
    let sysctls = Sysctls { syncookies, abort_on_overflow, ..Sysctls::default() };
    let burst = Burst { prefill: 0, clients: 5, delay: 200 * MS, payload: 0 };
    Scenario::burst(features, listener, sysctls, burst, 8 * SEC)
}

fn classes(scenario: &Scenario) -> Vec<&'static str> {
    let mut simulator = Simulator::default();
    simulator.run(scenario).paths.iter().map(|p| p.class().as_str()).collect()
}

fn ids(path: &Path) -> Vec<VerdictId> {
    path.stages().map(|d| d.id).collect()
}

const A: &str = "ACCEPTED";
const C: &str = "ACK_DROPPED_COOKIE";
const D: &str = "ACK_DROPPED_REXMIT";
const R: &str = "RST_ON_ACK";
const S: &str = "SYN_DROPPED";

#[test]
fn the_sysctl_decides_on_3_10() {
    for syncookies in [0, 1] {
        assert_eq!(classes(&seed(Features::EL7, syncookies, 0)), [A, A, D, D, D]);
        assert_eq!(classes(&seed(Features::EL7, syncookies, 1)), [A, A, R, R, R]);
    }
}

#[test]
fn the_sysctl_is_not_read_with_cookies_since_4_4() {
    let kernels = [
        Features::V4_4,
        Features::V4_15,
        Features::V5_4,
        Features::V5_4.above_backlog(),
        Features::V6_5.above_backlog(),
    ];
    for features in kernels {
        for abort in [0, 1] {
            assert_eq!(classes(&seed(features, 1, abort)), [A, A, C, C, C], "{features:?}");
        }
    }
}

#[test]
fn without_cookies_5_10_234_queues_one_more_than_5_10_223() {
    let late = "ACCEPTED(syn_rexmit)";
    assert_eq!(classes(&seed(Features::V5_4, 0, 1)), [A, S, S, S, late]);
    assert_eq!(classes(&seed(Features::V5_4.above_backlog(), 0, 1)), [A, A, S, S, S]);
}

#[test]
fn a_kept_request_recovers_when_a_slot_becomes_free() {
    let mut scenario = seed(Features::EL7, 1, 0);
    scenario.accepts = vec![2 * SEC];
    let mut simulator = Simulator::default();
    let outcome = simulator.run(&scenario);
    let recovered: Vec<_> =
        outcome.paths.iter().filter(|p| p.outcome() == Some(VerdictId::LaterRecovered)).collect();
    assert_eq!(recovered.len(), 1);
    assert_eq!(
        ids(recovered[0])[..3],
        [VerdictId::SynQueued, VerdictId::AckDropOverflow, VerdictId::AckAccepted]
    );
    assert_eq!(ids(&outcome.paths[0]).last(), Some(&VerdictId::LaterAcceptedByApp));
}

#[test]
fn a_dropped_cookie_never_recovers_without_data() {
    let mut scenario = seed(Features::V6_5.above_backlog(), 1, 0);
    scenario.accepts = vec![SEC, SEC];
    let mut simulator = Simulator::default();
    let outcome = simulator.run(&scenario);
    assert_eq!(outcome.paths[4].outcome(), Some(VerdictId::LaterPhantom));
    assert_eq!(outcome.paths[4].client.as_str(), "ESTABLISHED");
    assert_eq!(outcome.paths[4].server.as_str(), None);
    // The clients' data carry the cookies once more.
    for client in &mut scenario.clients {
        client.payload = 5;
    }
    let outcome = simulator.run(&scenario);
    let recovered =
        outcome.paths.iter().filter(|p| p.outcome() == Some(VerdictId::LaterRecovered)).count();
    assert_eq!(recovered, 2);
}

#[test]
fn requests_expire_after_five_retransmissions_in_63_s() {
    // Backlog 3 holds 4: one slot is left for the burst.
    let features = Features::V5_4.above_backlog();
    let listener = Listener { backlog: 3, ..Listener::default() };
    let burst = Burst { prefill: 3, clients: 2, delay: 0, payload: 0 };
    let mut scenario = Scenario::burst(features, listener, Sysctls::default(), burst, 100 * SEC);
    scenario.arrive_in_order("S1 S2 A1 A2").unwrap();
    let mut simulator = Simulator::default();
    let outcome = simulator.run(&scenario);
    let last = outcome.paths.last().unwrap();
    assert_eq!(last.synack_retransmits.len(), 5);
    let expired = last.decisions.iter().find(|d| d.id == VerdictId::LaterRequestExpired).unwrap();
    assert!((63 * SEC..72 * SEC).contains(&expired.t_ns), "{}", expired.t_ns);
    assert_eq!(last.outcome(), Some(VerdictId::LaterPhantom));
}

#[test]
fn closing_resets_what_was_never_accepted() {
    let mut scenario = seed(Features::EL7, 1, 0);
    scenario.closes = Some(5 * SEC);
    let mut simulator = Simulator::default();
    let outcome = simulator.run(&scenario);
    let outcomes: Vec<_> = outcome.paths.iter().filter_map(Path::outcome).collect();
    assert_eq!(outcomes[..2], [VerdictId::LaterListenerClosed; 2]);
    assert_eq!(outcomes[2..], [VerdictId::LaterPending; 3]);
    assert_eq!(outcome.paths[0].server.as_str(), Some("ESTABLISHED"));
    assert_eq!(outcome.counters.out_rsts, 0);
}

#[test]
fn a_slow_path_repeats_the_syn_and_the_server_repeats_the_synack() {
    let mut scenario = seed(Features::V5_4, 1, 0);
    scenario.listener.backlog = 8;
    scenario.link.to_client = 1500 * MS;
    let mut simulator = Simulator::default();
    let outcome = simulator.run(&scenario);
    for path in outcome.paths {
        assert_eq!(path.syns, 2);
        assert!(path.synacks >= 2);
        assert_eq!(path.class().as_str(), A);
    }
}

#[test]
fn second_data_of_a_reset_client_meets_no_socket() {
    let mut scenario = seed(Features::EL7, 0, 1);
    for client in &mut scenario.clients {
        client.payload = 5;
    }
    let mut simulator = Simulator::default();
    let outcome = simulator.run(&scenario);
    assert_eq!(
        ids(&outcome.paths[2]),
        [VerdictId::SynQueued, VerdictId::AckResetOverflow, VerdictId::LaterResetNoSocket]
    );
    assert_eq!(outcome.paths[2].class().as_str(), R);
}

#[test]
fn linear_timeouts_do_not_count_as_syn_retries() {
    for (features, syns) in [(Features::V5_4, 7), (Features::V6_5, 11)] {
        let listener = Listener { backlog: 0, ..Listener::default() };
        let sysctls = Sysctls { syncookies: 0, ..Sysctls::default() };
        let burst = Burst { prefill: 0, clients: 1, delay: 0, payload: 0 };
        let scenario = Scenario::burst(features, listener, sysctls, burst, 200 * SEC);
        assert_eq!(Simulator::default().run(&scenario).paths[0].syns, syns);
    }
}

#[test]
fn known_repetitions_replace_the_syn_timers() {
    let mut scenario = seed(Features::V5_4, 0, 0);
    scenario.repeated_syns = Some(vec![(SEC, 4)]);
    let mut simulator = Simulator::default();
    let outcome = simulator.run(&scenario);
    let queued = |i: usize| outcome.paths[i].decisions.iter().any(|d| d.id == VerdictId::SynQueued);
    assert!(queued(0) && queued(4), "the second place goes to whose SYN comes again");
    assert!(!queued(1) && !queued(2) && !queued(3));
}

#[test]
fn what_timers_send_at_once_leaves_one_after_the_other() {
    let mut scenario = seed(Features::V6_5, 0, 0);
    scenario.listener.backlog = 0;
    let mut simulator = Simulator::default();
    let mut last_syns = |spacing| {
        scenario.spacing = spacing;
        let outcome = simulator.run(&scenario);
        let dropped: Vec<&Path> = outcome.paths.iter().filter(|path| path.syns > 1).collect();
        let last = dropped.iter().map(|path| path.decisions[1].t_ns).collect::<Vec<_>>();
        assert!(last.len() > 2, "{last:?}");
        last.windows(2).map(|two| two[1] - two[0]).collect::<Vec<_>>()
    };
    assert!(last_syns(0).iter().all(|apart| *apart == 0), "timers of one bucket");
    // The last that was set goes first, see `TimerWheel::Bucketed`.
    assert!(last_syns(40 * US).iter().all(|apart| *apart == -40 * US));
}

#[test]
fn on_one_processor_no_application_runs_while_segments_are_worked_off() {
    let mut scenario = seed(Features::V6_5.above_backlog(), 1, 0);
    scenario.link.to_client = 0;
    scenario.application = Some(Application::AtPace(Pace::default()));
    scenario.spacing = 40 * US;
    assert_eq!(classes(&scenario), [A; 5], "it takes each one as it comes");
    let mut at_once = |hold| {
        let costs = Costs::even(40 * US);
        scenario.processor = Some(Processor { costs, hold, preempts: false, clients: false });
        classes(&scenario).iter().filter(|class| **class == A).count()
    };
    assert_eq!(at_once(1000 * US), 3, "as many as there is room for while segments come");
    assert_eq!(at_once(0), 5, "it is not kept waiting");
}
