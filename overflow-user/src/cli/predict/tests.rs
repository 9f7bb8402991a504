//! What the options of `overflow predict` resolve to, and what it refuses.

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: PredictArgs,
}

fn printed(line: &str) -> String {
    let words = std::iter::once("predict").chain(line.split_whitespace());
    let args = Command::try_parse_from(words).unwrap_or_else(|e| panic!("{e}")).args;
    let mut out = Vec::new();
    predict(&args, &mut out, &mut None).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn text_shows_the_deciding_condition_in_80_columns() {
    for kernel in ["centos7", "4.4.100", "5.10.223", "6.12.107", "5.10"] {
        for rest in ["", "--payload 5 --prefill 1", "--backlog 70000 --somaxconn 66000 --prefill 3"]
        {
            let text = printed(&format!("--kernel {kernel} {rest}"));
            for line in text.lines() {
                assert!(line.chars().count() <= 80, "{} columns: {line}", line.len());
            }
        }
    }
    let text = printed("--kernel 5.10.234 --abort-on-overflow 1 --syncookies 1");
    assert!(text.contains("reqsk_queue_len 2 > sk_max_ack_backlog 1"), "{text}");
    assert!(text.contains("client 3 to 5: ACK_DROPPED_COOKIE"), "{text}");
}

#[test]
fn json_has_a_line_per_connection_and_one_per_cell() {
    let text = printed("--kernel centos7 --abort-on-overflow 1 --syncookies 1 --output json");
    let lines: Vec<serde_json::Value> =
        text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.len(), 6);
    assert_eq!(lines[4]["stages"][1]["id"], "ack.reset.overflow");
    assert_eq!(lines[4]["client_view"], "CLOSE");
    assert_eq!(lines[5]["type"], "prediction_summary");
    assert_eq!(lines[5]["counters"]["EmbryonicRsts"], 3);
}

#[test]
fn comparing_names_the_first_condition_that_differs() {
    let text = printed("--compare centos7,ubuntu18.04 --abort-on-overflow 1 --syncookies 1");
    assert!(text.contains("client 2 is the first"), "{text}");
    assert!(text.contains("qlen 1 >> max_qlen_log 4 = 0"), "{text}");
    assert!(text.contains("reqsk_queue_len 1 >= sk_max_ack_backlog 1"), "{text}");
    let same = printed("--compare 5.10.223,5.4.289 --abort-on-overflow 1 --syncookies 1");
    assert!(same.contains("both do the same"), "{same}");
}

#[test]
fn a_kernel_that_nobody_read_gets_both_answers() {
    let cell = "--abort-on-overflow 1 --syncookies 1";
    let text = printed(&format!("--kernel 5.15.0-1051-aws {cell}"));
    for part in ["1051-aws (rule B)", "1051-aws (rule C)", "it is not known which patches Ubuntu"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(text.matches("question").count(), 1);
    let json = printed(&format!("--kernel rocky9 {cell} --output json"));
    let lines: Vec<serde_json::Value> =
        json.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let rules = |rule: &str| lines.iter().filter(|line| line["regime"] == rule).count();
    assert_eq!((rules("B"), rules("C"), lines.len()), (6, 6, 12));
    let compared = printed(&format!("--compare centos7,rhel9 {cell}"));
    assert!(compared.contains("rhel9 (rule B)\n") && compared.contains("rhel9 (rule C)\n"));
}

#[test]
fn a_large_burst_is_told_by_class() {
    let text = printed("--kernel 6.12.107 --backlog 128 --prefill 128 --clients 200");
    assert!(text.lines().count() < 200, "{} lines", text.lines().count());
    assert!(text.contains("200 clients, each of its own fate"), "{text}");
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn what_is_known_is_listed_in_80_columns() {
    let text = printed("--list-kernels");
    for part in ["centos7", "rocky9", "5.10", "C since 5.10.234", "C since ABI 135"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn the_last_quarter_of_the_syn_backlog_can_be_asked_for() {
    let asked = "--kernel 6.12.107 --backlog 100 --clients 20 --syncookies 0 --abort-on-overflow 0";
    let text = printed(&format!("{asked} --max-syn-backlog 8"));
    assert!(text.contains("syn.drop.other"), "{text}");
    assert!(!printed(asked).contains("syn.drop.other"));
}
