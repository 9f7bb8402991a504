//! What is looked at in a page, at a width and in a colour scheme.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::cdp::Browser;

/// Runs in the page.
const PROBE: &str = include_str!("probe.js");
/// Stops of the keyboard that are tried.
const STOPS: u64 = 40;
/// What a screen reader announces by its name.
const NAMED: &[&str] = &[
    "image",
    "link",
    "heading",
    "DisclosureTriangle",
    "table",
    "button",
    "slider",
    "combobox",
    "textbox",
    "spinbutton",
    "region",
];
/// Where the Tab key must stop.
const FOCUSABLE: &str = "a[href], summary, button:enabled, input, select, [tabindex]";

/// How a page is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// CSS pixels.
    pub(super) width: u32,
    pub(super) dark: bool,
}

impl Look {
    /// Wide and narrow, light and dark.
    pub(super) const ALL: [Self; 4] = [
        Self { width: 1400, dark: false },
        Self { width: 1400, dark: true },
        Self { width: 400, dark: false },
        Self { width: 400, dark: true },
    ];

    /// `400-dark`.
    pub(super) fn name(self) -> String {
        format!("{}-{}", self.width, if self.dark { "dark" } else { "light" })
    }

    /// Makes the browser's window so.
    pub(super) fn set(self, browser: &mut Browser, height: u32) -> Result<()> {
        let size =
            json!({"width": self.width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        browser.call("Emulation.setDeviceMetricsOverride", &size)?;
        let scheme = if self.dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        browser.call("Emulation.setEmulatedMedia", &json!({"features": features}))?;
        Ok(())
    }
}

/// Which rules a page keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rules {
    /// A page of `--report`: it runs nothing and leads nowhere.
    Report,
    /// A page of the site.
    Site,
}

/// Everything that is wrong with a page, as sentences.
pub(super) fn faults(
    browser: &mut Browser,
    page: &Path,
    look: Look,
    rules: Rules,
) -> Result<Vec<String>> {
    look.set(browser, 900)?;
    let mut faults = told(&browser.open(page, "")?, rules);
    if look == Look::ALL[0] {
        faults.extend(keyboard(browser)?);
    }
    let found =
        browser.evaluate(&format!("({PROBE})({}, {})", look.width, rules == Rules::Report))?;
    let found = found.as_array().context("the probe found no list")?;
    faults.extend(found.iter().filter_map(Value::as_str).map(str::to_owned));
    if look == Look::ALL[0] {
        faults.extend(names(browser)?);
        faults.extend(print(browser)?);
    }
    Ok(faults)
}

/// What the browser complained about, and what the page asked for besides itself.
fn told(events: &[Value], rules: Rules) -> Vec<String> {
    let mut faults = Vec::new();
    let mut documents = 0;
    for event in events {
        let params = &event["params"];
        match event["method"].as_str() {
            Some("Log.entryAdded") => {
                faults.push(format!("the browser says: {}", params["entry"]["text"]));
            }
            Some("Runtime.consoleAPICalled") => {
                faults.push(format!("its console says: {}", params["args"]));
            }
            Some("Runtime.exceptionThrown") => {
                faults.push(format!("its script failed: {}", params["exceptionDetails"]["text"]));
            }
            Some("Network.requestWillBeSent") if params["type"] == "Document" => documents += 1,
            // The site has pictures beside it, and nothing else.
            Some("Network.requestWillBeSent")
                if rules == Rules::Site
                    && params["type"] == "Image"
                    && params["request"]["url"]
                        .as_str()
                        .is_some_and(|url| url.starts_with("file:")) => {}
            Some("Network.requestWillBeSent") => {
                faults.push(format!("it asks for {}", params["request"]["url"]));
            }
            _ => {}
        }
    }
    if documents > 1 {
        faults.push(format!("it loads {documents} documents"));
    }
    faults
}

/// Whether the Tab key reaches everything that can be followed, opened or set, in the order of the page.
fn keyboard(browser: &mut Browser) -> Result<Vec<String>> {
    let shown =
        format!("[...document.querySelectorAll('{FOCUSABLE}')].filter(e => e.checkVisibility())");
    let all = browser.evaluate(&format!("{shown}.length"))?.as_u64().unwrap_or_default();
    let mut reached = Vec::new();
    for _ in 0..all.min(STOPS) {
        for kind in ["rawKeyDown", "keyUp"] {
            let key =
                json!({"type": kind, "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9});
            browser.call("Input.dispatchKeyEvent", &key)?;
        }
        reached.push(browser.evaluate(&format!("{shown}.indexOf(document.activeElement)"))?);
    }
    let wanted: Vec<_> = (0..all.min(STOPS)).map(Value::from).collect();
    let mut faults = Vec::new();
    if reached != wanted {
        faults.push(format!("the Tab key goes to {reached:?} of its links and the like"));
    }
    let outlined = browser.evaluate("getComputedStyle(document.activeElement).outlineStyle")?;
    if all > 0 && outlined == "none" {
        faults.push("what the keyboard is at does not show".to_owned());
    }
    Ok(faults)
}

/// Names, as the browser hands them to a screen reader.
fn names(browser: &mut Browser) -> Result<Vec<String>> {
    let tree = browser.call("Accessibility.getFullAXTree", &json!({}))?;
    let nodes = tree["nodes"].as_array().context("it has no accessibility tree")?;
    let mut faults = Vec::new();
    let mut named = 0;
    for node in nodes.iter().filter(|node| node["ignored"] != true) {
        let role = node["role"]["value"].as_str().unwrap_or_default();
        if NAMED.contains(&role) {
            let name = node["name"]["value"].as_str().unwrap_or_default();
            if name.trim().is_empty() {
                faults.push(format!("a screen reader finds a {role} without a name"));
            }
            named += 1;
        }
    }
    if named < 5 {
        faults.push(format!("a screen reader finds {named} things with names"));
    }
    Ok(faults)
}

/// Whether it can be printed.
fn print(browser: &mut Browser) -> Result<Vec<String>> {
    let printed = browser.call("Page.printToPDF", &json!({"preferCSSPageSize": true}))?;
    let whole = printed["data"].as_str().is_some_and(|data| data.len() > 10_000);
    Ok(if whole { Vec::new() } else { vec!["it prints next to nothing".to_owned()] })
}
