//! Topics by the words of a question, in English or Chinese: Okapi BM25 over names, headings and paragraphs.

use std::{collections::HashMap, sync::LazyLock};

use super::{Lang, names, topics::Topic};

/// BM25's usual constants: how soon a word that is repeated counts no more, and how much the length of a text
/// matters.
const K1: f64 = 1.2;
const B: f64 = 0.6;
/// How much more a word counts in a name, or in a heading, than in a paragraph.
const NAME: u32 = 4;
const TITLE: u32 = 3;
/// Words that say nothing of what is asked.
const EMPTY: &[&str] = &[
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "can", "do", "does", "for", "from",
    "has", "have", "how", "i", "if", "in", "is", "it", "its", "me", "my", "no", "not", "of", "on",
    "one", "or", "so", "that", "the", "then", "there", "they", "this", "to", "under", "was", "we",
    "what", "when", "which", "while", "who", "why", "will", "with", "you", "my", "get", "gets",
    "even", "though", "linux", "error", "max", "maximum", "happens", "happen", "see", "seen",
    "show", "shows", "current", "too", "much", "many", "keep", "keeps", "still", "after", "never",
    "always", "use", "using", "should", "怎么", "什么", "为什", "么办", "如何", "是什", "我的",
    "这个", "一个", "出现", "问题", "原因", "为何",
];
/// Chinese characters that stand between words, or after them.
const BETWEEN: &str = "的和与是了吗呢在有或被把会要不没就还也却都对";
/// The same thing in other words: what people write, and what topics write.
const MEANT: &[(&str, &str)] = &[
    ("queue", "queue"),
    ("overflow", "overflowed overflows listenoverflows"),
    ("refused", "econnrefused"),
    ("timeout", "etimedout timed"),
    ("timeouts", "etimedout timed"),
    ("hang", "hangs stuck blocked"),
    ("hangs", "hang stuck blocked"),
    ("stuck", "hangs blocked"),
    ("slow", "delay delayed"),
    ("descriptors", "emfile descriptor"),
    ("php", "unix fpm"),
    ("拒绝", "econnrefused"),
    ("超时", "etimedout"),
    ("重置", "econnreset"),
    ("复位", "econnreset 重置"),
    ("洪水", "flooding"),
    ("攻击", "flooding"),
    ("句柄", "描述 emfile"),
    ("文件", "描述 emfile"),
    ("卡住", "阻塞"),
    ("握手", "ack"),
    ("established", "phantom believe 幽灵"),
    ("connected", "phantom believe 幽灵"),
    ("resend", "retransmit retransmission"),
    ("resends", "retransmit retransmission"),
    ("resending", "retransmit retransmission"),
    ("resent", "retransmit retransmission"),
    ("latency", "delay wait later.recovered"),
    ("length", "recv-q"),
    ("size", "limit"),
    ("max", "limit"),
    ("big", "limit"),
    ("exceeded", "full overflow limit"),
    ("small", "limit limit_clamped"),
    ("silently", "drop"),
    ("ignores", "drop unanswered"),
    ("ghost", "phantom"),
    ("zombie", "phantom"),
    ("throttling", "throttled"),
    ("quota", "throttled"),
    ("busy", "overload"),
    ("长度", "recv-q"),
    ("建连", "connect 连接"),
    ("耗时", "延迟 delay later.recovered etimedout"),
    ("变慢", "延迟 delay later.recovered etimedout"),
    ("延迟", "delay later.recovered"),
    ("服务端", "服务器"),
    ("响应", "应答"),
    ("看不到", "幽灵"),
    ("没有连接", "幽灵"),
    ("限流", "throttled 配额"),
    ("来不及", "overload busy"),
    ("忙", "overload busy"),
    ("重发", "重传"),
    ("打满", "队列满"),
];

/// A topic's words, and how many there are.
struct Document {
    topic: &'static Topic,
    words: HashMap<String, u32>,
    length: u32,
}

/// All topics' words, and of how many topics each is one.
struct Index {
    documents: Vec<Document>,
    topics: HashMap<String, u32>,
    mean: f64,
}

/// The topics that have most to do with these words, the best first; none if no word is in any.
pub fn search(question: &str, most: usize) -> Vec<&'static Topic> {
    static INDEX: LazyLock<Index> = LazyLock::new(Index::new);
    INDEX.search(question, most)
}

impl Index {
    fn new() -> Self {
        let mut documents: Vec<Document> = Topic::all().map(Document::of).collect();
        documents.sort_by_key(|document| document.topic.name);
        let mut topics: HashMap<String, u32> = HashMap::new();
        for word in documents.iter().flat_map(|document| document.words.keys()) {
            *topics.entry(word.clone()).or_default() += 1;
        }
        let all: u32 = documents.iter().map(|document| document.length).sum();
        let mean = f64::from(all) / count(documents.len()).max(1.0);
        Self { documents, topics, mean }
    }

    fn search(&self, question: &str, most: usize) -> Vec<&'static Topic> {
        let asked = asked(question);
        let score = |document: &Document| -> f64 {
            asked.iter().map(|(word, weight)| weight * self.score(document, word)).sum()
        };
        let mut scored: Vec<_> =
            self.documents.iter().map(|d| (score(d), d.topic)).filter(|(s, _)| *s > 0.0).collect();
        // The order of names decides between equals.
        scored.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        // What is asked for by a name comes first.
        let named = Topic::find(question);
        let others = scored.into_iter().map(|(_, topic)| topic).filter(|t| Some(*t) != named);
        named.into_iter().chain(others).take(most).collect()
    }

    fn score(&self, document: &Document, word: &str) -> f64 {
        let Some(times) = document.words.get(word).map(|times| f64::from(*times)) else {
            return 0.0;
        };
        let with = f64::from(self.topics.get(word).copied().unwrap_or(0));
        let rarity = ((count(self.documents.len()) - with + 0.5) / (with + 0.5)).ln_1p();
        let length = 1.0 - B + B * f64::from(document.length) / self.mean;
        rarity * times * (K1 + 1.0) / (times + K1 * length)
    }
}

impl Document {
    fn of(topic: &'static Topic) -> Self {
        let mut document = Self { topic, words: HashMap::new(), length: 0 };
        document.add(topic.name, NAME);
        for (name, _) in names::all().filter(|(_, of)| *of == topic.name) {
            document.add(name, NAME);
        }
        for lang in [Lang::En, Lang::Zh] {
            document.add(topic.title(lang), TITLE);
            for paragraph in topic.paragraphs(lang) {
                document.add(paragraph.text, 1);
            }
        }
        document
    }

    fn add(&mut self, text: &str, weight: u32) {
        for word in words(text) {
            *self.words.entry(word).or_default() += weight;
            self.length += 1;
        }
    }
}

/// The words of a question with their weights: what is only meant counts half.
fn asked(question: &str) -> Vec<(String, f64)> {
    let said = words(question);
    let whole = question.to_lowercase();
    let latin: Vec<&str> = whole.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let chinese = |word: &str| !word.is_ascii() && whole.contains(word);
    let meant = MEANT.iter().filter(|(word, _)| latin.contains(word) || chinese(word));
    let meant: Vec<String> = meant.flat_map(|(_, others)| words(others)).collect();
    let meant = meant.into_iter().filter(|word| !said.contains(word)).map(|word| (word, 0.5));
    let meant: Vec<_> = meant.collect();
    said.into_iter().map(|word| (word, 1.0)).chain(meant).collect()
}

/// Latin words in lower case, without the ends of plurals, also the parts of names that are put together; of
/// Chinese, which has no spaces, each two characters that stand together.
fn words(text: &str) -> Vec<String> {
    let text = text.to_lowercase();
    let mut words = Vec::new();
    let mut add = |word: &str| {
        if !word.is_empty() && !EMPTY.contains(&word) {
            words.push(stem(word));
        }
    };
    let latin = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for name in text.split(|c: char| !latin(c)) {
        let name = names::counter(name);
        add(name);
        if name.contains('_') {
            name.split('_').for_each(&mut add);
        }
    }
    let chinese = |c: char| ('\u{4e00}'..='\u{9fff}').contains(&c) && !BETWEEN.contains(c);
    for chinese in text.split(|c: char| !chinese(c)) {
        let characters: Vec<char> = chinese.chars().collect();
        for pair in characters.windows(2) {
            add(&pair.iter().collect::<String>());
        }
    }
    words
}

/// What forms of a word have in common: `connections` → `connection`, `dropped` and `dropping` → `drop`. It need
/// not be a word.
fn stem(word: &str) -> String {
    // A name of the kernel's is as it is.
    if !word.bytes().all(|b| b.is_ascii_lowercase()) {
        return word.to_owned();
    }
    let plural = word.len() > 4 && word.ends_with('s') && !word.ends_with("ss");
    let word = if plural { &word[..word.len() - 1] } else { word };
    let without = ["ing", "ed"].iter().find_map(|end| word.strip_suffix(end));
    let Some(stem) = without.filter(|stem| stem.len() >= 3) else {
        return word.strip_suffix('e').filter(|stem| stem.len() >= 3).unwrap_or(word).to_owned();
    };
    // `retransmitted`, `dropping`.
    let twice = stem.as_bytes().rchunks(2).next().is_some_and(|two| two[0] == two[1]);
    if twice && !stem.ends_with("ss") { stem[..stem.len() - 1].to_owned() } else { stem.to_owned() }
}

fn count(n: usize) -> f64 {
    u32::try_from(n).map_or(f64::MAX, f64::from)
}

#[cfg(test)]
mod tests;
