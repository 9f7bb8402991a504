//! Processes, threads and numbers in the words of a cause's evidence.

use super::task::{Call, Holder, On, Reading, Thread};
use crate::text::untrusted::escape;

/// Functions of a kernel stack that are named; the rest tells nobody more.
const FRAMES: usize = 5;

/// Characters of a name from outside that are shown.
const LONGEST: usize = 200;

/// The beginning of a name from outside, as it may be shown.
pub(super) fn escaped(name: &str) -> String {
    let end = name.char_indices().nth(LONGEST).map_or(name.len(), |(end, _)| end);
    escape(&name[..end]).into_owned()
}

/// `nginx/1234`.
pub(super) fn process(holder: &Holder) -> String {
    format!("{}/{}", escaped(&holder.comm), holder.pid)
}

/// `nginx/1234`, and of a thread that is not the main one `thread worker/1240 of nginx/1234`.
pub(super) fn thread(thread: &Thread, holder: &Holder) -> String {
    if thread.tid == holder.pid {
        process(holder)
    } else {
        format!("thread {}/{} of {}", escaped(&thread.comm), thread.tid, process(holder))
    }
}

/// Where a thread sleeps: `futex(), at futex_wait_queue`.
pub(super) fn place(reading: &Reading) -> String {
    let wchan = (!matches!(reading.wchan.as_str(), "" | "0")).then_some(reading.wchan.as_str());
    match (&reading.call, wchan) {
        (Some(call), Some(wchan)) => format!("{}, at {wchan}", called(call)),
        (Some(call), None) => called(call),
        (None, Some(wchan)) => format!("the kernel, at {wchan}"),
        (None, None) => "a call that may not be read".to_owned(),
    }
}

fn called(call: &Call) -> String {
    match &call.on {
        On::File(fd, what) if what.is_empty() => format!("{}({fd})", call.name),
        On::File(fd, what) => format!("{}({fd}) on {}", call.name, escaped(what)),
        On::Listener | On::Epoll(_) | On::Futex(..) | On::Unknown => format!("{}()", call.name),
    }
}

/// The kernel stack of a thread, the innermost function first.
pub(super) fn stack(thread: &Thread) -> String {
    let shown: Vec<&str> = thread.stack.iter().take(FRAMES).map(String::as_str).collect();
    shown.join(" < ")
}

/// Bytes in a unit that people read: `512 MiB`.
pub(super) fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut whole = n;
    while whole >= 10 * 1024 && unit + 1 < UNITS.len() {
        whole /= 1024;
        unit += 1;
    }
    format!("{whole} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::{
        super::sample::{holder, in_call, sleeping},
        *,
    };

    #[test]
    fn a_thread_is_named_with_its_process() {
        let (main, other) = (sleeping(10, "read"), sleeping(12, "read"));
        assert_eq!(thread(&main, &holder(10)), "app/10");
        assert_eq!(thread(&other, &holder(10)), "thread app/12 of app/10");
    }

    #[test]
    fn a_place_is_as_exact_as_what_could_be_read() {
        let mut at = in_call(10, "recvfrom", On::File(7, "socket:[9]".to_owned())).second;
        assert_eq!(place(&at), "recvfrom(7) on socket:[9]");
        at.wchan = "wait_woken".to_owned();
        assert_eq!(place(&at), "recvfrom(7) on socket:[9], at wait_woken");
        at.call = None;
        assert_eq!(place(&at), "the kernel, at wait_woken");
        at.wchan = "0".to_owned();
        assert_eq!(place(&at), "a call that may not be read");
    }

    #[test]
    fn a_name_cannot_write_on_the_terminal() {
        let hostile = Holder { comm: "a\u{1b}[2J\n\u{202e}b".to_owned(), ..holder(10) };
        assert_eq!(process(&hostile), "a\\u001b[2J\\u000a\\u202eb/10");
        assert_eq!(escaped(&"x".repeat(5000)).len(), LONGEST);
    }

    #[test]
    fn bytes_have_two_digits_at_least() {
        assert_eq!(bytes(5000), "5000 B");
        assert_eq!(bytes(512 << 20), "512 MiB");
        assert_eq!(bytes(9 << 30), "9216 MiB");
        assert_eq!(bytes(10 << 30), "10 GiB");
    }
}
