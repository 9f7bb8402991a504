//! Commands that texts tell people to run: in alerts, the dashboard, topics in both languages, READMEs. Each must
//! be one that is accepted; and what an alert says must agree with the topic that it sends its reader to.

use std::collections::BTreeSet;

use clap::{Parser as _, error::ErrorKind};
use overflow_core::{
    explain::{
        Lang,
        topics::{Labelled, Topic},
    },
    verdict::VerdictId,
};

use super::Cli;

const ALERTS: &str = include_str!("../../../deploy/prometheus-alerts.yaml");
const DASHBOARD: &str = include_str!("../../../deploy/grafana-dashboard.json");
const READMES: [&str; 2] =
    [include_str!("../../../README.md"), include_str!("../../../README.zh-CN.md")];

/// What stands for a value in a text, and a value.
const VALUES: &[(&str, &str)] = &[
    ("{{ $labels.cause }}", "cause.busy"),
    ("VERDICT", "syn.cookie"),
    ("TOPIC", "syn.cookie"),
    ("PORT", "80"),
    ("OUT.pcapng", "a"),
    ("FILE", "a"),
    ("SECS", "1"),
    ("URL", "http://localhost:4318"),
    ("ARGS", ""),
    ("COMMAND", "trace"),
    ("NAME", "centos7"),
];

/// The commands in code style that begin with `overflow`.
fn commands(text: &str) -> Vec<String> {
    let code = text.split('`').skip(1).step_by(2);
    let one_line = code.map(|code| code.split_whitespace().collect::<Vec<_>>().join(" "));
    one_line.filter(|code| code.starts_with("overflow ")).collect()
}

fn refused(command: &str) -> Option<String> {
    let mut line = command.replace(['[', ']'], "");
    for (name, value) in VALUES {
        line = line.replace(name, value);
    }
    let error = Cli::try_parse_from(line.split_whitespace()).err()?;
    // A text may name an option without its value, and a command without what it needs.
    let unfinished = error.kind() == ErrorKind::MissingRequiredArgument
        || error.to_string().contains("none was supplied");
    (error.use_stderr() && !unfinished).then(|| format!("{command}: {error}"))
}

fn text(topic: &Topic, lang: Lang) -> String {
    let paragraphs = topic.paragraphs(lang).map(|Labelled { text, .. }| text);
    std::iter::once(topic.title(lang)).chain(paragraphs).collect::<Vec<_>>().join("\n")
}

#[test]
fn commands_that_texts_name_are_accepted() {
    let mut texts: Vec<String> =
        [ALERTS, DASHBOARD].into_iter().chain(READMES).map(str::to_owned).collect();
    for topic in Topic::all() {
        texts.extend([Lang::En, Lang::Zh].map(|lang| text(topic, lang)));
    }
    let commands: BTreeSet<String> = texts.iter().flat_map(|text| commands(text)).collect();
    assert!(commands.len() > 30, "{commands:?}");
    let refused: Vec<String> = commands.iter().filter_map(|command| refused(command)).collect();
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[test]
fn topics_that_texts_name_exist() {
    let mut texts: Vec<String> = vec![ALERTS.to_owned(), DASHBOARD.to_owned()];
    for topic in Topic::all() {
        texts.extend([Lang::En, Lang::Zh].map(|lang| text(topic, lang)));
    }
    for command in texts.iter().flat_map(|text| commands(text)) {
        let Some(asked) = command.strip_prefix("overflow explain ") else { continue };
        let placeholder = VALUES.iter().any(|(name, _)| asked == *name);
        assert!(
            placeholder || asked.starts_with("--") || Topic::find(asked).is_some(),
            "{command}"
        );
    }
}

/// The blocks of alerts, by name.
fn alerts() -> Vec<(&'static str, &'static str)> {
    let blocks = ALERTS.split("- alert: ").skip(1);
    blocks.filter_map(|block| block.split_once('\n')).collect()
}

/// Names of the kernel and versions of it, in a text.
fn facts(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| c.is_whitespace() || "`(),;:\"".contains(c));
    let words = words.map(|word| word.trim_end_matches('.'));
    let fact = |word: &&str| {
        let version = word.split_once('.').is_some_and(|(major, minor)| {
            [major, minor].iter().all(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
        });
        version
            || word.starts_with("net.")
            || word.starts_with("TCPReqQ")
            || word.starts_with("Listen")
    };
    words.filter(fact).collect()
}

#[test]
fn what_an_alert_says_agrees_with_its_topic() {
    let mut compared = 0;
    for (alert, block) in alerts() {
        let (_, said) = block.split_once("annotations:").unwrap_or_else(|| panic!("{alert}"));
        let topics: Vec<&Topic> = commands(said)
            .iter()
            .filter_map(|command| Topic::find(command.strip_prefix("overflow explain ")?))
            .collect();
        let known: Vec<String> = topics
            .iter()
            .map(|topic| format!("{} {}", topic.name, text(topic, Lang::En)))
            .collect();
        // Alerts on the tracer itself have commands that say more, and no topic.
        if topics.is_empty() {
            continue;
        }
        compared += 1;
        for fact in facts(said) {
            let last = fact.rsplit('.').next().filter(|_| fact.starts_with("net.")).unwrap_or(fact);
            assert!(
                known.iter().any(|text| text.contains(last)),
                "{alert} says {fact}, and its topics do not"
            );
        }
    }
    assert!(compared >= 3, "{compared} alerts have a topic");
}

/// Each alert on a listener says where to read on, and its verdicts are those of the catalog.
#[test]
fn alerts_on_listeners_lead_on_and_name_verdicts_that_exist() {
    for (alert, block) in
        alerts().into_iter().filter(|(_, block)| block.contains("labels.listener"))
    {
        let filling = alert == "AcceptQueueFilling";
        assert!(filling || !commands(block).is_empty(), "{alert} names no command");
        let verdicts = block.split("verdict").skip(1).filter_map(|rest| rest.split('"').nth(1));
        for verdict in verdicts.flat_map(|alternatives| alternatives.split('|')) {
            let known = VerdictId::ALL.iter().any(|id| id.as_str() == verdict);
            assert!(known || verdict.contains("{{"), "{alert}: {verdict}");
        }
    }
}
