//! Answers for people.

use std::io::{self, Write};

use overflow_core::{
    text::{
        duration::{count, period},
        style::{Options, Page, Tone},
        table::{Column, Field, table},
    },
    whatif::{
        advise::{Advice, LARGEST_BACKLOG},
        fate::Tally,
        recorded::Place,
        replay::Bounds,
        setting::Setting,
    },
};

/// What is printed of one place.
pub(super) struct Answer<'a> {
    pub(super) place: &'a Place,
    /// Each setting with what it would have meant; the first is as it was.
    pub(super) answers: &'a [(Setting, Bounds)],
    pub(super) assumed: &'a [String],
    pub(super) advice: Option<&'a Advice>,
}

/// Prints it.
pub(super) fn print(out: &mut dyn Write, options: Options, answer: &Answer<'_>) -> io::Result<()> {
    let mut page = Page::new(options);
    let place = answer.place;
    let clients: usize = place.members.iter().map(|member| member.clients.len()).sum();
    let mut heading = vec![place.local.clone()];
    if !place.owner.is_empty() {
        heading.push(place.owner.clone());
    }
    heading.push(count(clients, "client"));
    page.rule(&heading.join(", "));
    page.flow("recorded", 10, Tone::Plain, &as_it_was(place));
    page.blank();
    rows(&mut page, answer);
    if let Some(advice) = answer.advice {
        page.blank();
        let hurt = Tally::recorded(&place.members).hurt();
        for text in advised(place, advice, hurt) {
            page.flow("advice", 10, Tone::Plain, &text);
        }
    }
    page.blank();
    for text in answer.assumed {
        page.flow("assumed", 10, Tone::Dim, text);
    }
    page.write_to(out)
}

fn as_it_was(place: &Place) -> String {
    let mut words = Vec::new();
    let mut backlogs: Vec<u32> = place.members.iter().map(|m| m.max_ack_backlog).collect();
    backlogs.sort_unstable();
    backlogs.dedup();
    let backlogs: Vec<String> = backlogs.iter().map(ToString::to_string).collect();
    words.push(format!("backlog {}", backlogs.join(" and ")));
    if place.members.len() > 1 {
        words.push(format!("{} sockets (SO_REUSEPORT)", place.members.len()));
    }
    let sysctls = &place.sysctls;
    words.extend(sysctls.somaxconn.map(|n| format!("somaxconn {n}")));
    words.extend(sysctls.max_syn_backlog.map(|n| format!("tcp_max_syn_backlog {n}")));
    words.extend(sysctls.syncookies.map(|n| format!("tcp_syncookies {n}")));
    words.extend(sysctls.abort_on_overflow.map(|n| format!("tcp_abort_on_overflow {n}")));
    let (from, to) = place.period_ns;
    words.push(format!("for {}", period(to - from)));
    words.join(", ")
}

fn rows(page: &mut Page, answer: &Answer<'_>) {
    let columns = [
        Column::left("SETTING", 0),
        Column::right("REFUSED", 0),
        Column::right("<1 s", 0),
        Column::right("1 s", 0),
        Column::right("3 s", 0),
        Column::right("7 s", 0),
        Column::right("NOT IN", 0),
        Column::right("GAVE UP", 0),
        Column::right("DEEPEST", 2),
        Column::right("WAIT", 1),
    ];
    let seen = Tally::recorded(&answer.place.members);
    let mut rows = vec![likely("recorded", &Bounds::certain(seen))];
    for (setting, bounds) in answer.answers {
        let changes = setting.changes();
        let name = if changes.is_empty() {
            "the same, by the model".to_owned()
        } else {
            changes.iter().map(|(n, v)| format!("{n} {v}")).collect::<Vec<_>>().join(" ")
        };
        rows.push(likely(&name, bounds));
        rows.extend(range(bounds));
    }
    table(page, &columns, &rows);
}

/// Numbers of clients, a column each.
const FIGURES: [fn(&Tally) -> u64; 7] = [
    |t| t.reset,
    |t| t.delayed[0],
    |t| t.delayed[1],
    |t| t.delayed[2],
    |t| t.delayed[3],
    |t| t.not_in,
    |t| t.gave_up,
];

/// What is most likely.
fn likely(name: &str, bounds: &Bounds) -> Vec<Field> {
    let tone = if bounds.range(Tally::hurt).1 == 0 { Tone::Good } else { Tone::Plain };
    let number = |figure: fn(&Tally) -> u64| {
        let n = figure(&bounds.at_pace);
        Field::new(n.to_string(), if n == 0 { Tone::Dim } else { Tone::Plain })
    };
    let mut row = vec![Field::new(name, tone)];
    row.extend(FIGURES.map(number));
    let wait = bounds.at_pace.longest_wait_ns.map_or_else(String::new, period);
    let deepest = bounds.at_pace.deepest.map_or_else(String::new, |n| n.to_string());
    row.push(Field::new(deepest, Tone::Plain));
    row.push(Field::new(wait, Tone::Plain));
    row
}

/// Between which numbers it is; `None` where they are known exactly.
fn range(bounds: &Bounds) -> Option<Vec<Field>> {
    let mut row = vec![Field::new("  range", Tone::Dim)];
    for figure in FIGURES {
        let (least, most) = bounds.range(figure);
        let text = if least == most { String::new() } else { format!("{least}-{most}") };
        row.push(Field::new(text, Tone::Dim));
    }
    row.extend([Field::new("", Tone::Dim), Field::new("", Tone::Dim)]);
    row.iter().skip(1).any(|field| !field.text.is_empty()).then_some(row)
}

fn advised(place: &Place, advice: &Advice, hurt: u64) -> Vec<String> {
    if hurt == 0 {
        return vec!["Nobody was hurt; nothing needs to change.".to_owned()];
    }
    let mut all = Vec::new();
    match &advice.backlog {
        Some((backlog, bounds)) => {
            let somaxconn = place.sysctls.somaxconn.filter(|somaxconn| somaxconn < backlog);
            let sysctl =
                somaxconn.map_or_else(String::new, |_| format!(" and net.core.somaxconn={backlog}"));
            let wait = bounds.at_pace.longest_wait_ns.map_or_else(String::new, |ns| {
                format!("; the longest wait for accept() is then {}", period(ns))
            });
            let certain = match advice.certain {
                Some(certain) if certain == *backlog => {
                    "That holds even if the application takes no more by any time than it was seen to."
                        .to_owned()
                }
                Some(certain) => format!(
                    "That rests on the pace that the application showed while something waited; if it \
                     takes no more by any time than it was seen to, a backlog of {certain} is needed."
                ),
                None => "That rests on the pace that the application showed while something waited; if \
                         it takes no more by any time than it was seen to, no backlog suffices."
                    .to_owned(),
            };
            all.push(format!(
                "A backlog of {backlog}{sysctl} would have hurt nobody{wait}. {certain}"
            ));
        }
        None => all.push(format!(
            "No backlog up to {LARGEST_BACKLOG} would have been enough at the pace that the application \
             showed: a longer queue only makes clients wait longer."
        )),
    }
    let seen = advice.seen_rate.map_or_else(
        || "nothing shows how many it takes while something waits".to_owned(),
        |rate| format!("it took {} while something waited", a_second(rate)),
    );
    let came = format!("{} came on average", a_second(advice.arrival_rate));
    match advice.accept_rate {
        Some(rate) => all.push(format!(
            "With the backlog as it was, the application has to take {}; {seen}, and {came}.",
            a_second(rate)
        )),
        None => all.push(format!(
            "With the backlog as it was, no accept rate would have been enough; {seen}, and {came}."
        )),
    }
    all
}

/// So many connections in a second, three digits.
fn a_second(rate: f64) -> String {
    match rate {
        100.0.. => format!("{rate:.0} a second"),
        10.0..100.0 => format!("{rate:.1} a second"),
        _ => format!("{rate:.2} a second"),
    }
}
