//! `overflow top` in a terminal, on the running kernel: a listener that nobody accepts from, in a
//! namespace of its own. The screen must show it with the kernel's own count, keys must work, and
//! the terminal must be given back however the view ends.

mod terminal;

use std::{process::Command, thread, time::Duration};

use rustix::process::Signal;

use self::terminal::Terminal;
use crate::{
    OVERFLOW,
    harness::tests,
    listener::{Bound, counter},
    namespace::{in_namespace, netns},
    needs::Need::{Namespaces, Program, Tracing},
};

tests! {
    needs [Tracing, Namespaces, Program("ip"), Program("setsid")]:
        the_screen_shows_the_listener_and_keys_work,
        signals_give_the_terminal_back,
        it_can_be_suspended_and_comes_back,
        it_ends_when_its_terminal_goes_away;
    needs []: without_a_terminal_it_says_what_to_do;
}

const SIZE: (u16, u16) = (24, 80);

/// Runs in a network namespace of its own, with its inode number.
fn inside(test: impl FnOnce(u64) + Send + 'static) {
    in_namespace(|| test(netns()));
}

/// Starts the view of a namespace.
fn start(netns: u64, env: &[(&str, &str)]) -> Terminal {
    let mut top = Terminal::start(&[OVERFLOW, "top", "--netns", &netns.to_string()], env, SIZE);
    top.wait("the view", |text| text.contains("LISTENER"));
    top
}

fn the_screen_shows_the_listener_and_keys_work() {
    inside(|netns| {
        let mut top = start(netns, &[]);
        let (listener, _clients) = Bound::new().overflow(5);
        let place = listener.local_addr().unwrap().to_string();
        let overflows = counter("ListenOverflows");
        assert!(overflows >= 3, "{overflows}");
        let line = |text: &str| {
            let line = text.lines().find(|l| l.contains(&format!(">{place}")));
            line.map(|l| l.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        };
        let dropped = overflows.to_string();
        // LISTENER OWNER Recv-Q MAX OVF /s RST COOK SYN FULL QUEUE
        let counted = |text: &str| line(text).is_some_and(|l| l[4] == dropped && l[8] == dropped);
        let text = top.wait("the overflows", counted);
        let columns = line(&text).unwrap();
        assert!(columns[1].ends_with(&format!("/{}", std::process::id())), "{text}");
        assert_eq!((columns[2].as_str(), columns[3].as_str()), ("2/1", "2"), "{text}");
        assert!(columns.last().unwrap().contains('█'), "{text}");
        assert!(text.contains("1 listener, 1 full"), "{text}");
        assert!(text.contains(&format!("Recv-Q of {place}")), "{text}");
        let shown = text.lines().filter(|l| l.contains("syn.drop.accept_queue_full"));
        // Where something longer stood before, there are spaces now.
        assert!(shown.clone().all(|l| l.trim_end().ends_with("2/1")), "{text}");
        assert_eq!(shown.count() as u64, overflows, "{text}");
        // Text and attributes of one moment: a line above ("lost: ...") may come at any time.
        top.wait_for("the marked line", |screen| {
            let mut rows = (0..SIZE.0).zip(screen.rows(0, SIZE.1));
            let row = rows.find(|(_, text)| text.contains(&format!(">{place}")));
            row.is_some_and(|(y, _)| screen.cell(y, 1).unwrap().inverse())
        });

        top.keys("\r");
        let text = top.wait("details", |t| t.contains("when full"));
        assert!(text.contains("tcp_abort_on_overflow 0") || text.contains("somaxconn"), "{text}");
        assert!(text.contains("Recv-Q 2/1"), "{text}");
        top.keys("\x1b");
        top.wait("the table", |t| t.contains("LISTENER"));
        top.keys(">");
        top.wait("another order", |t| t.contains("sort:/s"));
        top.keys("?");
        top.wait("help", |t| t.contains("hold the screen still"));
        top.keys("?");
        top.wait("the table again", |t| t.contains("sort:/s"));
        top.resize(12, 40);
        top.wait("a smaller screen", |t| {
            // What was lost, if anything was, stands above it.
            let heading = t.lines().find(|line| line.contains("LISTENER")).unwrap_or_default();
            heading.contains("Recv-Q") && !heading.contains("FULL")
        });
        assert!(top.ended().is_none());

        top.resize(24, 80);
        // A key that comes together with the signal of a new size waits for the next key.
        top.wait("the larger screen", |t| t.contains("FULL") && t.contains("sort:/s"));
        top.keys("q");
        assert!(top.end().success());
        top.assert_restored();
        let text = top.text();
        assert!(text.contains(&format!("ListenOverflows {overflows}, Recv-Q 2/1")), "{text}");
        assert!(text.contains("syn.drop.accept_queue_full"), "{text}");
    });
}

fn signals_give_the_terminal_back() {
    inside(|netns| {
        for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
            let mut top = start(netns, &[("NO_COLOR", "1")]);
            assert!(top.screen(vt100::Screen::alternate_screen));
            let plain = top.screen(|s| {
                let mut cells = (0..24).flat_map(|y| (0..80).filter_map(move |x| s.cell(y, x)));
                cells.all(|cell| cell.fgcolor() == vt100::Color::Default)
            });
            assert!(plain, "NO_COLOR is respected");
            top.signal(signal);
            assert!(top.end().success(), "{}", top.text());
            top.assert_restored();
            assert!(top.text().contains("Nothing to report in"), "{}", top.text());
        }
    });
}

fn it_can_be_suspended_and_comes_back() {
    inside(|netns| {
        let mut top = start(netns, &[]);
        for by_key in [true, false] {
            if by_key {
                top.keys("\x1a");
            } else {
                top.signal(Signal::TSTP);
            }
            top.wait("the other screen", |t| !t.contains("LISTENER"));
            while top.state() != 'T' {
                thread::sleep(Duration::from_millis(10));
            }
            top.assert_restored();
            top.signal(Signal::CONT);
            top.wait("the view again", |t| t.contains("LISTENER"));
        }
        top.keys("\x03");
        assert!(top.end().success());
        top.assert_restored();
    });
}

fn it_ends_when_its_terminal_goes_away() {
    inside(|netns| {
        let top = start(netns, &[]);
        assert!(top.hang_up().is_some(), "it goes on without a terminal");
    });
}

fn without_a_terminal_it_says_what_to_do() {
    let output = Command::new(OVERFLOW).arg("top").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.contains("needs a terminal") && error.contains("trace --summary 1"), "{error}");
}
