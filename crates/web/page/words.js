// Everything that the page says, in both languages.

const EN = {
  title: "Two kernels, one burst of connections",
  lead: "A server is too slow to accept. Watch what two Linux kernels do with the same clients, until they first do something different.",
  seedText: "The first experiment answers a question that has puzzled many: with tcp_abort_on_overflow=1 a full queue should answer by RST. CentOS 7 does, Ubuntu seems to ignore the setting. Backlog 1, five clients at once, nobody accepts: press Play.",
  seedWhy: "That is all of it: CentOS 7's SYN queue takes at least 16 requests, so all five clients get to the branch that reads the setting. Since Linux 4.4 the SYN queue takes only what the backlog allows; the other clients get a SYN cookie, and the cookie's path never reads the setting.",
  player: "The run", play: "▶ Play", pause: "❚❚ Pause", back: "◀ Step back", forth: "Step ▶", toPart: "To where they part",
  speed: "Speed", clock: "time", scrub: "Moment of the run", before: "before the first segment",
  change: "Change the experiment", reset: "Back to the first experiment", share: "Copy a link to this moment",
  copied: "Copied.", notCopied: "The link is in the address bar.",
  fates: "What becomes of each client", steps: "Every decision, in order",
  stepsNote: "Choose a time to go there. Both kernels get the same segments until they part; later, timers of theirs run at different times.",
  same: "The same in a terminal",
  sameNote: "This page runs the very model that the program has; the answers are the same, byte for byte.",
  answer: "The answer as JSON lines",
  left: "Kernel on the left", right: "Kernel on the right",
  backlog: "backlog of listen(2)", somaxconn: "net.core.somaxconn (empty: default)", cookies: "tcp_syncookies", abort: "tcp_abort_on_overflow",
  delay: "Server's packets delayed by, ms", clients: "Clients at once", spacing: "From one connect() to the next, ms",
  prefill: "Connections before", accept: "accept() every … ms (0: never)", payload: "Bytes that each client sends",
  defer: "TCP_DEFER_ACCEPT, s", syns: "tcp_max_syn_backlog", hold: "Watched for, s",
  more: "More settings",
  synQueue: "SYN queue", acceptQueue: "accept queue", of: "of", full: "full", rule: "rule",
  client: "client", prefillClient: "earlier client", kernel: "kernel", time: "Time", what: "What comes",
  decides: "decides", source: (tag) => `source of ${tag}`, why: "Why", nothing: "nothing yet",
  together: "Both do the same.", nowPart: "Here they part.",
  parting: (who, a, left, b, right) => `${who} is the first to be treated differently. ${a}: ${left}. ${b}: ${right}.`,
  neverPart: (a, b) => `${a} and ${b} do the same to every client of this experiment.`,
  noMore: "nothing more",
  doubt: "Not certain", alternative: "the other kernel that this name may stand for does something else here",
  undetermined: "This kernel draws the outcome by lot (the key of its SYN table is random); shown is the most likely one.",
  clientBelieves: "the client believes", serverHas: "the server has",
  believes: { idle: "not begun", waiting: "SYN_SENT", connected: "ESTABLISHED", reset: "reset" },
  whats: {
    syn: "SYN", synack: "SYN-ACK reaches the client", cookie: "SYN-ACK with a cookie reaches the client", ack: "ACK", data: "data", rst: "RST reaches the client",
    client_rst: "RST of the client", timer: "SYN-ACK timer", accept: "accept()", close: "the listener is closed", client: "client", end: "end of watching",
  },
  stage: (kernel, t, syn, accept) => `${kernel} at ${t}: ${syn} in the SYN queue, ${accept} in the accept queue`,
  all: (n) => `clients 1 to ${n}`, range: (a, b) => (a === b ? `client ${a}` : `clients ${a} to ${b}`),
  model: "Kernel model", documents: "Documents", language: "中文",
};

const ZH = {
  title: "同一批连接，两个内核",
  lead: "服务器来不及 accept。看两个 Linux 内核如何处理同一批客户端，直到它们第一次做出不同的决定。",
  seedText: "第一个实验回答了一个困扰很多人的问题：tcp_abort_on_overflow=1 时，队列满了应当回 RST。CentOS 7 确实如此，Ubuntu 却好像没有理会这个设置。backlog 为 1，五个客户端同时连接，无人 accept：请按“播放”。",
  seedWhy: "原因仅此而已：CentOS 7 的半连接队列至少容纳 16 个 request，五个客户端都会走到读取该设置的分支。从 Linux 4.4 起，半连接队列只容纳 backlog 允许的数量，其余客户端得到 SYN cookie，而 cookie 的路径从不读取该设置。",
  player: "运行过程", play: "▶ 播放", pause: "❚❚ 暂停", back: "◀ 上一步", forth: "下一步 ▶", toPart: "跳到分歧处",
  speed: "速度", clock: "时间", scrub: "运行到的时刻", before: "第一个报文之前",
  change: "修改实验", reset: "回到第一个实验", share: "复制指向此刻的链接",
  copied: "已复制。", notCopied: "链接在地址栏中。",
  fates: "每个客户端的结局", steps: "按顺序列出每个决定",
  stepsNote: "点击时间可跳到该处。分歧之前两个内核收到的报文相同；之后各自的定时器在不同时间触发。",
  same: "在终端中得到同样的结果",
  sameNote: "本页运行的就是程序里的那个模型；答案逐字节相同。",
  answer: "JSON 行形式的答案",
  left: "左侧的内核", right: "右侧的内核",
  backlog: "listen(2) 的 backlog", somaxconn: "net.core.somaxconn（留空为默认值）", cookies: "tcp_syncookies", abort: "tcp_abort_on_overflow",
  delay: "服务器发出的报文延迟（毫秒）", clients: "同时连接的客户端数", spacing: "两次 connect() 的间隔（毫秒）",
  prefill: "事先建立的连接数", accept: "每隔多少毫秒 accept() 一次（0 为从不）", payload: "每个客户端发送的字节数",
  defer: "TCP_DEFER_ACCEPT（秒）", syns: "tcp_max_syn_backlog", hold: "观察时间（秒）",
  more: "更多设置",
  synQueue: "半连接队列", acceptQueue: "全连接队列", of: "/", full: "已满", rule: "规则",
  client: "客户端", prefillClient: "事先的客户端", kernel: "内核", time: "时间", what: "到来的是",
  decides: "作出决定", source: (tag) => `${tag} 的源码`, why: "原因", nothing: "尚无",
  together: "两者相同。", nowPart: "在此分歧。",
  parting: (who, a, left, b, right) => `${who} 最先受到不同的对待。${a}：${left}。${b}：${right}。`,
  neverPart: (a, b) => `在这个实验中，${a} 与 ${b} 对每个客户端的处理都相同。`,
  noMore: "没有更多动作",
  doubt: "尚不确定", alternative: "这个名字所指的另一种内核在这里的做法不同",
  undetermined: "这个内核的结局带有随机性（SYN 表的密钥是随机数）；所示为最可能的情况。",
  clientBelieves: "客户端认为", serverHas: "服务器保留",
  believes: { idle: "未开始", waiting: "SYN_SENT", connected: "ESTABLISHED", reset: "被重置" },
  whats: {
    syn: "SYN", synack: "SYN-ACK 到达客户端", cookie: "带 cookie 的 SYN-ACK 到达客户端", ack: "ACK", data: "数据", rst: "RST 到达客户端",
    client_rst: "客户端的 RST", timer: "SYN-ACK 定时器", accept: "accept()", close: "监听套接字关闭", client: "客户端", end: "观察结束",
  },
  stage: (kernel, t, syn, accept) => `${kernel}，${t}：半连接队列 ${syn} 个，全连接队列 ${accept} 个`,
  all: (n) => `客户端 1 至 ${n}`, range: (a, b) => (a === b ? `客户端 ${a}` : `客户端 ${a} 至 ${b}`),
  model: "内核模型", documents: "文档", language: "English",
};

/// The words of a language.
export const words = (lang) => (lang === "zh" ? ZH : EN);

const FAMILIES = { centos: "CentOS", rhel: "RHEL", rocky: "Rocky Linux", alma: "AlmaLinux", debian: "Debian", ubuntu: "Ubuntu", alinux: "Alibaba Cloud Linux", openeuler: "openEuler", amzn: "Amazon Linux" };

/// A kernel's name as people write it.
export function kernelName(name) {
  const [, family, version] = /^([a-z]+)([\d.]+)$/.exec(name) ?? [];
  return family ? (FAMILIES[family] ? `${FAMILIES[family]} ${version}` : name) : /^\d/.test(name) ? `Linux ${name}` : name;
}

/// A time of the run in words.
export function clockWords(nanos) {
  const ms = nanos / 1e6;
  const abs = Math.abs(ms);
  const text = abs >= 1000 ? `${(ms / 1000).toFixed(3)} s` : `${ms.toFixed(2)} ms`;
  return ms > 0 ? `+${text}` : text.replace("-", "−");
}
