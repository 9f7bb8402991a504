//! The audit for people: what the kernel counted, and what accounts for it.

use overflow_core::{
    audit::{Balance, NamespaceAudit, unaccounted},
    text::{
        duration::count,
        style::{Page, Tone},
    },
};

/// The lines of the summary: one if nothing rose, else one for each namespace where anything did.
pub(super) fn summary(page: &mut Page, audits: Option<&[NamespaceAudit]>) {
    let Some(audits) = audits else {
        let text = "not done: the kernel's counters were not read.";
        page.flow("audit", INDENT, Tone::Dim, text);
        return;
    };
    let loud: Vec<_> = audits.iter().filter(|audit| !is_quiet(audit)).collect();
    if loud.is_empty() {
        let namespaces = count(audits.len(), "network namespace");
        let text = format!("no counter of an overflow rose, in {namespaces}.");
        page.flow("audit", INDENT, Tone::Dim, &text);
    }
    for audit in loud {
        namespace(page, "audit", audit);
    }
}

/// The line instead where a part of a recording is shown.
pub(super) fn of_a_part(page: &mut Page) {
    let text = "not done: the kernel's counters are those of the whole recording, of which this is a \
                part.";
    page.flow("audit", INDENT, Tone::Dim, text);
}

/// What a namespace's counters rose by; loudly where something is unaccounted.
pub(super) fn namespace(page: &mut Page, margin: &str, audit: &NamespaceAudit) {
    let told: Vec<String> = audit
        .balances
        .iter()
        .filter(|b| !b.is_quiet())
        .map(|b| equation(b).join("\u{a0}"))
        .collect();
    let since = match (audit.appeared, audit.unread) {
        (false, false) => "",
        (true, false) => " (made while tracing)",
        (_, true) => " (out of reach: as hooks last read its counters)",
    };
    let text = format!("netns\u{a0}{}{since}: {}", audit.netns, told.join(", "));
    let bad = audit.unaccounted() > 0;
    page.flow(margin, INDENT, if bad { Tone::Bad } else { Tone::Plain }, &text);
    for why in audit.balances.iter().filter(|b| !b.why.is_empty()) {
        let text = format!("{}: {}", why.counter.as_str(), why.why.join("; "));
        page.flow("", INDENT + 2, Tone::Dim, &text);
    }
}

/// One sentence on what is unaccounted, for stderr; `None` if nothing is.
pub(crate) fn alarm(audits: &[NamespaceAudit]) -> Option<String> {
    if unaccounted(audits) == 0 {
        return None;
    }
    let part = |audit: &NamespaceAudit| {
        let unequal = audit.balances.iter().filter(|b| b.unaccounted != 0);
        let counters: Vec<_> =
            unequal.map(|b| format!("{} {:+}", b.counter.as_str(), b.unaccounted)).collect();
        (!counters.is_empty()).then(|| format!("netns {}: {}", audit.netns, counters.join(", ")))
    };
    let parts: Vec<_> = audits.iter().filter_map(part).collect();
    Some(format!(
        "the kernel's counters do not agree with what was told, and nothing explains it: {} \
         (above 0: counted and not told)",
        parts.join("; ")
    ))
}

pub(super) fn is_quiet(audit: &NamespaceAudit) -> bool {
    audit.balances.iter().all(Balance::is_quiet)
}

const INDENT: usize = 7;

/// `ListenDrops 45 = 41 told + 4 explained`, as words.
fn equation(balance: &Balance) -> Vec<String> {
    let mut words = vec![balance.counter.as_str().to_owned(), balance.rose.to_string()];
    words.extend(["=".to_owned(), balance.told.to_string(), "told".to_owned()]);
    let explained = balance.explained();
    if explained > 0 {
        words.extend(["+".to_owned(), explained.to_string(), "explained".to_owned()]);
    }
    if balance.unaccounted != 0 {
        let sign = if balance.unaccounted > 0 { "+" } else { "-" };
        let much = balance.unaccounted.unsigned_abs().to_string();
        words.extend([sign.to_owned(), much, "UNACCOUNTED".to_owned()]);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use overflow_core::{text::style::Options, verdict::Counter};

    fn balance(counter: Counter, told: u64, left_out: u64, unaccounted: i64) -> Balance {
        Balance {
            counter,
            rose: (told + left_out).saturating_add_signed(unaccounted),
            told,
            left_out,
            lost: 0,
            unwatched: 0,
            unaccounted,
            why: Vec::new(),
        }
    }

    fn text(audits: Option<&[NamespaceAudit]>) -> String {
        let mut page = Page::new(Options::default());
        summary(&mut page, audits);
        let mut out = Vec::new();
        page.write_to(&mut out).unwrap();
        String::from_utf8(out).unwrap().replace('\u{a0}', " ")
    }

    #[test]
    fn what_is_told_and_explained_adds_up() {
        let mut drops = balance(Counter::ListenDrops, 41, 4, 0);
        drops.why.push("4 at listeners that were not asked for".to_owned());
        let balances = vec![balance(Counter::ListenOverflows, 41, 0, 0), drops];
        let audits = [NamespaceAudit { netns: 7, appeared: false, unread: false, balances }];
        assert_eq!(
            text(Some(&audits)),
            "audit  netns 7: ListenOverflows 41 = 41 told,\n       ListenDrops 45 = 41 told + 4 \
             explained\n         ListenDrops: 4 at listeners that were not asked for\n"
        );
        assert_eq!(alarm(&audits), None);
    }

    #[test]
    fn what_is_unaccounted_is_loud() {
        let balances = vec![
            balance(Counter::ListenOverflows, 7, 0, 3),
            balance(Counter::ListenDrops, 0, 0, 0),
            balance(Counter::EmbryonicRsts, 2, 0, -1),
        ];
        let audits = [NamespaceAudit { netns: 7, appeared: true, unread: false, balances }];
        assert_eq!(
            text(Some(&audits)),
            "audit  netns 7 (made while tracing):\n       ListenOverflows 10 = 7 told + 3 \
             UNACCOUNTED,\n       EmbryonicRsts 1 = 2 told - 1 UNACCOUNTED\n"
        );
        let gone = [NamespaceAudit { unread: true, ..audits[0].clone() }];
        let of_it = "netns 7 (out of reach: as hooks last read its counters):";
        assert!(text(Some(&gone)).split_whitespace().collect::<Vec<_>>().join(" ").contains(of_it));
        let alarm = alarm(&audits).unwrap();
        assert!(alarm.contains("netns 7: ListenOverflows +3, EmbryonicRsts -1"), "{alarm}");
    }

    #[test]
    fn silence_is_one_line_and_no_audit_is_said() {
        let quiet = vec![balance(Counter::ListenDrops, 0, 0, 0)];
        let audit = |netns| NamespaceAudit {
            netns,
            appeared: false,
            unread: false,
            balances: quiet.clone(),
        };
        assert_eq!(
            text(Some(&[audit(1), audit(2)])),
            "audit  no counter of an overflow rose, in 2 network namespaces.\n"
        );
        assert_eq!(text(None), "audit  not done: the kernel's counters were not read.\n");
    }
}
