//! The languages of the knowledge base.

/// A language.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum Lang {
    /// English.
    #[default]
    En,
    /// Chinese.
    Zh,
}

impl Lang {
    /// The language of a locale as in `LANG`: `zh_CN.UTF-8` is Chinese, all others are English. So is
    /// `zh_CN.GBK`, whose terminal would show UTF-8 as noise.
    pub fn of_locale(locale: &str) -> Self {
        let language = locale.split(['_', '.', '@', '-']).next().unwrap_or("");
        let codeset = locale.split_once('.').map(|(_, rest)| rest.to_ascii_lowercase());
        let utf8 = codeset.is_none_or(|set| set.starts_with("utf-8") || set.starts_with("utf8"));
        if language.eq_ignore_ascii_case("zh") && utf8 { Self::Zh } else { Self::En }
    }

    /// One of two texts.
    pub const fn pick<'a>(self, en: &'a str, zh: &'a str) -> &'a str {
        match self {
            Self::En => en,
            Self::Zh => zh,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locales() {
        for zh in ["zh_CN.UTF-8", "zh", "zh-Hans", "zh_TW@x", "ZH_CN"] {
            assert_eq!(Lang::of_locale(zh), Lang::Zh, "{zh}");
        }
        for en in ["", "C", "POSIX", "en_US.UTF-8", "de_DE", "zhx", "zh_CN.GBK", "zh_TW.Big5"] {
            assert_eq!(Lang::of_locale(en), Lang::En, "{en}");
        }
    }
}
