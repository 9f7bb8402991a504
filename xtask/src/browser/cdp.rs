//! Headless Chromium, spoken to through a pipe by the DevTools protocol: JSON messages, each ended by
//! a NUL (`--remote-debugging-pipe` reads descriptor 3 and writes descriptor 4).

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

/// A browser that does not answer for so long has failed.
const LIMIT: Duration = Duration::from_mins(1);

/// A browser with one page.
pub(super) struct Browser {
    child: Child,
    requests: ChildStdin,
    messages: Receiver<Value>,
    next_id: u64,
    session: Option<String>,
    /// What it told without being asked, oldest first.
    events: Vec<Value>,
}

impl Browser {
    /// Starts it; `profile`: a directory of its own.
    pub(super) fn start(program: &str, profile: &Path) -> Result<Self> {
        let data = format!("--user-data-dir={}", profile.display());
        // The shell moves the pipes to where Chromium looks for them.
        let mut child = Command::new("sh")
            .args(["-c", r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#, program])
            .args(["--headless", "--remote-debugging-pipe", "--disable-gpu", "--no-first-run"])
            // Its own sandbox does not work for root, and all pages are ours.
            .args(["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"])
            .args(["--hide-scrollbars", "--force-color-profile=srgb", "--lang=en"])
            .arg(data)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let requests = child.stdin.take().context("it has no standard input")?;
        let mut answers = BufReader::new(child.stdout.take().context("it has no standard output")?);
        let (sender, messages) = channel();
        thread::spawn(move || {
            let mut bytes = Vec::new();
            while answers.read_until(0, &mut bytes).is_ok_and(|n| n > 0) {
                let message = serde_json::from_slice(bytes.strip_suffix(&[0]).unwrap_or(&bytes));
                if !message.is_ok_and(|message| sender.send(message).is_ok()) {
                    break;
                }
                bytes.clear();
            }
        });
        let mut browser =
            Self { child, requests, messages, next_id: 0, session: None, events: Vec::new() };
        let target = browser.call("Target.createTarget", &json!({"url": "about:blank"}))?;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", &attach)?;
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network", "Accessibility"] {
            browser.call(&format!("{domain}.enable"), &json!({}))?;
        }
        Ok(browser)
    }

    /// Calls a method; its result.
    pub(super) fn call(&mut self, method: &str, params: &Value) -> Result<Value> {
        self.next_id += 1;
        let id = self.next_id;
        let mut request = json!({"id": id, "method": method, "params": params});
        if let Some(session) = &self.session {
            request["sessionId"] = json!(session);
        }
        let mut bytes = serde_json::to_vec(&request)?;
        bytes.push(0);
        self.requests.write_all(&bytes).context("the browser is gone")?;
        let mut answer = self.wait(method, |message| message["id"] == id)?;
        match answer.get("error") {
            Some(error) => bail!("{method}: {error}"),
            None => Ok(answer["result"].take()),
        }
    }

    /// Opens a page, with a fragment or an empty one, and waits until it is drawn; what was told while it
    /// loaded. One that is open already is loaded anew.
    pub(super) fn open(&mut self, page: &Path, fragment: &str) -> Result<Vec<Value>> {
        self.navigate("about:blank")?;
        self.navigate(&format!("file://{}{fragment}", page.display()))
    }

    fn navigate(&mut self, url: &str) -> Result<Vec<Value>> {
        self.events.clear();
        self.call("Page.navigate", &json!({"url": url}))?;
        let loaded = |message: &Value| message["method"] == "Page.loadEventFired";
        if !self.events.iter().any(loaded) {
            self.wait("loading a page", loaded)?;
        }
        // Two frames later everything is drawn, and what the page began has begun.
        let drawn = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))";
        self.evaluate(drawn)?;
        Ok(self.events.clone())
    }

    /// The value of an expression in the page, once it has one.
    pub(super) fn evaluate(&mut self, expression: &str) -> Result<Value> {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut answer = self.call("Runtime.evaluate", &params)?;
        if let Some(exception) = answer.get("exceptionDetails") {
            bail!("the page's probe failed: {exception}");
        }
        Ok(answer["result"]["value"].take())
    }

    fn wait(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let end = Instant::now() + LIMIT;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let message = self.messages.recv_timeout(left);
            let message =
                message.with_context(|| format!("{what}: the browser does not answer"))?;
            if message.get("method").is_some() {
                self.events.push(message.clone());
            }
            if wanted(&message) {
                return Ok(message);
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.call("Browser.close", &json!({}));
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
