//! What `overflow explain` says, as one page in each language.

use overflow_core::explain::{
    Lang as Spoken,
    topics::{CAUSES, FEATURES, SYMPTOMS, Topic, VERDICTS},
};

use super::{
    Files, Lang, markdown,
    shell::{Shell, escape},
};

/// Adds them.
pub fn pages(files: &mut Files) {
    for lang in Lang::ALL {
        files.insert(lang.file("topics"), page(lang).into_bytes());
    }
}

fn page(lang: Lang) -> String {
    let spoken = match lang {
        Lang::En => Spoken::En,
        Lang::Zh => Spoken::Zh,
    };
    let heading = lang.pick("What happens, why, and how it shows", "发生了什么、为什么、如何显现");
    let mut body = format!("<main id=\"main\" class=\"document\">\n<h1>{heading}</h1>\n");
    let parts: [(&str, &[Topic]); 4] = [
        (lang.pick("Verdicts", "判定"), VERDICTS),
        (lang.pick("Causes", "原因"), CAUSES),
        (lang.pick("Kernel features", "内核特性"), FEATURES),
        (lang.pick("Symptoms", "症状"), SYMPTOMS),
    ];
    for (name, topics) in parts {
        body.extend(["<h2>", name, "</h2>\n"]);
        body.extend(topics.iter().map(|topic| section(topic, spoken)));
    }
    body += "</main>";
    let title = format!("{heading} – overflow");
    let other = lang.other().file("topics");
    let other = Some(other.as_str());
    Shell { lang, title: &title, other, style: "", script_policy: "", body: &body }.html()
}

fn section(topic: &Topic, lang: Spoken) -> String {
    let mut html = format!(
        "<h3 id=\"{}\"><code>{}</code> {}</h3>\n",
        escape(topic.name),
        escape(topic.name),
        escape(topic.title(lang))
    );
    for paragraph in topic.paragraphs(lang) {
        let text = format!("**{}** {}", paragraph.label, paragraph.text);
        html += &markdown::render(&text, &mut |_| None).html;
    }
    html
}
