//! The catalog of causes: a row each, the one to look at first before those that only add to it.
//!
//! The ids are a contract, as those of verdicts are: an id is never reused and never changes its
//! meaning. Heading and advice stand in the topic that `overflow explain` shows.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    explain::{Lang, topics::Topic},
    table_enum::table_enum,
    verdict::Text,
};

/// What is known of a cause without evidence.
#[derive(Debug)]
struct Row {
    name: &'static str,
    short: Text,
    topic: Text,
}

macro_rules! cause {
    ($name:literal, $en:literal, $zh:literal) => {
        Row {
            name: $name,
            short: Text { en: $en, zh: $zh },
            topic: Text {
                en: include_str!(concat!("../explain/topics/en/", $name, ".md")),
                zh: include_str!(concat!("../explain/topics/zh/", $name, ".md")),
            },
        }
    };
}

table_enum! {
    /// Why a listener's queue was full.
    pub enum CauseId: Row {
        /// SIGSTOP, a frozen control group, a debugger.
        Stopped = cause!("cause.stopped", "stopped", "已停止"),
        /// `accept()` fails with EMFILE or ENFILE.
        FdLimit = cause!("cause.fd_limit", "out of file descriptors", "文件描述符用尽"),
        /// Held up by its control group's memory limit, or by memory pressure.
        Memory = cause!("cause.memory", "short of memory", "内存不足"),
        /// The quota of its control group is used up.
        CpuThrottled = cause!("cause.cpu_throttled", "throttled by its CPU quota", "CPU 配额受限"),
        /// Runnable, and not running.
        CpuStarved = cause!("cause.cpu_starved", "starved of CPU", "抢不到 CPU"),
        /// On the CPU, and not accepting.
        Busy = cause!("cause.busy", "busy with something else", "忙于其他工作"),
        /// Whoever could accept sleeps elsewhere.
        Blocked = cause!("cause.blocked", "blocked", "阻塞"),
        /// Nobody waits on this socket.
        NoAcceptor = cause!("cause.no_acceptor", "nobody accepts", "无人 accept"),
        /// Arrivals outrun accepts for good.
        Overload = cause!("cause.overload", "more arrives than is accepted", "到达快于 accept"),
        /// Accepting all the time, and the burst was larger than the room.
        Burst = cause!("cause.burst", "a burst larger than the queue", "突发超过队列"),
        /// SYNs whose cookies never come back.
        Flood = cause!("cause.flood", "a SYN flood", "SYN 洪泛"),
        /// Other sockets of the `SO_REUSEPORT` group have room.
        UnevenGroup = cause!("cause.uneven_group", "others of its group have room", "同组套接字有空位"),
        /// The limit is the sysctl's, not the application's.
        LimitClamped = cause!("cause.limit_clamped", "its limit is cut by a sysctl", "上限被 sysctl 压低"),
    }
}

impl CauseId {
    /// The stable text form, as in JSON and on the command line.
    pub const fn as_str(self) -> &'static str {
        self.row().name
    }

    /// What it is, in a few words that can stand after a colon.
    pub const fn short(self, lang: Lang) -> &'static str {
        self.row().short.pick(lang)
    }

    /// Its explanation, in markdown.
    pub(crate) const fn topic(self) -> Text {
        self.row().topic
    }

    /// What it is: one sentence.
    pub fn label(self, lang: Lang) -> &'static str {
        self.explained().title(lang)
    }

    /// What to do about it, in general.
    pub fn advice(self, lang: Lang) -> String {
        let label = lang.pick("What to do", "处理");
        let mut paragraphs = self.explained().paragraphs(lang);
        let found = paragraphs.find(|p| p.label == label).map_or("", |p| p.text);
        let joined = found.lines().map(str::trim).collect::<Vec<_>>();
        joined.join(lang.pick(" ", "")).replace('`', "")
    }

    fn explained(self) -> Topic {
        Topic::of(self.as_str(), self.topic())
    }

    /// The id whose text form is `s`.
    pub fn parse(s: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|id| id.as_str() == s)
    }
}

impl fmt::Display for CauseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for CauseId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for CauseId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom(format!("no cause has the id {text}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_the_contract_and_parse_back() {
        let mut names: Vec<_> = CauseId::ALL.iter().map(|id| id.as_str()).collect();
        names.sort_unstable();
        let contract = [
            "cause.blocked",
            "cause.burst",
            "cause.busy",
            "cause.cpu_starved",
            "cause.cpu_throttled",
            "cause.fd_limit",
            "cause.flood",
            "cause.limit_clamped",
            "cause.memory",
            "cause.no_acceptor",
            "cause.overload",
            "cause.stopped",
            "cause.uneven_group",
        ];
        assert_eq!(names, contract);
        assert!(CauseId::ALL.iter().all(|id| CauseId::parse(id.as_str()) == Some(*id)));
        assert_eq!(CauseId::parse("cause"), None);
    }

    #[test]
    fn each_has_a_heading_and_advice_in_both_languages() {
        for id in CauseId::ALL {
            for lang in [Lang::En, Lang::Zh] {
                assert!(!id.label(lang).is_empty() && !id.short(lang).is_empty(), "{id}");
                let advice = id.advice(lang);
                assert!(advice.ends_with(['.', '。']) && !advice.contains('`'), "{id}: {advice}");
            }
        }
    }
}
