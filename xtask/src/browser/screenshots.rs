//! `cargo xtask screenshots`: the pictures in the documents, and with `--all` every page as it is
//! looked at.

use std::{
    fs,
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use data_encoding::BASE64;
use serde_json::json;

use super::{
    cdp::Browser,
    check::Look,
    pages::{LAB, Pages},
};
use crate::{
    arch::Arch,
    artifacts, exec, site,
    tools::{self, CHROMIUM},
    workspace,
};

/// Arguments of `cargo xtask screenshots`.
#[derive(Args)]
pub struct ScreenshotArgs {
    /// Also every page, the lab's among them, in every width and colour scheme, whole, into
    /// target/browser
    #[arg(long)]
    all: bool,
}

/// The pictures in docs/images: name, page, look, and the height that is shown, CSS pixels.
const PICTURES: &[(&str, &str, Look, u32)] = &[
    ("report-wide.png", "trace-all", Look { width: 1400, dark: false }, 900),
    ("report-narrow.png", "trace-one", Look { width: 400, dark: true }, 900),
];
/// The same of the site: picture, fragment of the first page, look, height.
const OF_SITE: &[(&str, &str, Look, u32)] = &[
    ("model-wide.png", "#at=9", Look { width: 1400, dark: false }, 1000),
    ("model-narrow.png", "#at=9&lang=zh", Look { width: 400, dark: true }, 1000),
];
/// No page is drawn taller than this.
const TALLEST: u64 = 6000;

/// Draws them.
pub fn screenshots(args: &ScreenshotArgs) -> Result<ExitCode> {
    tools::ensure(&[CHROMIUM])?;
    // Without one a browser draws boxes, and says nothing.
    let fonts = exec::output(Command::new("fc-list").args([":lang=zh", "family"]))?;
    ensure!(
        !fonts.trim().is_empty(),
        "no font here has Chinese characters: install fonts-noto-cjk"
    );
    let pages = Pages::new(artifacts::overflow(Arch::HOST)?)?;
    let mut browser = Browser::start(CHROMIUM.program(), &pages.dir().join("profile"))?;
    let images = workspace::root().join("docs/images");
    fs::create_dir_all(&images).with_context(|| format!("cannot make {}", images.display()))?;
    for (picture, page, look, height) in PICTURES {
        let page = pages.make(page)?;
        draw(&mut browser, &page, "", *look, Some(*height), &images.join(picture))?;
    }
    let site = site::make()?.join(site::FIRST);
    for (picture, fragment, look, height) in OF_SITE {
        draw(&mut browser, &site, fragment, *look, Some(*height), &images.join(picture))?;
    }
    if args.all {
        for name in Pages::names().chain([LAB.0]) {
            let page = pages.make(name)?;
            for look in Look::ALL {
                let picture = pages.dir().join(format!("{name}-{}.png", look.name()));
                draw(&mut browser, &page, "", look, None, &picture)?;
            }
        }
        for look in Look::ALL {
            let picture = pages.dir().join(format!("model-{}.png", look.name()));
            draw(&mut browser, &site, "#at=9", look, None, &picture)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn draw(
    browser: &mut Browser,
    page: &Path,
    fragment: &str,
    look: Look,
    height: Option<u32>,
    picture: &Path,
) -> Result<()> {
    look.set(browser, height.unwrap_or(900))?;
    browser.open(page, fragment)?;
    if height.is_none() {
        let whole = browser.evaluate("document.documentElement.scrollHeight")?;
        let whole = whole.as_u64().unwrap_or_default().min(TALLEST);
        look.set(browser, u32::try_from(whole)?)?;
    }
    let drawn = browser.call("Page.captureScreenshot", &json!({"format": "png"}))?;
    let bytes = BASE64
        .decode(drawn["data"].as_str().unwrap_or_default().as_bytes())
        .with_context(|| format!("the browser gave no picture of {}", page.display()))?;
    fs::write(picture, bytes).with_context(|| format!("cannot write {}", picture.display()))?;
    println!("{}", picture.display());
    Ok(())
}
