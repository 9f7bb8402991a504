//! What examples write.

/// The files that a command is told to write.
pub fn writes(words: &[String]) -> impl Iterator<Item = &str> {
    let written =
        |pair: &[String]| ["--annotate", "--record", "--report"].contains(&pair[0].as_str());
    words.windows(2).filter(move |pair| written(pair)).map(|pair| pair[1].as_str())
}
