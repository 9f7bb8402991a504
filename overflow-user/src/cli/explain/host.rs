//! `--host`: the knowledge base applied to this kernel, its namespaces and listeners.

use std::collections::BTreeSet;

use anyhow::{Context, Result};

use super::page::Page;
use overflow_core::{
    explain::{
        Lang,
        host::{Forecast, Listening, advice, forecast},
        topics,
    },
    listeners::{self, Surroundings},
    model::{condition::Condition, config::Sysctls, features::SynQueueTest, kernels::Kernel},
    text::Untrusted,
};

pub(super) fn explain(page: &mut Page) -> Result<()> {
    let kernel = overflow_host::kernel::model_kernel()?;
    let found = overflow_host::listeners::inventory(&BTreeSet::new())
        .context("cannot list the listeners")?;
    about_kernel(page, &kernel);
    let mut forecasts = Vec::new();
    let mut namespaces: Vec<&Surroundings> = found.namespaces.values().collect();
    namespaces.sort_by_key(|s| (!s.namespace.own, s.namespace.inum));
    for surroundings in namespaces {
        let inum = surroundings.namespace.inum;
        let seen: Vec<Listening> = found
            .listeners
            .iter()
            .filter(|l| l.netns == inum)
            .filter_map(|l| {
                Some(Listening { address: l.local, recv_q: l.recv_q, send_q: l.send_q? })
            })
            .collect();
        about_namespace(page, surroundings, &seen, &kernel, &mut forecasts);
    }
    if !found.notes.is_empty() {
        page.blank();
        for note in &found.notes {
            page.flow("", "", note);
        }
    }
    let advice = advice(&forecasts, page.lang());
    if !advice.is_empty() {
        page.blank();
        page.heading(page.lang().pick("What to do", "处理"));
        for text in &advice {
            page.flow("  ", "  ", text);
        }
    }
    Ok(())
}

fn about_kernel(page: &mut Page, kernel: &Kernel) {
    let lang = page.lang();
    let test = kernel.features.syn_queue;
    let test = Condition::SynQueue { test, qlen: 0, limit: 0 }.expression();
    page.heading(&format!(
        "Linux {} ({} {})",
        kernel.name,
        lang.pick("rule", "规则"),
        kernel.features.regime()
    ));
    page.flow(lang.pick("  SYN queue full:     ", "  半连接队列满的条件："), "    ", test);
    let full = "sk_ack_backlog > sk_max_ack_backlog";
    page.flow(lang.pick("  accept queue full:  ", "  全连接队列满的条件："), "    ", full);
    if let Some(doubt) = &kernel.doubt {
        page.flow(lang.pick("  not certain: ", "  尚不确定："), "    ", doubt);
    }
    if kernel.features.syn_queue != SynQueueTest::MaxQlenLog {
        let en = "whether the first test is > or >= is a stable backport: overflow lab \
                  --check-model measures it";
        let zh = "第一个条件是 > 还是 >= 取决于 stable 内核有没有 backport 那个补丁：可用 overflow lab --check-model 实测";
        page.flow("  ", "  ", lang.pick(en, zh));
    }
    let topics = topics::of_features(&kernel.features).join(" ");
    page.flow(lang.pick("  topics: ", "  主题："), "    ", &topics);
}

fn about_namespace(
    page: &mut Page,
    surroundings: &Surroundings,
    listeners: &[Listening],
    kernel: &Kernel,
    forecasts: &mut Vec<Forecast>,
) {
    let lang = page.lang();
    let namespace = &surroundings.namespace;
    page.blank();
    let own = namespace.own.then(|| lang.pick("this one", "当前"));
    let name = namespace.name.as_ref().map(Untrusted::shown).or(own.map(Into::into));
    let name = name.map(|n| format!(" ({n})")).unwrap_or_default();
    let what = lang.pick("Network namespace", "网络命名空间");
    page.heading(&format!("{what} {}{name}", namespace.inum));
    let sysctls = sysctls(&surroundings.sysctls);
    let somaxconn = sysctls.somaxconn.map_or_else(|| "?".to_owned(), |n| n.to_string());
    page.flow(
        "  ",
        "  ",
        &format!(
            "tcp_abort_on_overflow={} tcp_syncookies={} somaxconn={somaxconn} \
             tcp_max_syn_backlog={} tcp_synack_retries={}",
            sysctls.abort_on_overflow,
            sysctls.syncookies,
            sysctls.max_syn_backlog,
            sysctls.synack_retries,
        ),
    );
    if listeners.is_empty() {
        page.line(lang.pick("  no TCP listener", "  没有 TCP 监听套接字"));
        return;
    }
    let head = lang.pick("a burst that nobody accepts", "突发到达且无人 accept 时");
    page.line(&format!("  {:<28}{:>7}{:>7}  {head}", "", "Recv-Q", "Send-Q"));
    for listener in listeners {
        let forecast = forecast(kernel.features, listener, sysctls);
        page.line(&line(listener, &forecast, page.lang()));
        forecasts.push(forecast);
    }
}

fn line(listener: &Listening, forecast: &Forecast, lang: Lang) -> String {
    let mark = if forecast.clamped { "*" } else { " " };
    let words = forecast.counts.words(lang);
    let (address, recv_q, send_q) =
        (listener.address.to_string(), listener.recv_q, listener.send_q);
    let clients = forecast.clients;
    format!("  {address:<28}{recv_q:>7}{send_q:>7}{mark} {clients}: {words}")
}

/// As the model knows them; what procfs does not show (a sysctl that is not per namespace) is taken
/// for the kernel's default.
fn sysctls(seen: &listeners::Sysctls) -> Sysctls {
    let default = Sysctls::default();
    Sysctls {
        syncookies: seen.syncookies.unwrap_or(default.syncookies),
        abort_on_overflow: seen.abort_on_overflow.unwrap_or(default.abort_on_overflow),
        somaxconn: seen.somaxconn,
        max_syn_backlog: seen.max_syn_backlog.unwrap_or(default.max_syn_backlog),
        synack_retries: seen.synack_retries.unwrap_or(default.synack_retries),
        ..default
    }
}
