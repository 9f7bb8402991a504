//! Which of the processes that hold a listener could accept from it.

use super::{evidence::Evidence, task::Holder};

/// Those that could. Many hold a socket and never accept: a master for its workers, systemd for a
/// service.
pub(super) fn candidates(evidence: &Evidence) -> Vec<&Holder> {
    let holders = || evidence.holders.iter();
    let of =
        |wanted: &dyn Fn(&&Holder) -> bool| -> Vec<&Holder> { holders().filter(wanted).collect() };
    let seen = of(&|h| evidence.waited.iter().any(|waiter| waiter.pid == h.pid));
    if !seen.is_empty() {
        return seen;
    }
    // Workers inherit all sockets of a group, and each has its own in its epoll set.
    let polling = of(&|h| !h.polled.is_empty());
    if !polling.is_empty() {
        return polling;
    }
    let with = |h: &Holder| {
        let children = holders().filter(|child| child.ppid == h.pid).map(|child| kin(h, child));
        let parent = holders().find(|parent| parent.pid == h.ppid).map(|parent| kin(parent, h));
        (children.collect::<Vec<Kin>>(), parent)
    };
    let workers = of(&|h| {
        let (children, parent) = with(h);
        h.pid != 1 && !children.contains(&Kin::Worker) && parent != Some(Kin::Leak)
    });
    if workers.is_empty() { holders().collect() } else { workers }
}

/// What a child that holds its parent's listener is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kin {
    /// It was given the listener to accept from it.
    Worker,
    /// It runs something else, and has the listener only because that was open (no `O_CLOEXEC`).
    Leak,
}

fn kin(parent: &Holder, child: &Holder) -> Kin {
    let both = parent.program.zip(child.program);
    let other_program = both.is_some_and(|(parent, child)| parent != child);
    // Whoever hands a listener on to another program puts it where that looks for it: from 3 on
    // (sd_listen_fds(3)). What is merely left open stays where it was.
    let same_place = !child.sockets.is_empty() && parent.sockets == child.sockets;
    if other_program && same_place && parent.pid != 1 { Kin::Leak } else { Kin::Worker }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            sample::{evidence, holder},
            task::{Polled, Waiter},
        },
        *,
    };

    fn pids(evidence: &Evidence) -> Vec<u32> {
        candidates(evidence).iter().map(|h| h.pid).collect()
    }

    #[test]
    fn a_master_and_systemd_do_not_accept_for_their_workers() {
        let child = |pid, ppid| Holder { ppid, ..holder(pid) };
        let alone = evidence(vec![child(10, 1)]);
        assert_eq!(pids(&alone), [10]);
        let forked = evidence(vec![child(1, 0), child(10, 1), child(11, 10), child(12, 10)]);
        assert_eq!(pids(&forked), [11, 12]);
        assert_eq!(pids(&evidence(vec![child(1, 0)])), [1]);
    }

    #[test]
    fn a_helper_that_inherited_the_socket_does_not_accept() {
        let helper = |sockets| Holder { ppid: 10, program: Some((1, 99)), sockets, ..holder(11) };
        assert_eq!(pids(&evidence(vec![holder(10), helper(vec![3])])), [10]);
        // A manager that starts servers has it elsewhere.
        assert_eq!(pids(&evidence(vec![holder(10), helper(vec![4])])), [11]);
        let unknown = Holder { program: None, ..helper(vec![3]) };
        assert_eq!(pids(&evidence(vec![holder(10), unknown])), [11]);
    }

    #[test]
    fn whoever_has_it_in_an_epoll_set_could_accept() {
        let polls =
            |pid| Holder { ppid: 10, polled: vec![Polled { epoll: 4, events: 1 }], ..holder(pid) };
        let nginx = evidence(vec![holder(10), polls(11), Holder { ppid: 10, ..holder(12) }]);
        assert_eq!(pids(&nginx), [11]);
    }

    #[test]
    fn whoever_was_seen_to_wait_on_it_is_known() {
        let mut known = evidence(vec![holder(10), holder(11)]);
        let waiter = Waiter { pid: 11, tid: 15, comm: "accept".to_owned(), t_ns: 5 };
        known.waited = vec![waiter.clone()];
        assert_eq!(pids(&known), [11]);
        // Its process has ended; the others are what is left.
        known.waited = vec![Waiter { pid: 99, ..waiter }];
        assert_eq!(pids(&known), [10, 11]);
    }
}
