//! What the tool's JSON lines say, as far as a case is judged by them.

use std::{
    collections::BTreeMap,
    io::{BufRead, Error},
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Classes of clients that were hurt.
const CLASSES: [&str; 6] = ["delayed", "never_served", "gave_up", "reset", "phantom", "waiting"];

/// Everything that was said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Said {
    /// Events, those alike together.
    pub events: Vec<Told>,
    /// Counts over all the time by listener, in the same form.
    pub totals: Vec<Told>,
    /// Losses, by what was lost.
    pub losses: BTreeMap<String, u64>,
    /// The lines of type `audit` as they came.
    pub audit: Vec<Value>,
    /// Whether a summary came: the tool ended by itself.
    pub ended: bool,
    /// Periods of a full queue that are not over, and `overflows`, by listener.
    pub queues: Vec<Queue>,
}

/// A verdict, and whom it is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Told {
    /// The verdict's id.
    pub id: String,
    /// `traced` or `inferred`; nothing in totals.
    pub known: Option<String>,
    /// Whom it is charged to.
    pub charged: Charged,
    /// The client's port, of an event.
    pub client: Option<u16>,
    /// How often.
    #[serde(default)]
    pub count: u64,
}

/// The listener that a line names.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Charged {
    /// Inode number of its network namespace.
    pub netns: Option<u64>,
    /// Its own address.
    pub address: Option<String>,
    /// The port that the segment went to.
    pub port: Option<u16>,
    /// Socket inodes of it, or of all that it may be.
    pub inodes: Vec<u64>,
    /// The process that is named first.
    pub comm: Option<String>,
    /// All processes that are said to hold it.
    pub pids: Vec<u32>,
}

/// What a listener's last line says of its queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// Which.
    pub charged: Charged,
    /// What the kernel counts as `ListenOverflows`.
    pub overflows: u64,
    /// Whether it is said to be full still.
    pub full_now: bool,
    /// Clients that were hurt there, by class; classes that nobody is in left out.
    #[serde(default)]
    pub hurt: BTreeMap<String, u64>,
}

impl Said {
    /// What concerns these network namespaces, or does not say which it concerns.
    #[must_use]
    pub fn of(&self, namespaces: &[u64]) -> Self {
        let ours = |netns: Option<u64>| netns.is_none_or(|netns| namespaces.contains(&netns));
        let mut said = self.clone();
        said.events.retain(|told| ours(told.charged.netns));
        said.totals.retain(|told| ours(told.charged.netns));
        said.queues.retain(|queue| ours(queue.charged.netns));
        said.audit.retain(|line| ours(line["netns"].as_u64()));
        said
    }
}

/// Reads the lines to their end. Fails if one is no JSON.
pub fn read(lines: impl BufRead) -> Result<Said> {
    let mut said = Said::default();
    let mut events: BTreeMap<Told, u64> = BTreeMap::new();
    for line in lines.lines() {
        let line = line.map_err(Error::other).context("cannot read the tool's output")?;
        let line: Value = serde_json::from_str(&line)
            .with_context(|| format!("the tool printed what is no line of JSON: {line}"))?;
        match line["type"].as_str() {
            Some("event") => *events.entry(event(&line)).or_default() += 1,
            Some("listener") if line["t_ns"].is_null() => listener(&line, &mut said),
            Some("loss") => {
                let what = text(&line["what"]).unwrap_or_default();
                *said.losses.entry(what).or_default() += line["count"].as_u64().unwrap_or(0);
            }
            Some("summary") => said.ended = true,
            Some("audit") => said.audit.push(line),
            // Runs, connections, and kinds that do not decide any case.
            _ => {}
        }
    }
    said.events = events.into_iter().map(|(told, count)| Told { count, ..told }).collect();
    Ok(said)
}

fn event(line: &Value) -> Told {
    let port =
        |end: &str| line[end].as_str().and_then(|address| address.rsplit_once(':')?.1.parse().ok());
    Told {
        id: text(&line["id"]).unwrap_or_default(),
        known: text(&line["known"]),
        charged: Charged { port: port("server"), ..charged(line, "listener") },
        client: port("client"),
        count: 0,
    }
}

/// A line is about one socket, or the sum of a group, in which each of its sockets stands.
fn listener(line: &Value, said: &mut Said) {
    let whole = charged(line, "server");
    let Some(members) = line["members"].as_array() else {
        socket(line, whole, said);
        return;
    };
    for member in members {
        let of_member = charged(member, "server");
        let (address, netns, port) = (whole.address.clone(), whole.netns, whole.port);
        socket(member, Charged { netns, address, port, ..of_member }, said);
    }
}

fn socket(line: &Value, charged: Charged, said: &mut Said) {
    for (id, count) in line["verdicts"].as_object().into_iter().flatten() {
        said.totals.push(Told {
            id: id.clone(),
            known: None,
            charged: charged.clone(),
            client: None,
            count: count.as_u64().unwrap_or(0),
        });
    }
    let overflows = line["overflows"].as_u64().unwrap_or(0);
    let full_now = line["full"]["now"].as_bool().unwrap_or(false);
    let classes = line["clients"].as_object().into_iter().flatten();
    let hurt = classes
        .filter(|(class, _)| CLASSES.contains(&class.as_str()))
        .filter_map(|(class, count)| Some((class.clone(), count.as_u64().filter(|n| *n > 0)?)))
        .collect();
    said.queues.push(Queue { charged, overflows, full_now, hurt });
}

/// The listener that a line names, its own address under this field.
fn charged(line: &Value, address: &str) -> Charged {
    let owner = &line["owner"];
    let address = text(&line[address]);
    let numbers = |list: &Value| -> Vec<u64> {
        list.as_array().into_iter().flatten().filter_map(Value::as_u64).collect()
    };
    let mut inodes = numbers(&line["inodes"]);
    inodes.extend(line["inode"].as_u64());
    let pids = numbers(&owner["pids"]).into_iter();
    Charged {
        netns: line["netns"].as_u64(),
        port: address.as_ref().and_then(|a| a.rsplit_once(':')?.1.parse().ok()),
        address,
        inodes,
        comm: text(&owner["comm"]),
        pids: pids.filter_map(|pid| u32::try_from(pid).ok()).collect(),
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = r#"{"type":"run","v":1}
{"type":"event","id":"syn.cookie","known":"traced","netns":7,"client":"10.7.0.2:40001","server":"10.7.0.1:80","listener":"0.0.0.0:80","owner":{"comm":"a","pids":[1,2]}}
{"type":"event","id":"syn.cookie","known":"traced","netns":7,"client":"10.7.0.2:40001","server":"10.7.0.1:80","listener":"0.0.0.0:80","owner":{"comm":"a","pids":[1,2]}}
{"type":"event","id":"syn.drop.other","known":"inferred","client":"[fd00::2]:9","server":"[fd00::1]:80"}
{"type":"listener","t_ns":5,"server":"0.0.0.0:80","verdicts":{"syn.cookie":2}}
{"type":"listener","server":"0.0.0.0:80","netns":7,"inodes":[33],"verdicts":{"syn.cookie":2},"overflows":3,"full":{"now":true},"clients":{"hurt":2,"delayed":0,"reset":2},"owner":null}
{"type":"loss","what":"x","count":4}
{"type":"audit","unaccounted":0}
{"type":"summary"}
"#;

    #[test]
    fn members_of_a_group_are_read_one_by_one() {
        let line = r#"{"type":"listener","server":"0.0.0.0:80","netns":7,"inodes":[33,34],"verdicts":{"syn.cookie":3},"owner":null,"members":[{"inode":33,"verdicts":{"syn.cookie":2},"owner":{"comm":"a","pids":[1]}},{"inode":34,"verdicts":{"syn.cookie":1},"owner":null}]}"#;
        let said = read(line.as_bytes()).unwrap();
        let [a, b] = &said.totals[..] else { panic!("{said:?}") };
        assert_eq!((a.count, &a.charged.inodes[..], a.charged.netns), (2, &[33][..], Some(7)));
        assert_eq!((a.charged.comm.as_deref(), b.count), (Some("a"), 1));
        assert_eq!(b.charged.address.as_deref(), Some("0.0.0.0:80"));
    }

    #[test]
    fn lines_are_read() {
        let said = read(LINES.as_bytes()).unwrap();
        let [cookies, other] = &said.events[..] else { panic!("{said:?}") };
        assert_eq!((cookies.count, cookies.client, other.client), (2, Some(40_001), Some(9)));
        assert_eq!(cookies.charged.comm.as_deref(), Some("a"));
        assert_eq!((&cookies.charged.pids[..], other.charged.netns), (&[1, 2][..], None));
        assert_eq!((said.totals[0].count, &said.totals[0].charged.inodes[..]), (2, &[33][..]));
        assert!(said.queues[0].full_now && said.queues[0].overflows == 3 && said.ended);
        assert_eq!(said.queues[0].hurt, BTreeMap::from([("reset".to_owned(), 2)]));
        assert_eq!((said.losses["x"], said.audit.len()), (4, 1));
        assert!(read(&LINES.as_bytes()[..30]).is_err());
        let ours = said.of(&[8]);
        assert_eq!((ours.events.len(), ours.totals.len(), ours.losses["x"]), (1, 0, 4));
        assert_eq!(said.of(&[7]), said);
    }
}
