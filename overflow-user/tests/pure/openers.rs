//! Who called `listen()`, as the owner of a socket that nobody could look up in time.

use overflow_common::{Kind, Opener, Path as Bits, RawEvent};
use overflow_core::{
    listeners::{Inventory, Listener},
    owner::{Cgroup, Owner, Process},
    recording::Frame,
};
use serde_json::Value;

use super::trace_replay::{SECOND, event, listener, record, replay, text};

const NETNS: u32 = 7;
/// The socket of [`listener`], and one that no look ever finds.
const SEEN: u32 = 99;
const BRIEF: u32 = 33;

/// A SYN that the full accept queue of this socket dropped.
fn drop_at(t_ns: u64, client: u16, ino: u32) -> Frame {
    let Frame::Event(event) = event(t_ns, client, Kind::Syn, Bits::CONN_REQUEST) else {
        panic!("it is no event")
    };
    Frame::Event(RawEvent { sk: u64::from(ino) << 12, ino, ..event })
}

/// Process 4711, whose name would colour the terminal, called `listen()` on this socket.
fn opened(ino: u32) -> Frame {
    let mut opener = Opener { pid: 4711, port: 80, family: 4, ..Opener::default() };
    opener.comm[..7].copy_from_slice(b"a\x1b[31mb");
    Frame::Opened(Box::new(Listener::opened((NETNS, ino), &opener, 80, None)))
}

/// A look that finds [`listener`] held by process 10, or by nobody.
fn look(held: bool) -> Frame {
    let process =
        Process { pid: 10, ppid: 1, comm: "nginx".into(), start: 1, cgroup: Cgroup::default() };
    let owner = held.then(|| Owner::new(vec![10], vec![process]));
    let mut inventory = Inventory::default();
    inventory.listeners.push(Listener { owner, ..listener() });
    Frame::Inventory(Box::new(inventory.indexed()))
}

fn lines(frames: Vec<Frame>, name: &str, options: &[&str]) -> Vec<Value> {
    let end = Frame::End(9 * SECOND);
    let recorded = record(name, &[frames, vec![end]].concat());
    let output = replay(&recorded.0, &[&["--output", "json"], options].concat());
    assert!(output.status.success(), "{output:?}");
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// (pid, whether it only called listen()) of each line of this kind; `None` without an owner.
fn owners(lines: &[Value], kind: &str) -> Vec<Option<(u64, bool)>> {
    let of = lines.iter().filter(|line| line["type"] == kind);
    of.map(|line| Some((line["owner"]["pid"].as_u64()?, line["owner"]["called_listen"] == true)))
        .collect()
}

#[test]
fn one_that_no_look_finds_is_of_who_called_listen() {
    let frames = vec![look(true), opened(BRIEF), drop_at(SECOND, 1, BRIEF), look(true)];
    let lines = lines(frames, "opened", &[]);
    assert_eq!(owners(&lines, "event"), [Some((4711, true))]);
    assert_eq!(owners(&lines, "connection"), [Some((4711, true))]);
    assert_eq!(owners(&lines, "listener"), [Some((4711, true))]);
    let event = lines.iter().find(|line| line["type"] == "event").unwrap();
    assert_eq!((&event["listener"], &event["inode"]), (&"0.0.0.0:80".into(), &BRIEF.into()));
    // As it is: JSON escapes it.
    assert_eq!(event["owner"]["comm"], "a\u{1b}[31mb");
}

#[test]
fn whoever_is_found_to_hold_it_is_its_owner_instead() {
    let frames = vec![
        look(false),
        drop_at(SECOND, 1, SEEN),
        opened(SEEN),
        drop_at(SECOND + 1, 2, SEEN),
        // Nobody seems to hold it, so what was known stays.
        look(false),
        drop_at(SECOND + 2, 3, SEEN),
        look(true),
        drop_at(SECOND + 3, 4, SEEN),
        // And never back again.
        opened(SEEN),
        drop_at(SECOND + 4, 5, SEEN),
    ];
    let lines = lines(frames, "replaced", &[]);
    let (opener, holder) = (Some((4711, true)), Some((10, false)));
    assert_eq!(owners(&lines, "event"), [None, opener, opener, holder, holder]);
    assert_eq!(owners(&lines, "listener"), [holder]);
}

#[test]
fn one_that_was_closed_before_a_look_is_of_who_held_it_all_the_same() {
    let frames = || {
        let gone = Frame::Inventory(Box::default());
        let frames = vec![look(true), gone.clone(), drop_at(SECOND, 1, SEEN), gone];
        [frames, vec![drop_at(SECOND + 1, 2, SEEN)]].concat()
    };
    let all = lines(frames(), "gone", &[]);
    let holder = Some((10, false));
    assert_eq!(owners(&all, "event"), [holder, holder]);
    assert_eq!(owners(&all, "listener"), [holder]);
    assert_eq!(owners(&lines(frames(), "gone-asked", &["-p", "10"]), "event"), [holder, holder]);
    assert_eq!(owners(&lines(frames(), "gone-others", &["-p", "11"]), "event"), []);
}

#[test]
fn a_process_that_is_asked_for_is_found_by_what_it_opened() {
    let frames = || vec![look(true), opened(BRIEF), drop_at(SECOND, 1, BRIEF)];
    let own = lines(frames(), "asked", &["-p", "4711"]);
    assert_eq!(owners(&own, "event"), [Some((4711, true))]);
    let others = lines(frames(), "not-asked", &["-p", "10"]);
    assert_eq!(owners(&others, "event"), []);
}

#[test]
fn in_text_it_is_marked_and_cannot_colour_the_terminal() {
    let frames = [look(true), opened(BRIEF), drop_at(SECOND, 1, BRIEF), Frame::End(9 * SECOND)];
    let recorded = record("opened-text", &frames);
    let shown = text(&replay(&recorded.0, &[]).stdout);
    let flat = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    let whole = "0.0.0.0:80, ~a\\u001b[31mb/4711, which called listen(); who held it is not known";
    assert!(flat.contains(whole), "{shown}");
    assert!(!shown.contains('\u{1b}'), "{shown}");
}
