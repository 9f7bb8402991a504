//! `/proc/PID/stat`, as much of it as identifies a process. Pure.

use overflow_core::text::Untrusted;

/// What `stat` holds of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// Its name, at most 15 bytes; of a kernel thread 63 (`__get_task_comm` and
    /// `wq_worker_comm`).
    pub comm: Untrusted,
    /// Its parent.
    pub ppid: u32,
    /// When it started, clock ticks after boot: with the pid, an identity.
    pub start: u64,
}

/// Reads `pid (comm) state ppid … starttime …` (proc_pid_stat(5)); `comm` can hold anything,
/// parentheses too.
pub(crate) fn parse(text: &str) -> Option<Stat> {
    let (head, tail) = text.rsplit_once(')')?;
    let (_, comm) = head.split_once('(')?;
    let mut fields = tail.split_ascii_whitespace();
    let ppid = fields.nth(1)?.parse().ok()?;
    // starttime is the 22nd field of the line; ppid was the 4th.
    let start = fields.nth(17)?.parse().ok()?;
    Some(Stat { comm: comm.into(), ppid, start })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_hold_anything() {
        let line = "4711 (we) (b 1) S 17 4711 4711 0 -1 4194560 131 0 0 0 0 0 0 0 20 0 1 0 \
                    88123 5300224 230 18446744073709551615";
        let expected = Stat { comm: "we) (b 1".into(), ppid: 17, start: 88123 };
        assert_eq!(parse(line), Some(expected));
    }

    #[test]
    fn a_cut_line_is_no_process() {
        assert_eq!(parse(""), None);
        assert_eq!(parse("1 (init) S 0 1"), None);
    }
}
