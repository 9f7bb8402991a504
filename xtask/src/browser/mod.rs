//! The pages of `--report`, and the site, in a real browser: drawn, quiet, readable by keyboard and screen reader.

mod cdp;
mod check;
mod pages;
mod screenshots;
mod site;

use std::fs;

use anyhow::{Context as _, Result};

use crate::{
    arch::Arch,
    artifacts,
    needs::{Needs, Verdict},
    test::Checks,
    tools::{self, CHROMIUM},
};
use cdp::Browser;
use check::{Look, Rules};
use pages::{LAB, Pages};
pub use screenshots::{ScreenshotArgs, screenshots};

/// A page in which everything that is looked for is wrong.
const BROKEN: &str = include_str!("broken.html");
/// A word of each fault that must be found in it.
const FOUND: &[&str] = &[
    "3008 px wide",
    "0 first headings",
    "skips a level",
    "no main part",
    "no language",
    "no title",
    "has a script",
    "no caption",
    "no scope",
    "picture has no words",
    "leads nowhere",
    "contrast of 2.85",
    "its console says",
    "its script failed",
    "it asks for",
    "without a name",
];
/// A page is sent by mail and put into tickets.
const LARGEST: u64 = 500_000;

/// Every page at every width and in both colour schemes.
pub fn check(here: &dyn Needs) -> Result<Checks> {
    let mut checks = Checks::default();
    if let Err(why) = tools::ensure(&[CHROMIUM]) {
        checks.skip("pages in a browser", &format!("{why:#}"));
        return Ok(checks);
    }
    let pages = Pages::new(artifacts::overflow(Arch::HOST)?)?;
    let mut browser = Browser::start(CHROMIUM.program(), &pages.dir().join("profile"))?;

    let broken = pages.dir().join("broken.html");
    fs::write(&broken, BROKEN).with_context(|| format!("cannot write {}", broken.display()))?;
    let faults = check::faults(&mut browser, &broken, Look::ALL[0], Rules::Report)?;
    for wanted in FOUND {
        let found = faults.iter().any(|fault| fault.contains(wanted));
        checks.check(found, || format!("the broken page is not found to be broken: {wanted}"));
    }

    let mut names: Vec<_> = Pages::names().collect();
    match ["root", "network namespaces"].iter().find_map(|need| lacking(here, need)) {
        Some(why) => checks.skip("the lab's page in a browser", &why),
        None => names.push(LAB.0),
    }
    for name in names {
        let page = pages.make(name)?;
        let bytes = fs::metadata(&page)?.len();
        checks.check(bytes <= LARGEST, || format!("page {name} has {bytes} bytes"));
        for look in Look::ALL {
            let faults = check::faults(&mut browser, &page, look, Rules::Report)?;
            checks.check(faults.is_empty(), || {
                format!("page {name}, {}: {}", look.name(), faults.join("; "))
            });
        }
    }
    site::check(&mut browser, pages.overflow(), &mut checks)?;
    Ok(checks)
}

fn lacking(here: &dyn Needs, need: &str) -> Option<String> {
    match here.look(need) {
        Verdict::Lacking(why) => Some(format!("needs {need}: {why}")),
        Verdict::Here | Verdict::Unknown(_) => None,
    }
}
