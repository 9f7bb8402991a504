//! What people ask for topics by besides their names: counters, sysctls, `netstat -s`, lines of logs, errors.

/// A topic, and what else it goes by: lower case, of sysctls the last part. What a line of a log or a
/// sentence has in it leads to the topic as well, the longest first.
const NAMES: &[(&str, &[&str])] = &[
    (
        "ListenOverflows",
        &[
            "times the listen queue of a socket overflowed",
            "listen queue of a socket",
            "accept queue overflow",
            "accept queue full",
            "accept queue is full",
            "full accept queue",
            "listen queue full",
            "backlog full",
            "backlog is full",
            "全连接队列溢出",
            "全连接队列满",
            "监听队列溢出",
            "监听队列满",
            "accept 队列溢出",
            "accept 队列满",
        ],
    ),
    (
        "ListenDrops",
        &[
            "syns to listen sockets dropped",
            "syns to listen sockets ignored",
            "listen sockets dropped",
        ],
    ),
    (
        "SyncookiesSent",
        &[
            "syncookiesrecv",
            "syncookiesfailed",
            "syn cookies sent",
            "syn cookies received",
            "invalid syn cookies received",
        ],
    ),
    ("EmbryonicRsts", &["resets received for embryonic syn_recv sockets"]),
    ("AttemptFails", &["failed connection attempts"]),
    ("TCPSynRetrans", &["syn retransmission", "syn retransmissions"]),
    ("TCPReqQFullDrop", &["半连接队列溢出", "半连接队列满"]),
    ("tcp_max_syn_backlog", &["半连接队列大小"]),
    (
        "ack.drop.overflow",
        &[
            "third ack dropped",
            "last ack dropped",
            "final ack dropped",
            "最后一个 ack 被丢弃",
            "第三次握手失败",
        ],
    ),
    (
        "syn.drop.accept_queue_full",
        &[
            "no syn-ack",
            "no syn ack",
            "does not answer syn",
            "syn unanswered",
            "不回 syn-ack",
            "没有回 syn-ack",
        ],
    ),
    ("later.phantom", &["phantom connection", "幽灵连接"]),
    ("tcp_syncookies", &["syncookies", "syncookie"]),
    (
        "tcp_tw_recycle",
        &[
            "tcp_tw_reuse",
            "tcp_fin_timeout",
            "tcp_max_tw_buckets",
            "pawspassive",
            "time_wait",
            "time-wait",
            "timewait",
        ],
    ),
    ("netdev_max_backlog", &["softnet_stat"]),
    (
        "syn-flooding-log",
        &["syn flooding on port", "possible syn flooding", "syn flooding", "syn flood"],
    ),
    ("drop-open-request-log", &["drop open request from", "drop open request"]),
    (
        "conntrack-table-full-log",
        &[
            "table full, dropping packet",
            "nf_conntrack: table full",
            "nf_conntrack_max",
            "conntrack table full",
        ],
    ),
    (
        "ECONNREFUSED",
        &[
            "connection refused",
            "111: connection refused",
            "actively refused",
            "连接被拒绝",
            "port unreachable",
        ],
    ),
    (
        "ETIMEDOUT",
        &[
            "connection timed out",
            "110: connection timed out",
            "connect timed out",
            "连接超时",
            "connect timeout",
            "operation timed out",
            "etimedout on connect",
        ],
    ),
    (
        "ECONNRESET",
        &[
            "connection reset by peer",
            "104: connection reset by peer",
            "connection reset",
            "连接被重置",
        ],
    ),
    ("EADDRNOTAVAIL", &["cannot assign requested address", "ip_local_port_range"]),
    (
        "EMFILE",
        &["enfile", "too many open files", "rlimit_nofile", "limitnofile", "file-max", "ulimit -n"],
    ),
    (
        "unix-EAGAIN",
        &[
            "resource temporarily unavailable",
            "unix socket eagain",
            "unix eagain",
            "eagain",
            "connect() to unix:",
            "max_dgram_qlen",
        ],
    ),
    ("Recv-Q", &["send-q", "recvq", "sendq", "recv-q send-q"]),
    (
        "SYN_RECV",
        &["syn-recv", "syn_received", "half-open connections", "half open connections", "半开连接"],
    ),
    ("CLOSE_WAIT", &["close-wait"]),
    ("abort-on-overflow", &["tcp_abort_on_overflow"]),
    ("synack-timer", &["synack timer"]),
    ("syn-linear-timeouts", &["tcp_syn_linear_timeouts"]),
    ("defer-accept", &["tcp_defer_accept"]),
    (
        "accept-queue-limit",
        &[
            "backlog",
            "sk_max_ack_backlog",
            "sk_ack_backlog",
            "sk_acceptq_is_full",
            "accept queue",
            "listen queue",
            "全连接队列",
        ],
    ),
    (
        "somaxconn",
        &[
            "somaxconn",
            "the tcp backlog setting of 511 cannot be enforced",
            "cannot be enforced because",
        ],
    ),
    ("syn-queue-limit", &["inet_csk_reqsk_queue_is_full", "syn queue", "半连接队列"]),
    ("drop-reasons", &["tcp_listen_overflow", "kfree_skb", "skb_drop_reason"]),
    ("ack.drop.defer_accept", &["tcpdeferacceptdrop"]),
    ("syn.fastopen_queue_full", &["tcpfastopenlistenoverflow"]),
    ("later.migrated", &["tcpmigratereqsuccess", "tcpmigratereqfailure", "tcp_migrate_req"]),
    ("ack.drop.paws", &["pawsestab", "pawsestabrejected"]),
];

/// Topics' names that a longer text may have in it: none of them is a common word.
const IN_TEXT: usize = 8;

/// All names besides topics' own, with their topics.
pub(super) fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    NAMES.iter().flat_map(|(topic, names)| names.iter().map(move |name| (*name, *topic)))
}

/// As people write it, without what differs: case, white space, what stands before the last part of a sysctl
/// or a counter.
fn plain(asked: &str) -> String {
    let words: Vec<&str> = asked.split_whitespace().collect();
    let text = words.join(" ").to_lowercase();
    let text = text.trim_matches(['`', '"', '\'', '“', '”', '.', ':']);
    let last =
        text.rsplit(['.', '/']).next().filter(|last| !text.contains(' ') && !last.is_empty());
    let last = last.unwrap_or(text);
    counter(last).to_owned()
}

/// A counter as the kernel names it: `nstat` and its exporters put the table before it.
pub(super) fn counter(name: &str) -> &str {
    let before = ["tcpext_", "tcpext", "tcp_ext"];
    before
        .iter()
        .find_map(|before| name.strip_prefix(before))
        .filter(|n| !n.is_empty())
        .unwrap_or(name)
}

/// The topic that goes by what was asked, or, of a longer text, by something in it. `own` are the names of
/// the topics themselves.
pub(super) fn topic(asked: &str, own: &[&'static str]) -> Option<&'static str> {
    let plain = plain(asked);
    let own = own.iter().map(|name| (*name, *name));
    let names: Vec<_> = own.chain(all()).collect();
    let whole = names.iter().find(|(name, _)| name.to_lowercase() == plain);
    let inside = || {
        let text = asked.to_lowercase();
        let text: Vec<&str> = text.split(' ').map(counter).collect();
        let text = text.join(" ");
        let found = names.iter().filter(|(name, _)| {
            (name.len() >= IN_TEXT || name.contains(' ')) && has(&text, &name.to_lowercase())
        });
        found.max_by_key(|(name, _)| name.len())
    };
    whole.or_else(inside).map(|(_, topic)| *topic)
}

/// Whether a text has these words in it, not as a part of others.
fn has(text: &str, words: &str) -> bool {
    let part_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(words).any(|(at, _)| {
        let before = text[..at].chars().next_back().is_some_and(part_of_word);
        let after = text[at + words.len()..].chars().next().is_some_and(part_of_word);
        !before && !after
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::topics::Topic;

    fn found(asked: &str) -> Option<&'static str> {
        Topic::find(asked).map(|topic| topic.name)
    }

    #[test]
    fn every_name_leads_to_its_topic_and_stands_once() {
        let mut names: Vec<&str> = Vec::new();
        for (name, topic) in all() {
            assert_eq!(found(name), Some(topic), "{name}");
            assert_eq!(name, name.to_lowercase());
            assert!(!names.contains(&name), "{name} twice");
            names.push(name);
        }
    }

    #[test]
    fn symptoms_are_found_as_they_are_seen() {
        for (seen, topic) in [
            ("times the listen queue of a socket overflowed", "ListenOverflows"),
            ("    9107 times the listen queue of a socket overflowed", "ListenOverflows"),
            ("9107 SYNs to LISTEN sockets dropped", "ListenDrops"),
            ("TcpExtListenDrops", "ListenDrops"),
            ("TCPReqQFullDoCookies", "TCPReqQFullDoCookies"),
            ("tcpreqqfulldrop", "TCPReqQFullDrop"),
            ("tcp_max_syn_backlog", "tcp_max_syn_backlog"),
            ("net.ipv4.tcp_max_syn_backlog", "tcp_max_syn_backlog"),
            ("/proc/sys/net/ipv4/tcp_max_syn_backlog", "tcp_max_syn_backlog"),
            ("Possible SYN flooding on port", "syn-flooding-log"),
            (
                "TCP: request_sock_TCP: Possible SYN flooding on port 0.0.0.0:80. Sending cookies.",
                "syn-flooding-log",
            ),
            ("ECONNREFUSED", "ECONNREFUSED"),
            (
                "connect() failed (111: Connection refused) while connecting to upstream",
                "ECONNREFUSED",
            ),
            ("ETIMEDOUT on connect", "ETIMEDOUT"),
            ("recv() failed (104: Connection reset by peer)", "ECONNRESET"),
            ("Recv-Q", "Recv-Q"),
            ("EMFILE", "EMFILE"),
            ("accept4() failed (24: Too many open files)", "EMFILE"),
            ("unix socket EAGAIN", "unix-EAGAIN"),
            (
                "connect() to unix:/run/php.sock failed (11: Resource temporarily unavailable)",
                "unix-EAGAIN",
            ),
            ("nf_conntrack: table full, dropping packet", "conntrack-table-full-log"),
            ("net.core.somaxconn", "somaxconn"),
            ("syn.cookie", "syn.cookie"),
        ] {
            assert_eq!(found(seen), Some(topic), "{seen}");
        }
        for none in ["", "beos", "the", "backlogs of coffee", "xlistendropsx"] {
            assert_eq!(found(none), None, "{none}");
        }
    }
}
