//! Questions as people ask them, and the topics that answer each: one of them must be among the first three.

use super::*;

const QUESTIONS: &[(&str, &[&str])] = &[
    ("what does times the listen queue of a socket overflowed mean", &["ListenOverflows"]),
    ("ListenOverflows keeps increasing, is that bad?", &["ListenOverflows"]),
    ("netstat -s shows SYNs to LISTEN sockets dropped", &["ListenDrops"]),
    ("difference between ListenOverflows and ListenDrops", &["ListenDrops", "ListenOverflows"]),
    ("possible SYN flooding but I am not under attack", &["syn-flooding-log"]),
    ("dmesg possible SYN flooding on port 80 sending cookies", &["syn-flooding-log"]),
    ("how to increase the SYN queue size", &["tcp_max_syn_backlog", "syn-queue-limit"]),
    ("tcp_max_syn_backlog has no effect", &["tcp_max_syn_backlog"]),
    ("what is the relation of somaxconn and backlog", &["accept-queue-limit", "somaxconn"]),
    ("I raised somaxconn but Send-Q in ss is still 128", &["somaxconn", "Recv-Q"]),
    ("Recv-Q of a listening socket is not zero", &["Recv-Q"]),
    ("what do Recv-Q and Send-Q mean in ss -lnt", &["Recv-Q"]),
    ("tcp_abort_on_overflow does nothing on Ubuntu", &["abort-on-overflow", "cookie-path"]),
    ("should I enable tcp_abort_on_overflow", &["abort-on-overflow"]),
    ("client connected but server has no socket", &["later.phantom", "ack.drop.overflow.cookie"]),
    (
        "connection established on the client but not on the server",
        &["later.phantom", "ack.drop.overflow.cookie", "ack.drop.overflow", "SYN_RECV"],
    ),
    (
        "connect takes exactly 1 or 3 seconds sometimes",
        &["ETIMEDOUT", "TCPReqQFullDrop", "later.recovered"],
    ),
    ("connection timed out under load but the server is up", &["ETIMEDOUT"]),
    ("connection refused when backlog is full", &["ECONNREFUSED"]),
    ("intermittent connection reset by peer", &["ECONNRESET"]),
    ("nginx accept4 failed 24 too many open files", &["EMFILE", "cause.fd_limit"]),
    ("php-fpm connect() to unix socket failed resource temporarily unavailable", &["unix-EAGAIN"]),
    ("gunicorn unix socket EAGAIN", &["unix-EAGAIN"]),
    ("cannot assign requested address when benchmarking", &["EADDRNOTAVAIL"]),
    ("lots of connections in SYN_RECV", &["SYN_RECV"]),
    ("many CLOSE_WAIT connections without a process", &["CLOSE_WAIT"]),
    ("does TIME_WAIT fill up the listen queue", &["tcp_tw_recycle"]),
    ("is tcp_tw_recycle safe behind NAT", &["tcp_tw_recycle"]),
    ("TCPBacklogDrop vs ListenOverflows", &["TCPBacklogDrop"]),
    ("netdev_max_backlog or somaxconn, which one to raise", &["netdev_max_backlog"]),
    ("nf_conntrack table full and clients time out", &["conntrack-table-full-log"]),
    ("how long does connect retry SYN before giving up", &["tcp_syn_retries", "ETIMEDOUT"]),
    (
        "how many times is a SYN-ACK retransmitted",
        &["tcp_synack_retries", "synack-timer", "TCPSynRetrans"],
    ),
    ("SYN cookies sent but few received", &["SyncookiesSent"]),
    ("should syncookies be disabled", &["tcp_syncookies"]),
    (
        "CentOS 7 and Ubuntu behave differently with a full accept queue",
        &["abort-on-overflow", "cookie-path", "syn-queue-limit", "max-qlen-log"],
    ),
    ("what is EmbryonicRsts", &["EmbryonicRsts"]),
    ("TCPReqQFullDoCookies increases", &["TCPReqQFullDoCookies"]),
    ("TCPReqQFullDrop meaning", &["TCPReqQFullDrop"]),
    ("failed connection attempts in netstat -s", &["AttemptFails"]),
    ("worker process is stopped and does not accept", &["cause.stopped", "cause.blocked"]),
    ("one SO_REUSEPORT worker gets all connections", &["cause.uneven_group"]),
    ("cgroup cpu quota throttles my server", &["cause.cpu_throttled"]),
    (
        "全连接队列溢出怎么办",
        &["ListenOverflows", "accept-queue-limit", "abort-on-overflow", "ListenDrops"],
    ),
    ("半连接队列大小由什么决定", &["syn-queue-limit", "tcp_max_syn_backlog", "max-qlen-log"]),
    (
        "半连接队列满了会怎样",
        &["TCPReqQFullDrop", "TCPReqQFullDoCookies", "tcp_syncookies", "syn-flooding-log"],
    ),
    ("为什么 tcp_max_syn_backlog 调大没有用", &["tcp_max_syn_backlog"]),
    ("Recv-Q 和 Send-Q 在 LISTEN 状态下是什么意思", &["Recv-Q"]),
    ("tcp_abort_on_overflow 设成 1 还是 0", &["abort-on-overflow"]),
    (
        "客户端已经 ESTABLISHED，服务器上却没有这条连接",
        &["later.phantom", "ack.drop.overflow.cookie", "SYN_RECV"],
    ),
    ("连接被拒绝是不是因为 backlog 满了", &["ECONNREFUSED"]),
    ("偶尔连接超时，抓包看到 SYN 重传", &["TCPSynRetrans", "ETIMEDOUT"]),
    ("日志里有 Possible SYN flooding，是被攻击了吗", &["syn-flooding-log"]),
    ("accept 报 Too many open files 文件句柄不够", &["EMFILE", "cause.fd_limit"]),
    ("nginx 连 php-fpm 的 unix 套接字报 Resource temporarily unavailable", &["unix-EAGAIN"]),
    ("大量 TIME_WAIT 会导致连不上吗", &["tcp_tw_recycle"]),
    ("大量 CLOSE_WAIT 占着全连接队列", &["CLOSE_WAIT"]),
    ("改了 somaxconn 要不要重启服务", &["somaxconn"]),
    (
        "SYN cookie 和全连接队列的关系",
        &["cookie-path", "tcp_syncookies", "ack.drop.overflow.cookie"],
    ),
    ("连接建立后发数据就被重置 Connection reset by peer", &["ECONNRESET"]),
    ("幽灵连接是怎么来的", &["later.phantom"]),
    ("进程卡住不调用 accept", &["cause.blocked", "cause.stopped"]),
    // By whoever had not seen those above.
    ("listen drops grows in netstat", &["ListenDrops"]),
    ("how do I see the current accept queue length", &["accept-queue-limit", "Recv-Q"]),
    ("what is the max accept queue size", &["accept-queue-limit"]),
    ("how big can the accept queue get", &["accept-queue-limit"]),
    ("listen backlog too small", &["cause.limit_clamped", "accept-queue-limit", "somaxconn"]),
    ("what happens when the backlog is exceeded", &["ListenOverflows", "accept-queue-limit"]),
    ("clients see 3 second latency spikes on connect", &["later.recovered", "ETIMEDOUT"]),
    ("nstat TcpExtListenOverflows rising after deploy", &["ListenOverflows"]),
    ("node_netstat_TcpExt_ListenOverflows increasing", &["ListenOverflows"]),
    (
        "server keeps resending SYN ACK although the client answered",
        &["TCPSynRetrans", "synack-timer"],
    ),
    ("half open connections pile up", &["SYN_RECV"]),
    ("cgroup throttling causes connection timeouts", &["cause.cpu_throttled"]),
    ("kernel log says sending cookies", &["syn-flooding-log"]),
    (
        "which process is not calling accept",
        &["cause.stopped", "cause.blocked", "cause.no_acceptor"],
    ),
    ("全连接队列大小怎么设置", &["accept-queue-limit", "somaxconn"]),
    ("半连接队列和全连接队列的区别", &["accept-queue-limit", "syn-queue-limit"]),
    ("accept 队列长度怎么看", &["accept-queue-limit", "Recv-Q"]),
    ("监听队列溢出", &["ListenOverflows"]),
    ("三次握手最后一个 ACK 被丢弃", &["ack.drop.overflow"]),
    ("三次握手完成了但服务端没有连接", &["later.phantom", "ack.drop.overflow.cookie", "SYN_RECV"]),
    ("客户端发送数据没有响应 服务端看不到连接", &["later.phantom"]),
    ("服务端收到 SYN 不回 SYN-ACK", &["syn.drop.accept_queue_full", "syn.drop.syn_queue_full"]),
    ("建连耗时 1 秒 3 秒", &["later.recovered", "ETIMEDOUT"]),
    ("容器 CPU 限流导致连接超时", &["cause.cpu_throttled"]),
    ("进程 CPU 100% 来不及 accept", &["cause.busy", "cause.overload"]),
    ("大量半开连接", &["SYN_RECV"]),
];

#[test]
fn questions_find_their_answers() {
    assert!(QUESTIONS.len() >= 85);
    let wrong: Vec<String> = QUESTIONS
        .iter()
        .filter_map(|(question, wanted)| {
            let found: Vec<&str> = search(question, 3).iter().map(|topic| topic.name).collect();
            let answered = found.iter().any(|name| wanted.contains(name));
            (!answered).then(|| format!("{question}: {}", found.join(", ")))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_expected_topic_exists() {
    for (question, wanted) in QUESTIONS {
        assert!(wanted.iter().all(|name| Topic::all().any(|t| t.name == *name)), "{question}");
    }
}

#[test]
fn what_no_topic_is_about_finds_nothing() {
    assert!(search("", 3).is_empty());
    assert!(search("the of and", 3).is_empty());
    assert!(search("xylophone", 3).is_empty());
    assert_eq!(search("SYN", 3).len(), 3);
}

#[test]
fn forms_of_a_word_are_one_word() {
    for (forms, common) in [
        (&["drop", "drops", "dropped", "dropping"][..], "drop"),
        (&["retransmit", "retransmitted"], "retransmit"),
        (&["queue", "queues", "queued"], "queu"),
        (&["pass", "passed"], "pass"),
        (&["ss", "red", "one", "sk_ack_backlogs", "重传"], ""),
    ] {
        for form in forms {
            assert_eq!(stem(form), if common.is_empty() { form } else { common });
        }
    }
}

#[test]
fn words_are_latin_names_and_pairs_of_chinese_characters() {
    assert_eq!(words("The SYN_RECV queues"), ["syn_recv", "syn", "recv", "queu"]);
    assert_eq!(words("连接队列 full"), ["full", "连接", "接队", "队列"]);
}
