//! Lines that were printed are read, and written to the same bytes.

use super::*;

/// Every kind, and of those that have several, every form.
const PRINTED: [&str; 31] = [
    r#"{"type":"run","v":1,"run":"abort=1","tool":"overflow 0.1.0","kernel":"6.1","distro":null,"sysctls":{"net.core.somaxconn":4096},"listener":{"server":"10.7.0.1:12345","backlog":1,"somaxconn":4096},"clients":5,"prefill":0,"payload_bytes":0,"delay_ms":200,"hold_ms":5000,"link":"netem","concurrent":true,"attempts":1,"hooks":[{"moment":"third ACK","rung":"fentry","hook":"tcp_check_req"}],"notes":["a note"]}"#,
    r#"{"type":"run","v":1,"tool":"overflow 0.1.0","kernel":"6.1","distro":"Debian","filter":"","all":false,"summary_s":1,"wall_offset_ns":-5,"hooks":[{"moment":"SYN","rung":"kprobe"}],"notes":[]}"#,
    r#"{"type":"event","v":1,"t_ns":5,"hook":"tcp_check_req","client":"10.7.0.2:30003","server":null,"path":["tcp_v4_rcv","tcp_check_req"],"values":{"sk_ack_backlog":2,"drop_reason":"TCP_LISTEN_OVERFLOW"}}"#,
    r#"{"type":"event","v":1,"t_ns":5,"hook":"tcp_conn_request","client":"[2001:db8::1]:30003","server":"[2001:db8::2]:80","netns":7,"id":"syn.drop.other","known":"inferred","why":"from silence","listener":"*:80","inode":99,"reuseport_group":2,"owner":{"pid":10,"comm":"nginx","pids":[10,11],"unit":"nginx.service","cgroup":"/a","socket_activated":true}}"#,
    r#"{"type":"event","v":1,"t_ns":5,"hook":"tcp_conn_request","client":"10.7.0.2:30003","server":"10.7.0.1:80","listener":"*:80","reuseport_group":2,"candidates":[{"inode":98,"owner":null},{"inode":99,"owner":{"pid":10,"comm":"nginx","pids":[10]}}]}"#,
    r#"{"type":"connection","v":1,"run":"abort=1","phase":"burst","client":"10.7.0.2:1","server":"10.7.0.1:80","t0_ns":9,"stages":[{"id":"syn.cookie","t_ns":0,"known":"traced","repeats_ns":[1000]}],"synack_retransmits_ns":[4],"outcome":"later.phantom","client_view":"ESTABLISHED","client_error":"ECONNRESET","server_view":null,"witnesses":{"ebpf":null,"counters":"consistent","packets":null,"wire":{"syn":1,"synack":1,"ack":2,"rst":0,"active_rst":0}},"agree":false,"disagreement":"so"}"#,
    r#"{"type":"connection","v":1,"client":"10.7.0.2:1","server":"10.7.0.1:80","t0_ns":null,"stages":[],"outcome":null}"#,
    r#"{"type":"connection","v":1,"client":"10.7.0.2:1","server":"10.7.0.1:80","t0_ns":null,"stages":[],"outcome":null,"netns":7,"listener":"*:80","inode":99,"reuseport_group":2,"owner":{"pid":10,"comm":"nginx","pids":[10]}}"#,
    r#"{"type":"listener","v":1,"run":"abort=1","server":"10.7.0.1:80","recv_q_before":0,"recv_q":2,"send_q":1,"verdicts":{"syn.cookie":3},"counters":{"ListenDrops":3}}"#,
    r#"{"type":"listener","v":1,"server":"*:80","recv_q":2,"send_q":1,"verdicts":{},"netns":7,"t_ns":9,"duration_ms":1000,"overflows":3,"phantoms":1,"clients":{"hurt":2},"recv_q_max":2,"syn_queue_max":1,"synack_retransmits":0,"accepts":4,"full":{"times":1,"total_ns":2,"longest_ns":2,"now":true},"queue_wait":{"count":2,"total_ns":9,"below_us":{"16":1,"inf":1}},"inodes":[99],"closed":3,"members":[{"inode":99,"recv_q":2,"send_q":1,"verdicts":{"syn.cookie":3},"overflows":3,"phantoms":1,"recv_q_max":2,"full":{"times":1,"total_ns":2,"longest_ns":2,"now":true},"owner":null},{"closed":4,"verdicts":{},"overflows":0,"phantoms":0,"owner":null}],"owner":null,"sysctls":{"net.ipv4.tcp_syncookies":1}}"#,
    r#"{"type":"listener","v":1,"server":"*:80","recv_q":2,"send_q":1,"verdicts":{},"netns":7,"netns_name":"blue","inode":99,"uid":0,"syn_recv":0,"syn_queue_limit":2,"drops":0,"reuseport_group":1,"owner":{"pid":1,"comm":"systemd","pids":[1]},"sysctls":{},"on_overflow":"drops","advice":["raise it"]}"#,
    r#"{"type":"loss","v":1,"what":"ebpf ring_full","count":7,"meaning":"Too bad."}"#,
    r#"{"type":"audit","v":1,"t_ns":5,"netns":7,"appeared":false,"unaccounted":2,"counters":{"EmbryonicRsts":{"rose":0,"told":1,"left_out":0,"lost":0,"unwatched":0,"unaccounted":-1,"why":[]},"ListenDrops":{"rose":45,"told":40,"left_out":4,"lost":0,"unwatched":0,"unaccounted":1,"why":["4 at listeners that were not asked for"]}}}"#,
    r#"{"type":"cause","v":1,"t_ns":5,"looked_ns":200000000,"netns":7,"listener":"*:80","inode":99,"recv_q":129,"send_q":128,"syn_recv":3,"full_ns":41000000,"oldest_ns":90000000,"owner":{"pid":10,"comm":"nginx","pids":[10]},"before":["cause.stopped"],"causes":[{"id":"cause.fd_limit","evidence":["all 12 are open"],"values":{"descriptors":12,"pid":10},"advice":"Close some."}],"ruled_out":{"cause.burst":"nothing was accepted"},"unknown":{"cause.blocked":"no rights"},"unread":["no rights"]}"#,
    r#"{"type":"cause","v":1,"t_ns":5,"looked_ns":200000000,"netns":7,"listener":"*:80","inode":99,"recv_q":0,"syn_recv":3,"owner":null,"causes":[],"ruled_out":{},"unknown":{},"unread":[]}"#,
    r#"{"type":"scenario","v":1,"scenario":"centos7","shows":"what it shows"}"#,
    r#"{"type":"scenario","v":1,"scenario":"centos7","shows":"what it shows","run":"centos7","holds":null,"stories":["syn.queued > ack.accepted"],"differences":[],"unavailable":"why"}"#,
    r#"{"type":"client","v":1,"client":"10.7.0.2:1","server":"10.7.0.1:80","connect_ns":null,"connect_error":"pending","state":"SYN_SENT","error":null}"#,
    r#"{"type":"doctor","v":1,"tool":"overflow 0.1.0","kernel":"6.1","distro":"Debian","btf":"/sys/kernel/btf/vmlinux","missing_fields":[],"hook_points":[{"moment":"SYN","rung":null,"attached":[],"refused_hooks":{"fentry:a":"why"},"refused_rungs":{"fentry":"why"},"blind":"all"}],"missing_capabilities":["CAP_BPF"],"confinement":null,"gaps":["no Landlock"]}"#,
    r#"{"type":"topic","v":1,"name":"syn.cookie","lang":"en","title":"A cookie","paragraphs":[{"label":"Kernel","text":"It does."}]}"#,
    r#"{"type":"topic","v":1,"name":"syn.cookie","lang":"zh","title":"cookie"}"#,
    r#"{"type":"whatif","v":1,"netns":7,"listener":"*:80","owner":"nginx[10]","setting":{},"recorded":{"clients":5,"reset":1,"delayed":2,"delayed_below_s":{"3":1,"inf":1},"not_in":1,"gave_up":0},"at_pace":{"clients":5,"reset":0,"delayed":0,"delayed_below_s":{},"not_in":0,"gave_up":0,"longest_wait_ns":9,"deepest":3},"otherwise":{"clients":5,"reset":0,"delayed":0,"delayed_below_s":{},"not_in":0,"gave_up":0},"as_seen":{"clients":5,"reset":0,"delayed":0,"delayed_below_s":{},"not_in":0,"gave_up":0},"early":{"clients":5,"reset":0,"delayed":0,"delayed_below_s":{},"not_in":0,"gave_up":0},"assumed":["so"]}"#,
    r#"{"type":"whatif","v":1,"netns":7,"listener":"*:80","owner":null,"setting":{"backlog":1,"somaxconn":2,"max_syn_backlog":3,"syncookies":1,"abort_on_overflow":0,"kernel":"rhel9","accept_every_ns":1000,"members":2}}"#,
    r#"{"type":"whatif","v":1,"netns":7,"listener":"*:80","owner":null,"setting":{},"advice":{"backlog":256,"longest_wait_ns":5,"certain_backlog":null,"accept_every_ns":1000,"accepted_every_ns":null,"arrived_every_ns":5}}"#,
    r#"{"type":"summary","v":1,"connections":5,"verdicts":{},"clients":{"hurt":3,"delayed":1,"delayed_below_s":{"3":1},"longest_delay_ns":9,"never_served":1,"gave_up":0,"reset":0,"phantom":1,"waiting":0,"first_ns":1,"last_ns":9},"lost":0}"#,
    r#"{"type":"handshake","v":1,"client":"10.7.0.2:1","server":"10.7.0.1:80","interface":"eth0","packet":7,"t_ns":9,"family":"ack.drop.overflow","verdicts":["ack.drop.overflow","ack.drop.other"],"seen":"so","stands_alone":false,"place":{"at":"server","known":"shown","why":"so"},"phantom":true,"recovered":false,"wire":{"syn":2,"synack":3,"ack":2,"rst":1,"active_rst":0},"syn_retransmits_ns":[1000],"synack_retransmits_ns":[2000],"resets":[{"t_ns":3,"kind":"client"}],"doubts":["which_test"]}"#,
    r#"{"type":"handshake","v":1,"client":"10.7.0.2:1","server":"10.7.0.1:80","packet":7,"t_ns":9,"family":"unknown","verdicts":[],"seen":"so","stands_alone":false,"place":{"at":"unknown","known":"suggested","why":"so"},"phantom":null,"recovered":false,"wire":{"syn":1,"synack":0,"ack":0,"rst":0,"active_rst":0}}"#,
    r#"{"type":"endpoint","v":1,"role":"listener","address":"10.7.0.1:80","connections":5,"verdicts":{"ack.accepted":5},"phantoms":1,"recovered":1,"syn_retransmits":2,"synack_retransmits":3,"client_resets":0,"server_resets":4}"#,
    r#"{"type":"capture","v":1,"tool":"overflow 0.1.0","file":"-","packets":9,"segments":7,"copies":1,"others":2,"without_handshake":1,"doubts":[{"doubt":"lost","connections":2,"what":"this","ask":"that"}]}"#,
    r#"{"type":"summary","v":1,"runs":1,"connections":5,"disagreements":0,"verdicts":{"ack.accepted":2},"lost":0,"agree":true}"#,
    r#"{"type":"summary","v":1,"connections":5,"verdicts":{},"lost":0,"unaccounted":1}"#,
];

/// Which of `Line::KINDS` it is.
fn kind(line: &Line<'_>) -> &'static str {
    let [
        run,
        event,
        connection,
        listener,
        loss,
        audit,
        cause,
        scenario,
        client,
        doctor,
        topic,
        whatif,
        handshake,
        endpoint,
        capture,
        summary,
    ] = Line::KINDS;
    match line {
        Line::Run(_) => run,
        Line::Event(_) => event,
        Line::Connection(_) => connection,
        Line::Listener(_) => listener,
        Line::Loss(_) => loss,
        Line::Audit(_) => audit,
        Line::Cause(_) => cause,
        Line::Scenario(_) => scenario,
        Line::Client(_) => client,
        Line::Doctor(_) => doctor,
        Line::Topic(_) => topic,
        Line::Whatif(_) => whatif,
        Line::Handshake(_) => handshake,
        Line::Endpoint(_) => endpoint,
        Line::Capture(_) => capture,
        Line::Summary(_) => summary,
    }
}

#[test]
fn what_was_printed_is_read_and_written_alike() {
    for text in PRINTED {
        let read: Line = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
        let mut written = Vec::new();
        line(&mut written, &read).unwrap();
        assert_eq!(String::from_utf8(written).unwrap(), format!("{text}\n"));
        assert!(text.starts_with(&format!(r#"{{"type":"{}","#, kind(&read))), "{text}");
    }
}

#[test]
fn every_kind_has_a_line_here() {
    for kind in Line::KINDS {
        let begins = format!(r#"{{"type":"{kind}","#);
        assert!(PRINTED.iter().any(|text| text.starts_with(&begins)), "{kind}");
    }
}

#[test]
fn what_a_later_version_adds_is_skipped() {
    let text = r#"{"type":"loss","v":1,"what":"records","count":7,"since_ns":5}"#;
    assert!(matches!(serde_json::from_str(text), Ok(Line::Loss(loss)) if loss.count == 7));
    assert!(serde_json::from_str::<Line>(r#"{"type":"surprise","v":1}"#).is_err());
}
