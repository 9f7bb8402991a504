//! Examples in help texts and documents against the command line: nobody copies one that is refused.

use clap::{CommandFactory as _, Parser as _};

use super::Cli;

/// The words of a command up to a pipe or a redirection, as a shell splits them.
fn words(command: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let (mut word, mut quote) = (String::new(), None);
    for c in command.chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, ' ') if word.is_empty() => {}
            (None, ' ') => words.push(std::mem::take(&mut word)),
            (None, '|' | '>' | '#' | '&') => break,
            (_, c) => word.push(c),
        }
    }
    words.extend(Some(word).filter(|word| !word.is_empty()));
    words
}

/// The command of a line of examples: what is explained stands behind two spaces or more.
fn command(line: &str) -> Option<&str> {
    let line = line.trim_start().trim_start_matches("$ ");
    let line = line.split("  ").next().unwrap_or(line);
    // What another command pipes into it.
    let from = if line.starts_with("overflow ") { 0 } else { line.find("| overflow ")? + 2 };
    Some(&line[from..])
}

/// How many of these lines are commands, all of which must be accepted.
fn accepted<'a>(lines: impl Iterator<Item = &'a str>, place: &str) -> usize {
    let commands: Vec<&str> = lines.filter_map(command).collect();
    for command in &commands {
        if let Err(error) = Cli::try_parse_from(words(command)) {
            assert!(!error.use_stderr(), "{place}: {command}: {error}");
        }
    }
    commands.len()
}

#[test]
fn every_command_has_examples_that_are_accepted_and_an_exit_status() {
    for command in Cli::command().get_subcommands().filter(|c| !c.is_hide_set()) {
        let name = command.get_name();
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let (_, examples) = help.split_once("Examples:\n").unwrap_or_else(|| panic!("{name}"));
        assert!(accepted(examples.lines(), name) > 0, "{name} has no example");
        assert!(help.contains("Exit status: 0 "), "{name}");
    }
}

#[test]
fn examples_in_documents_are_accepted() {
    let documents = [
        ("README.md", include_str!("../../../README.md")),
        ("README.zh-CN.md", include_str!("../../../README.zh-CN.md")),
        ("docs/metrics.md", include_str!("../../../docs/metrics.md")),
        ("docs/requirements.md", include_str!("../../../docs/requirements.md")),
        ("docs/events.md", include_str!("../../../docs/events.md")),
    ];
    let mut examples = 0;
    for (name, text) in documents {
        // Every other part is the inside of a block of code.
        let blocks = text.split("```").skip(1).step_by(2);
        let consoles = blocks.filter_map(|block| block.strip_prefix("console\n"));
        examples += consoles.map(|block| accepted(block.lines(), name)).sum::<usize>();
    }
    assert!(examples >= 3, "{examples} examples in documents");
}

#[test]
fn words_are_those_of_a_shell() {
    assert_eq!(words("a 'b c'  --d=\"e f\" | g"), ["a", "b c", "--d=e f"]);
    assert_eq!(command("  overflow top      all of them"), Some("overflow top"));
    assert_eq!(command("$ ssh h cat f | overflow replay -"), Some("overflow replay -"));
    assert_eq!(command("cargo xtask run"), None);
}

/// An option that gives confinement up is offered to nobody who mistypes another.
#[test]
fn giving_up_confinement_is_never_suggested() {
    for mistyped in ["--config", "--log-file", "--no-confin"] {
        let error = Cli::try_parse_from(["overflow", "trace", mistyped]).unwrap_err();
        let said = super::without_bad_advice(error).to_string();
        assert!(!said.contains("no-confine"), "{said}");
    }
    let error = Cli::try_parse_from(["overflow", "trace", "--summry", "3"]).unwrap_err();
    assert!(super::without_bad_advice(error).to_string().contains("--summary"));
}
