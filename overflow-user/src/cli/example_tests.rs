//! Examples in help texts and documents against the command line: nobody copies one that is refused. Those
//! that can be are run as well (`tests/pure/examples.rs`, `tests/live/examples.rs`).

use clap::{CommandFactory as _, Parser as _};

use super::Cli;

#[path = "../../tests/support/examples.rs"]
#[allow(unreachable_pub)] // it is a module of the test binaries, too
mod examples;
use examples::{command, in_documents, of_help, words};

fn accept(place: &str, command: &str) {
    if let Err(error) = Cli::try_parse_from(words(command)) {
        assert!(!error.use_stderr(), "{place}: {command}: {error}");
    }
}

#[test]
fn every_command_has_examples_that_are_accepted_and_an_exit_status() {
    for command in Cli::command().get_subcommands().filter(|c| !c.is_hide_set()) {
        let name = command.get_name();
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples = of_help(&help);
        assert!(!examples.is_empty(), "{name} has no example");
        for example in examples {
            accept(name, example);
        }
        assert!(help.contains("Exit status: 0 "), "{name}");
    }
}

#[test]
fn examples_in_documents_are_accepted() {
    let examples = in_documents();
    for (document, example) in &examples {
        accept(document, example);
    }
    assert!(examples.len() >= 7, "{} examples in documents", examples.len());
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
