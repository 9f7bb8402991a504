//! docs/why-distributions-differ.md and its translation: prose around what the model answers.

use std::fmt::Write as _;

use super::Lang;
use crate::model::{
    condition::Condition,
    config::{Limits, Listener, Sysctls},
    features::Features,
    kernels,
    path::{ClassKind, Path},
    scenario::{Burst, Scenario},
    simulate::Simulator,
    time::{MS, SEC},
};

/// A row of the table: the model's name of a kernel, and how people know it.
struct Row {
    kernel: &'static str,
    en: &'static str,
    zh: &'static str,
    /// Run, not only modelled: the scenarios of this name are in the tests' data.
    measured: bool,
}

const ROWS: &[Row] = &[
    row("el7-3.10.0-1160", "CentOS / RHEL 7, 3.10.0-1160", "CentOS / RHEL 7，3.10.0-1160", true),
    row("van4.4.155", "Linux 4.4.155", "Linux 4.4.155", true),
    row("4.4.0-148-generic", "Ubuntu 16.04 up to 4.4.0-148", "Ubuntu 16.04，至 4.4.0-148", false),
    row("4.4.0-149-generic", "Ubuntu 16.04 since 4.4.0-149", "Ubuntu 16.04，自 4.4.0-149", false),
    row("4.15.0-213-generic", "Ubuntu 18.04, 4.15", "Ubuntu 18.04，4.15", false),
    row("el8-4.18.0-147", "CentOS / RHEL 8, 4.18.0-147", "CentOS / RHEL 8，4.18.0-147", true),
    row("van5.4.273", "Linux 5.4.273", "Linux 5.4.273", true),
    row("5.4.0-209-generic", "Ubuntu 20.04 up to 5.4.0-209", "Ubuntu 20.04，至 5.4.0-209", false),
    row("5.4.0-210-generic", "Ubuntu 20.04 since 5.4.0-210", "Ubuntu 20.04，自 5.4.0-210", false),
    row("deb5.10", "Debian 11, 5.10.223", "Debian 11，5.10.223", true),
    row("5.10.234", "Debian 11 since 5.10.234", "Debian 11，自 5.10.234", false),
    row(
        "5.15.0-134-generic",
        "Ubuntu 22.04 up to 5.15.0-134",
        "Ubuntu 22.04，至 5.15.0-134",
        false,
    ),
    row(
        "5.15.0-135-generic",
        "Ubuntu 22.04 since 5.15.0-135",
        "Ubuntu 22.04，自 5.15.0-135",
        false,
    ),
    row("deb6.1", "Debian 12, 6.1.176", "Debian 12，6.1.176", true),
    row("6.8.0-59-generic", "Ubuntu 24.04 up to 6.8.0-59", "Ubuntu 24.04，至 6.8.0-59", false),
    row("6.8.0-60-generic", "Ubuntu 24.04 since 6.8.0-60", "Ubuntu 24.04，自 6.8.0-60", false),
    row("deb6.12", "Debian 13, 6.12.107", "Debian 13，6.12.107", true),
    row("deb6.18", "Linux 6.18.15", "Linux 6.18.15", true),
    row("deb7.3", "Linux 7.3.4", "Linux 7.3.4", true),
];

const fn row(kernel: &'static str, en: &'static str, zh: &'static str, measured: bool) -> Row {
    Row { kernel, en, zh, measured }
}

/// The cells of the seed experiment, `(tcp_syncookies, tcp_abort_on_overflow)`.
pub const CELLS: [(u8, u8); 4] = [(1, 0), (1, 1), (0, 0), (0, 1)];

/// The page's file below docs/.
pub const fn file_name(lang: Lang) -> &'static str {
    match lang {
        Lang::En => "why-distributions-differ.md",
        Lang::Zh => "why-distributions-differ.zh-CN.md",
    }
}

/// The whole page.
pub fn page(lang: Lang) -> String {
    let template = match lang {
        Lang::En => include_str!("docs/en.md"),
        Lang::Zh => include_str!("docs/zh.md"),
    };
    template.replace("{{table}}", &table(lang)).replace("{{tests}}", &tests(lang))
}

/// Kernels of the table whose outcome was measured, by the names of the measurements.
pub fn measured() -> impl Iterator<Item = &'static str> {
    ROWS.iter().filter(|r| r.measured).map(|r| r.kernel)
}

/// What the model makes of the seed experiment on a kernel, a letter per connection: A accepted,
/// R reset, D dropped and retried, C dropped on a cookie, S no SYN-ACK; `*` where only a SYN sent
/// again was answered.
///
/// # Panics
///
/// If the model does not know the kernel.
pub fn letters(kernel: &str, syncookies: u8, abort_on_overflow: u8) -> String {
    let features = features(kernel);
    let sysctls = Sysctls { syncookies, abort_on_overflow, ..Sysctls::default() };
    let burst = Burst { prefill: 0, clients: 5, delay: 200 * MS, payload: 0 };
    let scenario = Scenario::burst(features, LISTENER, sysctls, burst, 8 * SEC);
    let mut simulator = Simulator::default();
    let paths = simulator.run(&scenario).paths;
    paths.iter().map(letter).collect::<Vec<_>>().join(" ")
}

const LISTENER: Listener = Listener { backlog: 1, defer_accept_secs: 0 };

fn features(kernel: &str) -> Features {
    kernels::by_name(kernel).unwrap_or_else(|e| panic!("{e}")).features
}

fn letter(path: &Path) -> String {
    let class = path.class();
    let letter = match class.kind {
        ClassKind::Accepted => "A",
        ClassKind::RstOnAck | ClassKind::RstOnData => "R",
        ClassKind::AckDroppedRexmit => "D",
        ClassKind::AckDroppedCookie => "C",
        ClassKind::SynDropped => "S",
    };
    let late = if class.syn_rexmit { "*" } else { "" };
    format!("{letter}{late}")
}

fn table(lang: Lang) -> String {
    let (en, zh) = (
        "| kernel | rule | requests kept | syncookies=1, abort=0 | syncookies=1, **abort=1** | \
         syncookies=0, abort=0 | syncookies=0, abort=1 | |",
        "| 内核 | 规则 | 保存的 request | syncookies=1，abort=0 | syncookies=1，**abort=1** | \
         syncookies=0，abort=0 | syncookies=0，abort=1 | |",
    );
    let mut table = format!("{}\n|---|---|---|---|---|---|---|---|\n", lang.pick(en, zh));
    for row in ROWS {
        let features = features(row.kernel);
        let limits = Limits::new(&features, LISTENER, &Sysctls::default());
        let requests = limits.syn_queue_full_at(features.syn_queue).min(5);
        let cells = CELLS.map(|(syncookies, abort)| letters(row.kernel, syncookies, abort));
        let cells: Vec<String> = cells.iter().map(|c| format!("`{c}`")).collect();
        let how = if row.measured {
            lang.pick("measured", "实测")
        } else {
            lang.pick("model", "模型")
        };
        let name = lang.pick(row.en, row.zh);
        let regime = features.regime();
        let cells = cells.join(" | ");
        let _ = writeln!(table, "| {name} | {regime} | {requests} | {cells} | {how} |");
    }
    table.trim_end().to_owned()
}

/// The SYN queue tests in the kernel's words.
fn tests(lang: Lang) -> String {
    let rules = [
        ("A", Features::EL7, "RHEL/CentOS 7 (3.10)", "RHEL/CentOS 7（3.10）"),
        (
            "A'",
            Features::V4_4,
            "4.4 (ef547f2ac16b), with the young rule",
            "4.4（ef547f2ac16b），带 young 规则",
        ),
        ("B", Features::V4_15, "4.10 (5ea8ea2cb7f1) and later", "4.10（5ea8ea2cb7f1）及以后"),
        (
            "C",
            Features::V6_5.above_backlog(),
            "6.13 and stable kernels of early 2025 (3479c7549fb1)",
            "6.13 及 2025 年初的 stable 内核（3479c7549fb1）",
        ),
    ];
    let mut text = String::from(lang.pick(
        "| rule | since | the SYN queue is full if |\n|---|---|---|\n",
        "| 规则 | 起始版本 | 半连接队列满的条件 |\n|---|---|---|\n",
    ));
    for (name, features, en, zh) in rules {
        debug_assert_eq!(features.regime(), name);
        let test = Condition::SynQueue { test: features.syn_queue, qlen: 0, limit: 0 };
        let since = lang.pick(en, zh);
        let _ = writeln!(text, "| {name} | {since} | `{}` |", test.expression());
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_the_seed_question_stands_in_the_table() {
        let english = page(Lang::En);
        for line in [
            "| CentOS / RHEL 7, 3.10.0-1160 | A | 5 | `A A D D D` | `A A R R R` |",
            "| Ubuntu 18.04, 4.15 | B | 1 | `A A C C C` | `A A C C C` |",
            "| Debian 13, 6.12.107 | C | 2 | `A A C C C` | `A A C C C` |",
        ] {
            assert!(english.contains(line), "{line} is not in\n{english}");
        }
        for lang in [Lang::En, Lang::Zh] {
            assert!(!page(lang).contains("{{t"), "a placeholder is left");
        }
    }
}
