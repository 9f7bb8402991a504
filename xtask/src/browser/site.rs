//! The site in a real browser: its pages read well, and the kernel model in it answers as the program
//! does, byte for byte.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde_json::{Value, json};

use super::{
    cdp::Browser,
    check::{self, Look, Rules},
};
use crate::{exec, progress, site, test::Checks, workspace};

/// Looks at the first page and what it does.
const PROBE: &str = include_str!("site.js");
/// Measured scenarios.
const GROUND_TRUTH: &str = "overflow-user/tests/data/ground-truth";
/// Of them, one in so many is asked by options as well, which takes a process each.
const EACH: usize = 60;
/// The module, compressed, bytes.
const LARGEST: usize = 1_000_000;

/// Pages that are looked at besides the first: one of each kind, since all are made alike.
const PAGES: &[&str] = &[
    "documents.html",
    "readme.html",
    "why-distributions-differ.html",
    "why-distributions-differ.zh.html",
    "metrics.html",
    "topics.zh.html",
];

/// Makes the site and looks at it.
pub(super) fn check(browser: &mut Browser, overflow: &Path, checks: &mut Checks) -> Result<()> {
    let dir = site::make()?;
    let first = dir.join(site::FIRST);
    for look in Look::ALL {
        let faults = check::faults(browser, &first, look, Rules::Site)?;
        checks.check(faults.is_empty(), || {
            format!("the model, {}: {}", look.name(), faults.join("; "))
        });
    }
    for page in PAGES {
        for look in [Look::ALL[0], Look::ALL[3]] {
            let faults = check::faults(browser, &dir.join(page), look, Rules::Site)?;
            checks.check(faults.is_empty(), || {
                format!("{page}, {}: {}", look.name(), faults.join("; "))
            });
        }
    }
    let size = compressed(&site::module()?)?;
    checks.check(size <= LARGEST, || format!("the module has {size} bytes, compressed"));

    Look::ALL[0].set(browser, 900)?;
    let shown = soonest(browser, &first)?;
    let faults = browser.evaluate(&format!("({PROBE})()"))?;
    let faults: Vec<_> =
        faults.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    checks.check(faults.is_empty(), || format!("the model: {}", faults.join("; ")));
    let frame = browser.evaluate("window.overflow.frame")?;
    let frame = frame.as_f64().context("no frame was drawn")?;
    // Figures, not checks: they are this machine's, and of what else it does.
    progress::note(&format!("the model is shown after {shown:.0} ms, a frame takes {frame:.1} ms"));
    links(browser, &first, checks)?;
    answers(browser, &first, overflow, checks)
}

/// Of three times, because others may have kept the machine busy.
fn soonest(browser: &mut Browser, first: &Path) -> Result<f64> {
    let mut soonest = f64::INFINITY;
    for _ in 0..3 {
        browser.open(first, "")?;
        let shown = browser.evaluate(
            "new Promise(done => { const look = () => window.overflow \
             ? done(performance.getEntriesByName('overflow')[0].startTime) \
             : setTimeout(look, 5); look(); })",
        )?;
        soonest = soonest.min(shown.as_f64().context("the model is never shown")?);
    }
    Ok(soonest)
}

/// A link leads to what it was made of, whatever somebody wrote into it.
fn links(browser: &mut Browser, first: &Path, checks: &mut Checks) -> Result<()> {
    let ready = "new Promise(done => { const look = () => window.overflow ? done() : setTimeout(look, 5); look(); })";
    for (fragment, expression, wanted) in [
        (
            "#clients=50&backlog=8&at=17&left=5.10.223&lang=zh",
            "[overflow.page.player.place, overflow.page.state.clients, document.documentElement.lang, document.querySelectorAll('#left .client').length].join()",
            "17,50,zh-Hans,50",
        ),
        (
            "#clients=99999999&hold=nan&at=-5&cookies=7",
            "[overflow.page.state.clients, overflow.page.state.hold, overflow.page.player.place, overflow.page.state.cookies].join()",
            "64,5,0,2",
        ),
        (
            "#left=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E",
            "[document.querySelectorAll('img').length, document.getElementById('trouble').hidden, document.getElementById('trouble').textContent.includes('<img')].join()",
            "0,false,true",
        ),
    ] {
        let told = browser.open(first, fragment)?;
        browser.evaluate(ready)?;
        let found = browser.evaluate(expression)?;
        checks
            .check(found == wanted, || format!("{fragment} leads to {found} and not to {wanted}"));
        let loud = told.iter().any(|event| event["method"] == "Runtime.exceptionThrown");
        checks.check(!loud, || format!("{fragment} makes the page's script fail"));
    }
    Ok(())
}

/// Every measured scenario, of the program and of the page.
fn answers(
    browser: &mut Browser,
    first: &Path,
    overflow: &Path,
    checks: &mut Checks,
) -> Result<()> {
    browser.open(first, "")?;
    let dir = workspace::root().join(GROUND_TRUTH);
    let (mut compared, mut kernels) = (0, 0);
    for entry in fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        if path.extension().is_none_or(|ending| ending != "gz") {
            continue;
        }
        let mut lines = String::new();
        GzDecoder::new(File::open(&path)?).read_to_string(&mut lines)?;
        let file = workspace::target().join("browser/scenarios.jsonl");
        fs::write(&file, &lines)?;
        let own = exec::output(Command::new(overflow).args(["predict", "--batch"]).arg(&file))?;
        let page = ask(browser, &json!({"ask": "batch", "lines": lines}))?;
        checks.check(page == own, || format!("{}: {}", path.display(), differing(&page, &own)));
        compared += own.lines().count();
        kernels += 1;
        for line in lines.lines().step_by(EACH) {
            by_options(browser, overflow, line, checks)?;
        }
    }
    checks.check(compared > 8000 && kernels == 9, || {
        format!("only {compared} scenarios of {kernels} kernels were compared")
    });
    Ok(())
}

/// The same question by the options of the command, and beside another kernel.
fn by_options(
    browser: &mut Browser,
    overflow: &Path,
    line: &str,
    checks: &mut Checks,
) -> Result<()> {
    let scenario: Value = serde_json::from_str(line)?;
    let kernel = scenario["kernel"].as_str().context("a scenario has no kernel")?;
    let number = |name: &str| scenario[name].as_u64().unwrap_or(0);
    let (clients, prefill, backlog) = (number("burst"), number("prefill"), number("backlog"));
    let (cookies, abort, delay) = (number("syncookies"), number("abort"), number("delay_ms"));
    let payload = number("client_bytes");
    let question = json!({
        "clients": clients, "prefill": prefill, "backlog": backlog, "syncookies": cookies,
        "abort_on_overflow": abort, "delay": delay * 1_000_000, "payload": payload,
        "accept_every": 300_000_000, "spacing": 2_000_000,
    });
    let asked = |kernels: [&str; 2]| {
        let mut command = Command::new(overflow);
        command.arg("predict").args(kernels).args(["--output", "json", "--accept-every", "300ms"]);
        command.args(["--spacing", "2ms"]);
        for (option, value) in [
            ("--clients", clients),
            ("--prefill", prefill),
            ("--backlog", backlog),
            ("--syncookies", cookies),
            ("--abort-on-overflow", abort),
            ("--delay", delay),
            ("--payload", payload),
        ] {
            command.args([option, &value.to_string()]);
        }
        exec::output(&mut command)
    };
    let own = asked(["--kernel", kernel])?;
    let page = ask(browser, &json!({"ask": "predict", "kernel": kernel, "question": question}))?;
    checks.check(page == own, || format!("{line}: {}", differing(&page, &own)));
    let own = asked(["--compare", &format!("{kernel},ubuntu24.04")])?;
    let kernels = [kernel, "ubuntu24.04"];
    let page = ask(browser, &json!({"ask": "compare", "kernels": kernels, "question": question}))?;
    checks.check(page == own, || format!("{line}, compared: {}", differing(&page, &own)));
    Ok(())
}

fn ask(browser: &mut Browser, request: &Value) -> Result<String> {
    match browser.evaluate(&format!("window.overflow.ask({request})"))? {
        Value::String(answer) => Ok(answer),
        other => bail!("the page answered {other}"),
    }
}

/// The first lines that differ.
fn differing(page: &str, own: &str) -> String {
    let pair = page.lines().zip(own.lines()).find(|(page, own)| page != own);
    pair.map_or_else(
        || format!("the page has {} bytes, the program {}", page.len(), own.len()),
        |(page, own)| format!("the page says {page}, the program {own}"),
    )
}

fn compressed(bytes: &[u8]) -> Result<usize> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(bytes)?;
    Ok(gzip.finish()?.len())
}
