//! `--report`: the file of a page, and what it costs what is printed. No kernel, no root.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{self, Command, Output},
};

use crate::trace_replay::{Recorded, frames, record, replay, text};

/// A file that is not there yet, and is gone when the test ends.
fn page(name: &str) -> Recorded {
    Recorded(env::temp_dir().join(format!("overflow-report-{}-{name}.html", process::id())))
}

fn overflow(args: &[&str], page: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_overflow"));
    command.args(args).arg("--report").arg(page).output().unwrap()
}

fn is_page(path: &Path, words: &str) {
    let page = fs::read_to_string(path).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>"), "{page}");
    assert!(page.contains(words), "{words}: {page}");
}

#[test]
fn a_replay_prints_the_same_and_writes_a_page_for_its_owner() {
    let (recording, page) = (record("report", &frames()), page("replay"));
    let alone = replay(&recording.0, &[]);
    let both = overflow(&["replay", recording.0.to_str().unwrap()], &page.0);
    assert_eq!((text(&both.stdout), both.status), (text(&alone.stdout), alone.status));
    is_page(&page.0, "ack.drop.overflow");
    assert_eq!(fs::metadata(&page.0).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_page_replaces_a_file_only_if_that_is_asked_for() {
    let (recording, page) = (record("report-old", &frames()), page("old"));
    fs::write(&page.0, "precious").unwrap();
    let file = recording.0.to_str().unwrap();
    let refused = overflow(&["replay", file], &page.0);
    assert_eq!((refused.status.code(), text(&refused.stdout)), (Some(1), String::new()));
    let why = text(&refused.stderr);
    assert!(why.contains("cannot write the page to") && why.contains("--overwrite"), "{why}");
    assert_eq!(fs::read_to_string(&page.0).unwrap(), "precious");
    assert!(overflow(&["replay", file, "--overwrite"], &page.0).status.success());
    is_page(&page.0, "ack.drop.overflow");
}

#[test]
fn a_page_that_cannot_be_written_is_said_before_anything_runs() {
    let nowhere = PathBuf::from("/nonexistent/page.html");
    for args in [&["predict", "--kernel", "centos7"][..], &["lab"]] {
        let refused = overflow(args, &nowhere);
        assert_eq!((refused.status.code(), text(&refused.stdout)), (Some(1), String::new()));
        let why = text(&refused.stderr);
        assert_eq!(why.lines().count(), 1, "{why}");
        assert!(why.contains("cannot write the page to /nonexistent/page.html: No such"), "{why}");
    }
}

#[test]
fn the_model_and_captures_have_pages_too() {
    let predicted = page("predict");
    assert!(overflow(&["predict", "--kernel", "centos7"], &predicted.0).status.success());
    is_page(&predicted.0, "12 of 20 clients would be hurt");
    let compared = page("compare");
    assert!(overflow(&["predict", "--compare", "centos7,6.12.107"], &compared.0).status.success());
    is_page(&compared.0, "centos7 and 6.12.107 part in 4 of 4 cells");
    let (captured, capture) = (page("pcap"), page("capture"));
    let packed = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/core/tests/data/captures/");
    let packed = fs::File::open(format!("{packed}lab-6.12.pcapng.gz")).unwrap();
    let mut out = fs::File::create(&capture.0).unwrap();
    std::io::copy(&mut flate2::read::GzDecoder::new(packed), &mut out).unwrap();
    assert!(overflow(&["pcap", capture.0.to_str().unwrap()], &captured.0).status.success());
    is_page(&captured.0, "answered by RST, request removed");
}
