//! The commands for a delay that `overflow server --help` prints, as they stand there: with them the outcome
//! of the experiment comes about between two hosts, and afterwards all is as it was.

use std::process::Command;

use crate::{
    OVERFLOW,
    harness::tests,
    hosts::{Host, SERVER, hosts},
    needs::Need::{Delays, Namespaces, Program, Tracing},
    two_hosts::{Serving, beliefs, handshakes, overflow},
};

tests! {
    needs [Tracing, Namespaces, Program("ip"), Delays]:
        the_printed_commands_delay_what_the_port_sends_and_leave_nothing;
}

/// The lines of the help that are commands, for an interface.
fn printed(dev: &str) -> Vec<String> {
    let output = Command::new(OVERFLOW).args(["server", "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let commands = help.lines().map(str::trim_start).filter(|line| line.starts_with("tc "));
    commands.map(|line| line.replace("DEV", dev)).collect()
}

/// Runs a command there; what it printed.
fn run(host: &Host, line: &str) -> String {
    let words: Vec<String> = line.split_whitespace().map(Into::into).collect();
    let run = move || Command::new(&words[0]).args(&words[1..]).output().unwrap();
    let output = host.run(run);
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn the_printed_commands_delay_what_the_port_sends_and_leave_nothing() {
    let (server, client) = hosts();
    server.sysctl("ipv4/tcp_syncookies", "1");
    let commands = printed("cable");
    let (undo, delay) = commands.split_last().expect("the help has commands");
    assert_eq!((delay.len(), undo.contains(" del ")), (3, true), "{commands:?}");
    let before = run(&server, "tc qdisc show dev cable");
    for line in delay {
        run(&server, line);
    }
    // It listens until the clients have said what they believe, however slow a machine is.
    let serving = Serving::start(&server, &format!("--bind {SERVER}"));
    let believed = beliefs(overflow(&client, &format!("client {SERVER} --hold 2s")));
    let traced = handshakes(&serving.finish(true));
    assert!(believed.values().all(|(state, _)| state == "ESTABLISHED"), "{believed:?}");
    let count = |wanted: &str| traced.values().filter(|(id, _)| id == wanted).count();
    let accepted = count("ack.accepted") + count("ack.accepted.cookie");
    // Without the delay the later SYNs are dropped. Where the burst takes longer than the delay, as in an
    // emulated machine, one of them may find room in the SYN queue again.
    let dropped = count("ack.drop.overflow.cookie") + count("ack.drop.overflow");
    assert_eq!((accepted, dropped), (2, 3), "{traced:?}");
    run(&server, undo);
    assert_eq!(run(&server, "tc qdisc show dev cable"), before);
}
