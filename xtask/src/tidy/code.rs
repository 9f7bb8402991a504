//! What is checked of a single Rust file: its length, whether it may contain `unsafe`, and whether it
//! may see names from outside unescaped.

/// The most lines of a file that holds one idea.
const LONGEST: usize = 500;
/// Longer files, and why.
const LONG: &[(&str, &str)] = &[];

/// The only places of `unsafe`, because no safe interface exists: files, or directories with `/`.
const UNSAFE: &[&str] = &[
    "crates/lab/src/link/ifreq.rs",
    "crates/lab/src/ends/watched.rs",
    "crates/web/src/lib.rs",
    "overflow-common/src/event.rs",
    "overflow-common/src/audit.rs",
    "overflow-common/src/field.rs",
    "overflow-common/src/opener.rs",
    "overflow-common/src/plain.rs",
    "overflow-common/src/segment.rs",
    "overflow-common/src/tally.rs",
    "overflow-ebpf/src/",
    "overflow-user/src/confine/attribution/keeper.rs",
    "overflow-user/src/pages.rs",
    "overflow-user/src/probe/transport.rs",
    "xtask/guest-bench/src/bpf.rs",
    "xtask/guest-bench/src/net.rs",
    "xtask/guest-cases/src/sys.rs",
];

/// The only places, tests apart, that see names from outside as they came (`Untrusted::verbatim`): they
/// compare, or write JSON, which is escaped as it is written.
const VERBATIM: &[&str] = &[
    "crates/core/src/owner/cgroup.rs",
    "crates/core/src/text/untrusted.rs",
    "crates/core/src/wire/owner.rs",
    "overflow-user/src/pipeline/filter.rs",
    "overflow-user/src/sink/listeners.rs",
];

/// What is wrong with a file.
pub fn faults(name: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let lines = text.lines().count();
    if lines > LONGEST && !LONG.iter().any(|(long, _)| *long == name) {
        faults.push(format!(
            "has {lines} lines, more than {LONGEST}: look for the second idea in it"
        ));
    }
    let allowed = UNSAFE.iter().any(|place| covers(place, name));
    if let Some(number) = unsafe_line(text).filter(|_| !allowed) {
        faults.push(format!(
            "line {number} is `unsafe`: use a safe interface, or name the file in \
             xtask/src/tidy/code.rs and ARCHITECTURE.md"
        ));
    }
    let allowed = VERBATIM.contains(&name);
    if let Some(number) = verbatim_line(name, text).filter(|_| !allowed) {
        faults.push(format!(
            "line {number} takes a name from outside as it came: show it by `Display`, or, if it is \
             only compared or goes into JSON, name the file in xtask/src/tidy/code.rs"
        ));
    }
    faults
}

/// Entries of the lists above that no file needs any more.
pub fn stale(files: &[(String, String)]) -> Vec<String> {
    let of_unsafe = UNSAFE.iter().filter(|place| {
        !files.iter().any(|(name, text)| covers(place, name) && unsafe_line(text).is_some())
    });
    let of_long = LONG.iter().filter(|(long, _)| {
        !files.iter().any(|(name, text)| name == *long && text.lines().count() > LONGEST)
    });
    let of_verbatim = VERBATIM.iter().filter(|place| {
        !files.iter().any(|(name, text)| name == *place && verbatim_line(name, text).is_some())
    });
    let verbatim =
        |place| format!("{place} has no `verbatim`, although xtask/src/tidy/code.rs names it");
    of_unsafe
        .map(|place| format!("{place} has no `unsafe`, although xtask/src/tidy/code.rs names it"))
        .chain(
            of_long.map(|(long, _)| format!("{long} is not long, although it is listed as such")),
        )
        .chain(of_verbatim.map(verbatim))
        .collect()
}

fn covers(place: &str, name: &str) -> bool {
    if place.ends_with('/') { name.starts_with(place) } else { name == place }
}

/// The first line with the keyword outside comments and strings.
fn unsafe_line(text: &str) -> Option<usize> {
    word_line(&code_only(text), "unsafe")
}

/// The first line before the tests that calls [`VERBATIM`]'s method. This file names it, too.
fn verbatim_line(name: &str, text: &str) -> Option<usize> {
    let test =
        name.contains("/tests") || name.ends_with("/hostile.rs") || name.starts_with("xtask/");
    let code = code_only(text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text));
    word_line(&code, "verbatim").filter(|_| !test)
}

fn word_line(code: &str, wanted: &str) -> Option<usize> {
    let of_word = |c: char| c.is_alphanumeric() || c == '_';
    let has = |line: &str| line.split(|c| !of_word(c)).any(|word| word == wanted);
    code.lines().position(has).map(|index| index + 1)
}

/// The text with comments and strings left out, line for line.
fn code_only(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = skipped(rest);
        if skipped > 0 {
            let (out, after) = rest.split_at(skipped);
            code.extend(out.chars().filter(|c| *c == '\n'));
            code.push(' ');
            rest = after;
        } else {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    code
}

/// The length of the comment, string or character that the text begins with; 0 if with none.
fn skipped(text: &str) -> usize {
    let until = |end: &str, from: usize| text[from..].find(end).map_or(text.len(), |at| from + at);
    if text.starts_with("//") {
        return until("\n", 0);
    }
    if text.starts_with("/*") {
        return (until("*/", 2) + 2).min(text.len());
    }
    if let Some(raw) = text.strip_prefix("r") {
        let marks = raw.len() - raw.trim_start_matches('#').len();
        if raw[marks..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(marks));
            return (until(&end, marks + 2) + end.len()).min(text.len());
        }
    }
    if text.starts_with('"') {
        let mut escaped = false;
        for (at, c) in text.char_indices().skip(1) {
            if c == '"' && !escaped {
                return at + 1;
            }
            escaped = c == '\\' && !escaped;
        }
        return text.len();
    }
    // A quotation mark as a character, which begins no string.
    if text.starts_with("'\"'") { 3 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keyword_is_not_its_mentions() {
        for (text, line) in [
            ("fn a() {}\nunsafe fn b() {}\n", Some(2)),
            ("let x = unsafe { y };\n", Some(1)),
            ("// unsafe\n/* unsafe\nunsafe */ unsafe\n", Some(3)),
            ("#![deny(unsafe_op_in_unsafe_fn)]\n", None),
            ("let s = \"a \\\" unsafe\";\nlet c = '\"'; // unsafe\n", None),
            ("let s = r#\"a \" unsafe \"#;\n", None),
            ("let c = '\"'; unsafe {}\n", Some(1)),
            ("let s = \"a\nb\";\nunsafe {}\n", Some(3)),
        ] {
            assert_eq!(unsafe_line(text), line, "{text}");
        }
    }

    #[test]
    fn it_may_stand_where_it_is_listed_only() {
        let text = "unsafe {}\n";
        assert_eq!(faults("crates/core/src/a.rs", text).len(), 1);
        assert!(faults("overflow-ebpf/src/a.rs", text).is_empty());
        assert!(faults("overflow-user/src/pages.rs", text).is_empty());
    }

    #[test]
    fn a_name_as_it_came_is_seen_where_that_is_listed_only() {
        let text = "fn a() { comm.verbatim() }\n";
        let map = "names.map(Untrusted::verbatim)\n";
        let of = |name: &str, text: &str| faults(name, text).len();
        assert_eq!((of("overflow-user/src/sink/a.rs", text), of("a.rs", map)), (1, 1));
        assert_eq!(of("overflow-user/src/pipeline/filter.rs", text), 0);
        let tested = format!("fn b() {{}}\n#[cfg(test)]\nmod tests {{\n{text}}}\n");
        assert_eq!((of("a.rs", &tested), of("overflow-user/tests/pure/a.rs", text)), (0, 0));
    }

    #[test]
    fn entries_that_nothing_needs_are_stale() {
        let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        assert_eq!(
            stale(&[file("overflow-user/src/pages.rs", "")]).len(),
            UNSAFE.len() + LONG.len() + VERBATIM.len()
        );
        let ebpf = file("overflow-ebpf/src/read.rs", "unsafe {}");
        assert_eq!(stale(&[ebpf]).len(), UNSAFE.len() + LONG.len() + VERBATIM.len() - 1);
    }

    #[test]
    fn long_files_are_found() {
        assert!(faults("a.rs", &"x\n".repeat(LONGEST)).is_empty());
        assert_eq!(faults("a.rs", &"x\n".repeat(LONGEST + 1)).len(), 1);
    }
}
