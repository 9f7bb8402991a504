//! Words of a line of a script: those with a place, and those with a key.

use std::str::FromStr;

use anyhow::{Context as _, Result, bail};

/// The words that are not taken yet.
pub struct Words<'a> {
    line: &'a str,
    plain: std::collections::VecDeque<&'a str>,
    keyed: Vec<(&'a str, &'a str)>,
}

impl<'a> Words<'a> {
    /// Of a line: `KEY=VALUE` has a key, everything else a place.
    pub fn of(line: &'a str) -> Self {
        let (keyed, plain): (Vec<_>, Vec<_>) =
            line.split_whitespace().partition(|word| word.contains('='));
        let keyed = keyed.into_iter().filter_map(|word| word.split_once('=')).collect();
        Self { line, plain: plain.into(), keyed }
    }

    /// The next one, which must be there.
    pub fn next(&mut self, what: &str) -> Result<&'a str> {
        self.plain.pop_front().with_context(|| format!("`{}` lacks {what}", self.line))
    }

    /// The next one, a number or the like.
    pub fn parse<T: FromStr>(&mut self, what: &str) -> Result<T> {
        let word = self.next(what)?;
        word.parse().ok().with_context(|| format!("`{}`: {word} is no {what}", self.line))
    }

    /// Whether this word is there.
    pub fn has(&mut self, word: &str) -> bool {
        let before = self.plain.len();
        self.plain.retain(|other| *other != word);
        self.plain.len() < before
    }

    /// The value of this key.
    pub fn key<T: FromStr>(&mut self, key: &str) -> Result<Option<T>> {
        let Some(at) = self.keyed.iter().position(|(k, _)| *k == key) else { return Ok(None) };
        let (_, value) = self.keyed.remove(at);
        let parsed = value.parse().ok();
        parsed.map(Some).with_context(|| format!("`{}`: {key} cannot be {value}", self.line))
    }

    /// All plain words that are left.
    pub fn rest(&mut self) -> Vec<String> {
        self.plain.drain(..).map(str::to_owned).collect()
    }

    /// Fails if a word is left that nobody asked for.
    pub fn end(self) -> Result<()> {
        let keys = self.keyed.iter().map(|(key, _)| *key);
        let left: Vec<_> = self.plain.iter().copied().chain(keys).collect();
        if left.is_empty() { Ok(()) } else { bail!("`{}`: what is {}?", self.line, left.join(" ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_must_be_asked_for() {
        let mut words = Words::of("80 n=3 v6");
        assert_eq!(words.parse::<u16>("port").unwrap(), 80);
        assert!(words.has("v6") && !words.has("v4"));
        assert_eq!(words.key::<u32>("n").unwrap(), Some(3));
        assert_eq!(words.key::<u32>("m").unwrap(), None);
        assert!(words.next("name").is_err());
        words.end().unwrap();
        assert!(Words::of("n=3").end().is_err() && Words::of("x").end().is_err());
        assert!(Words::of("n=x").key::<u32>("n").is_err());
    }
}
