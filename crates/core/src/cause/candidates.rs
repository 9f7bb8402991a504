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
    let parent = |h: &Holder| holders().any(|child| child.ppid == h.pid);
    let workers = of(&|h| h.pid != 1 && !parent(h));
    if workers.is_empty() { holders().collect() } else { workers }
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
