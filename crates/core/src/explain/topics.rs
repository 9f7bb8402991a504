//! The knowledge base: a topic per verdict id and per cause, and one per kernel feature that decides.
//!
//! Each topic is a markdown file per language: a heading, then paragraphs that begin with a label
//! in bold. The labels are the same, in the same order, in both languages.

use super::{Lang, names};
use crate::{
    cause::CauseId,
    model::features::{Features, SynQueueTest},
    verdict::{Text, VerdictId},
};

/// Something that can be explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topic {
    /// What it is asked for by: a verdict id, or a word for a kernel feature.
    pub name: &'static str,
    en: &'static str,
    zh: &'static str,
}

/// A paragraph of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Labelled {
    /// What it is about: `Kernel`, `Since`, `Counters`.
    pub label: &'static str,
    /// Its sentences, in markdown.
    pub text: &'static str,
}

macro_rules! topics {
    ($($name:literal,)+) => {
        &[$(Topic {
            name: $name,
            en: include_str!(concat!("topics/en/", $name, ".md")),
            zh: include_str!(concat!("topics/zh/", $name, ".md")),
        },)+]
    };
}

/// A topic per verdict id, in the order of a connection's life.
pub const VERDICTS: &[Topic] = &{
    let mut topics = [Topic { name: "", en: "", zh: "" }; VerdictId::ALL.len()];
    let mut i = 0;
    while i < topics.len() {
        let id = VerdictId::ALL[i];
        topics[i] = Topic::of(id.as_str(), id.topic());
        i += 1;
    }
    topics
};

/// A topic per cause, in the order in which they are named.
pub const CAUSES: &[Topic] = &{
    let mut topics = [Topic { name: "", en: "", zh: "" }; CauseId::ALL.len()];
    let mut i = 0;
    while i < topics.len() {
        let id = CauseId::ALL[i];
        topics[i] = Topic::of(id.as_str(), id.topic());
        i += 1;
    }
    topics
};

/// A topic per kernel feature.
pub const FEATURES: &[Topic] = topics![
    "abort-on-overflow",
    "accept-queue-limit",
    "syn-queue-limit",
    "max-qlen-log",
    "young-rule",
    "cookie-path",
    "cookie-window",
    "cookie-listen-drops",
    "per-netns-sysctls",
    "somaxconn",
    "last-quarter",
    "defer-accept",
    "synack-timer",
    "syn-linear-timeouts",
    "timer-wheel",
    "tail-loss-probe",
    "syn-recv-sock-argument",
    "drop-reasons",
    "reset-reasons",
    "counters",
];

/// A topic per symptom: what counters, sysctls, logs, errors and the columns of `ss` say, and what people take
/// them for.
pub const SYMPTOMS: &[Topic] = topics![
    "ListenOverflows",
    "ListenDrops",
    "TCPReqQFullDoCookies",
    "TCPReqQFullDrop",
    "SyncookiesSent",
    "EmbryonicRsts",
    "AttemptFails",
    "TCPBacklogDrop",
    "TCPSynRetrans",
    "tcp_max_syn_backlog",
    "tcp_syncookies",
    "tcp_synack_retries",
    "tcp_syn_retries",
    "netdev_max_backlog",
    "tcp_tw_recycle",
    "syn-flooding-log",
    "drop-open-request-log",
    "conntrack-table-full-log",
    "ECONNREFUSED",
    "ETIMEDOUT",
    "ECONNRESET",
    "EADDRNOTAVAIL",
    "EMFILE",
    "unix-EAGAIN",
    "Recv-Q",
    "SYN_RECV",
    "CLOSE_WAIT",
];

/// How alike names must be for one to be meant by the other, of 1.
const ALIKE: f64 = 0.8;

impl Topic {
    pub(crate) const fn of(name: &'static str, Text { en, zh }: Text) -> Self {
        Self { name, en, zh }
    }

    /// Every topic.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        VERDICTS.iter().chain(CAUSES).chain(FEATURES).chain(SYMPTOMS)
    }

    /// The topic of that name, or that goes by that name of the kernel's or of a tool's, or by something in
    /// a longer text: a line of a log, an error message.
    pub fn find(name: &str) -> Option<&'static Self> {
        let named = |name: &str| Self::all().find(|t| t.name == name);
        let own: Vec<_> = SYMPTOMS.iter().map(|topic| topic.name).collect();
        named(name)
            .or_else(|| named(&name.to_lowercase()))
            .or_else(|| named(names::topic(name, &own)?))
    }

    /// Topics whose names are nearest to one that is none, the nearest first.
    pub fn near(name: &str) -> Vec<&'static Self> {
        let lower = name.to_lowercase();
        let alike = |topic: &'static Self| {
            let alike = strsim::jaro_winkler(&topic.name.to_lowercase(), &lower);
            (alike > ALIKE).then_some((alike, topic))
        };
        let mut near: Vec<_> = Self::all().filter_map(alike).collect();
        near.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        near.into_iter().take(3).map(|(_, topic)| topic).collect()
    }

    /// Topics whose name begins with `prefix` at a dot, or contains it anywhere else.
    pub fn like(part: &str) -> Vec<&'static Self> {
        let part = &*part.to_lowercase();
        let under: Vec<_> = Self::all()
            .filter(|t| t.name.strip_prefix(part).is_some_and(|rest| rest.starts_with('.')))
            .collect();
        if !under.is_empty() {
            return under;
        }
        Self::all().filter(|t| t.name.to_lowercase().contains(part)).collect()
    }

    /// Its heading: one line.
    pub fn title(&self, lang: Lang) -> &'static str {
        let first = self.text(lang).lines().next().unwrap_or("");
        first.strip_prefix("# ").unwrap_or(first)
    }

    /// Its paragraphs.
    pub fn paragraphs(&self, lang: Lang) -> impl Iterator<Item = Labelled> + use<> {
        let rest = self.text(lang).split_once("\n\n").map_or("", |(_, rest)| rest);
        rest.split("\n\n").filter_map(|paragraph| {
            let (label, text) = paragraph.trim().strip_prefix("**")?.split_once("**")?;
            let label = label.trim_end_matches(['.', '。']);
            Some(Labelled { label, text: text.trim() })
        })
    }

    fn text(&self, lang: Lang) -> &'static str {
        lang.pick(self.en, self.zh)
    }
}

/// The topics of what sets one kernel apart from others, in the order of a connection's life.
pub fn of_features(features: &Features) -> Vec<&'static str> {
    // Every field, so that a new one is not forgotten.
    let Features {
        syn_queue,
        young_rule,
        synack_timer: _,
        cookie_window: _,
        cookie_counts_listen_drop,
        somaxconn: _,
        timer_wheel: _,
        syn_linear_timeouts,
        tail_loss_probe: _,
    } = *features;
    let mut names = vec!["syn-queue-limit"];
    let mut when = |is: bool, name| {
        if is {
            names.push(name);
        }
    };
    when(syn_queue == SynQueueTest::MaxQlenLog, "max-qlen-log");
    when(young_rule, "young-rule");
    when(cookie_counts_listen_drop, "cookie-listen-drops");
    when(true, "cookie-path");
    when(true, "cookie-window");
    when(true, "synack-timer");
    when(true, "somaxconn");
    when(true, "timer-wheel");
    when(true, "tail-loss-probe");
    when(syn_linear_timeouts > 0, "syn-linear-timeouts");
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: [(&str, &str); 14] = [
        ("What it is", "含义"),
        ("Evidence", "证据"),
        ("Not to be taken for", "不要与之混淆"),
        ("Kernel", "内核"),
        ("Not decided by it", "不由它决定的"),
        ("Since", "起始版本"),
        ("Why", "缘由"),
        ("Client and server", "客户端与服务器"),
        ("Counters", "计数器"),
        ("What to do", "处理"),
        ("What it is not", "不表示什么"),
        ("Folklore", "流传的误解"),
        ("To learn more", "进一步查看"),
        ("Source", "源码"),
    ];
    const NEEDED: [&str; 6] =
        ["Kernel", "Since", "Client and server", "Counters", "What to do", "Source"];
    const NEEDED_OF_CAUSES: [&str; 5] =
        ["What it is", "Evidence", "Not to be taken for", "What to do", "Source"];
    const NEEDED_OF_SYMPTOMS: [&str; 5] =
        ["What it is", "What it is not", "Folklore", "To learn more", "Source"];

    #[test]
    fn every_feature_has_a_topic() {
        for features in [Features::EL7, Features::V4_4, Features::V6_5.above_backlog()] {
            for name in of_features(&features) {
                assert!(FEATURES.iter().any(|t| t.name == name), "{name}");
            }
        }
    }

    #[test]
    fn both_languages_say_the_same_things_in_the_same_order() {
        for topic in Topic::all() {
            let labels = |lang| -> Vec<_> { topic.paragraphs(lang).map(|p| p.label).collect() };
            let (en, zh) = (labels(Lang::En), labels(Lang::Zh));
            let translated: Vec<&str> = en
                .iter()
                .map(|label| LABELS.iter().find(|(e, _)| e == label).map_or(*label, |(_, z)| z))
                .collect();
            assert_eq!(translated, zh, "{}", topic.name);
            let of_a_cause = CauseId::parse(topic.name).is_some();
            let of_a_symptom = SYMPTOMS.contains(topic);
            let needed = match (of_a_cause, of_a_symptom) {
                (true, _) => &NEEDED_OF_CAUSES[..],
                (_, true) => &NEEDED_OF_SYMPTOMS,
                _ => &NEEDED,
            };
            for label in needed {
                assert!(en.contains(label), "{} lacks {label}", topic.name);
            }
        }
    }

    #[test]
    fn translations_name_the_same_code_commits_and_versions() {
        for topic in Topic::all() {
            for (en, zh) in topic.paragraphs(Lang::En).zip(topic.paragraphs(Lang::Zh)) {
                let facts = |text: &'static str| {
                    let mut facts: Vec<_> = facts(text).collect();
                    facts.sort_unstable();
                    facts.dedup();
                    facts
                };
                assert_eq!(facts(en.text), facts(zh.text), "{}: {}", topic.name, en.label);
            }
        }
    }

    /// Names in code style, and commit ids.
    fn facts(text: &'static str) -> impl Iterator<Item = &'static str> {
        let code = text.split('`').skip(1).step_by(2);
        let hex = |w: &&str| w.len() == 12 && w.bytes().all(|b| b.is_ascii_hexdigit());
        let commits = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(hex);
        code.chain(commits)
    }

    #[test]
    fn a_near_miss_suggests() {
        let near = |name| Topic::near(name).iter().map(|t| t.name).collect::<Vec<_>>();
        assert_eq!(near("syn.coockie").first(), Some(&"syn.cookie"));
        assert_eq!(near("young_rule").first(), Some(&"young-rule"));
        assert_eq!(near("listenoverflow").first(), Some(&"ListenOverflows"));
        assert_eq!(near("ECONREFUSED").first(), Some(&"ECONNREFUSED"));
        assert_eq!(near("zzz"), [""; 0]);
    }

    #[test]
    fn a_part_of_a_name_finds_its_family() {
        let names = |part| -> Vec<_> { Topic::like(part).iter().map(|t| t.name).collect() };
        assert!(names("syn.drop").iter().all(|n| n.starts_with("syn.drop.")));
        assert!(names("cookie").contains(&"cookie-path"));
        assert_eq!(names("beos"), [""; 0]);
        assert_eq!(Topic::find("syn.cookie").unwrap().name, "syn.cookie");
    }
}
