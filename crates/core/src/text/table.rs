//! A table that fits the page: first its gaps shrink, then its least important columns go.

use super::style::{Page, Tone};

/// One column.
pub struct Column {
    /// Its heading.
    pub title: &'static str,
    /// Whether its cells are set to the right.
    pub right: bool,
    /// 0 always stays; of the others the highest goes first when the page is too narrow.
    pub rank: u8,
}

impl Column {
    /// Set to the left; `rank` says which column gives way first.
    pub const fn left(title: &'static str, rank: u8) -> Self {
        Self { title, right: false, rank }
    }

    /// Set to the right.
    pub const fn right(title: &'static str, rank: u8) -> Self {
        Self { title, right: true, rank }
    }
}

/// One field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Field {
    /// What it says.
    pub text: String,
    /// How it is coloured.
    pub tone: Tone,
}

impl Field {
    /// A cell of a row.
    pub fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone }
    }
}

const INDENT: usize = 2;

/// Sets the table; a column without any text in its rows is left out.
pub fn table(page: &mut Page, columns: &[Column], rows: &[Vec<Field>]) {
    let width_of = |page: &Page, at: usize| {
        let widest = rows.iter().map(|r| page.symbols(&r[at].text).chars().count()).max();
        widest.unwrap_or(0)
    };
    let mut shown: Vec<(usize, usize)> = (0..columns.len())
        .map(|at| (at, width_of(page, at)))
        .filter(|(_, width)| *width > 0)
        .map(|(at, width)| (at, width.max(columns[at].title.chars().count())))
        .collect();
    let total = |shown: &[(usize, usize)], gap: usize| {
        let columns: usize = shown.iter().map(|(_, width)| width + gap).sum();
        INDENT + columns.saturating_sub(gap)
    };
    let mut gap = 2;
    while total(&shown, gap) > page.width() {
        if gap == 2 {
            gap = 1;
            continue;
        }
        let least = shown.iter().enumerate().max_by_key(|(_, (at, _))| columns[*at].rank);
        match least {
            Some((index, (at, _))) if columns[*at].rank > 0 => {
                shown.remove(index);
                gap = 2;
            }
            _ => break,
        }
    }
    let title = |at: usize| Field::new(columns[at].title, Tone::Dim);
    let titles: Vec<Field> = (0..columns.len()).map(title).collect();
    for row in std::iter::once(&titles).chain(rows) {
        let mut line = " ".repeat(INDENT);
        for (at, width) in &shown {
            let field = &row[*at];
            let len = page.symbols(&field.text).chars().count();
            let pad = " ".repeat(width.saturating_sub(len));
            let text = page.paint(field.tone, &field.text);
            if columns[*at].right {
                line.push_str(&pad);
                line.push_str(&text);
            } else {
                line.push_str(&text);
                line.push_str(&pad);
            }
            line.push_str(&" ".repeat(gap));
        }
        page.line(&line);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::style::Options, *};

    fn check(width: usize, expect: &str) {
        let columns = [Column::right("no", 0), Column::left("what", 1), Column::left("extra", 2)];
        let row = |texts: [&str; 3]| texts.map(|t| Field::new(t, Tone::Plain)).to_vec();
        let rows = [row(["1", "one", "uno"]), row(["20", "twenty", "veinte"])];
        let mut page = Page::new(Options { width, ..Options::default() });
        table(&mut page, &columns, &rows);
        let mut text = Vec::new();
        page.write_to(&mut text).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), expect);
    }

    #[test]
    fn shrinks_its_gaps_then_drops_columns() {
        check(80, "  no  what    extra\n   1  one     uno\n  20  twenty  veinte\n");
        check(18, "  no what   extra\n   1 one    uno\n  20 twenty veinte\n");
        check(17, "  no  what\n   1  one\n  20  twenty\n");
        check(3, "  no\n   1\n  20\n");
    }
}
