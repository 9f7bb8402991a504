//! The page of the kernel model: everything in one file, the module as base64.

use std::fs;

use anyhow::{Context as _, Result};
use data_encoding::BASE64;

use super::{Lang, bundle, shell::Shell};
use crate::{exec, progress, setup, workspace};

macro_rules! assets {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../crates/web/page/", $name)))),*]
    };
}

/// Each after those that it imports.
const SCRIPTS: &[(&str, &str)] = assets![
    "dom.js",
    "words.js",
    "state.js",
    "wasm.js",
    "story.js",
    "stage.js",
    "side.js",
    "tables.js",
    "form.js",
    "player.js",
    "main.js",
];
const STYLE: &str = include_str!("../../../crates/web/page/simulator.css");
const BODY: &str = include_str!("../../../crates/web/page/simulator.html");

/// The page, English until its script reads the link.
pub fn page() -> Result<String> {
    let module = BASE64.encode(&module()?);
    let script = bundle::joined(SCRIPTS)?;
    let body = format!(
        "{BODY}<script type=\"application/wasm\" id=\"model\">{module}</script>\n<script>\n{{\n{script}}}\n</script>"
    );
    let shell = Shell {
        lang: Lang::En,
        title: "Two kernels, one burst of connections – overflow",
        other: Some("index.html#lang=zh"),
        style: STYLE,
        script_policy: "script-src 'unsafe-inline' 'wasm-unsafe-eval'; ",
        body: &body,
    };
    Ok(shell.html())
}

/// The model as WebAssembly.
pub fn module() -> Result<Vec<u8>> {
    setup::pure_target()?;
    progress::step("building the kernel model for browsers", || {
        exec::run(
            workspace::cargo()
                .args(["build", "--quiet", "--package", "overflow-web", "--lib"])
                .args(["--profile", "wasm", "--target", setup::PURE_TARGET]),
        )
    })?;
    let path = workspace::cargo_target()?.join(setup::PURE_TARGET).join("wasm/overflow_web.wasm");
    fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}
