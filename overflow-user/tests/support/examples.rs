//! Examples in help texts and documents, as commands.

/// The words of a command up to a pipe or a redirection, as a shell splits them.
pub fn words(command: &str) -> Vec<String> {
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
pub fn command(line: &str) -> Option<&str> {
    let line = line.trim_start().trim_start_matches("$ ");
    let line = line.split("  ").next().unwrap_or(line);
    // What another command pipes into it.
    let from = if line.starts_with("overflow ") { 0 } else { line.find("| overflow ")? + 2 };
    Some(&line[from..])
}

/// Every command in these lines.
pub fn commands<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    lines.filter_map(command).collect()
}

/// The examples of a command's help.
pub fn of_help(help: &str) -> Vec<&str> {
    let examples = help.split_once("Examples:\n").map_or("", |(_, examples)| examples);
    commands(examples.lines())
}

/// Those in each document's blocks of console lines, with the document.
pub fn in_documents() -> Vec<(&'static str, &'static str)> {
    let documents = [
        ("README.md", include_str!("../../../README.md")),
        ("README.zh-CN.md", include_str!("../../../README.zh-CN.md")),
        ("docs/metrics.md", include_str!("../../../docs/metrics.md")),
        ("docs/requirements.md", include_str!("../../../docs/requirements.md")),
        ("docs/events.md", include_str!("../../../docs/events.md")),
        ("docs/pcap.md", include_str!("../../../docs/pcap.md")),
        ("docs/report.md", include_str!("../../../docs/report.md")),
    ];
    let mut all = Vec::new();
    for (name, text) in documents {
        // Every other part is the inside of a block of code.
        let blocks = text.split("```").skip(1).step_by(2);
        let consoles = blocks.filter_map(|block| block.strip_prefix("console\n"));
        let lines = consoles.flat_map(|block| commands(block.lines()));
        all.extend(lines.map(|line| (name, line)));
    }
    all
}
