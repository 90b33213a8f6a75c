//! The locales that the `fake` crate has words for.

use fake::locales::{
    AR_SA, CY_GB, DE_DE, Data, EN, FA_IR, FR_FR, IT_IT, JA_JP, NL_NL, PT_BR, PT_PT, TR_TR, ZH_CN, ZH_TW,
};

/// The words of a locale.
pub(super) trait Words: Data + Copy {
    /// The locale as the crate's fakers want it.
    const LOCALE: Self;
}

macro_rules! locales {
    ($($name:literal $variant:ident $words:ident,)*) => {
        /// A locale.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub(in super::super) enum Locale {
            #[default]
            $($variant,)*
        }

        const ALL: &[(Locale, &str)] = &[$((Locale::$variant, $name),)*];

        $(impl Words for $words {
            const LOCALE: Self = $words;
        })*
    };
}

locales! {
    "en" En EN,
    "ar_sa" ArSa AR_SA,
    "cy_gb" CyGb CY_GB,
    "de_de" DeDe DE_DE,
    "fa_ir" FaIr FA_IR,
    "fr_fr" FrFr FR_FR,
    "it_it" ItIt IT_IT,
    "ja_jp" JaJp JA_JP,
    "nl_nl" NlNl NL_NL,
    "pt_br" PtBr PT_BR,
    "pt_pt" PtPt PT_PT,
    "tr_tr" TrTr TR_TR,
    "zh_cn" ZhCn ZH_CN,
    "zh_tw" ZhTw ZH_TW,
}

impl Locale {
    /// All of them, English first.
    pub(super) fn all() -> impl Iterator<Item = Locale> {
        ALL.iter().map(|(locale, _)| *locale)
    }

    /// Their names.
    pub(in super::super) fn names() -> impl Iterator<Item = &'static str> {
        ALL.iter().map(|(_, name)| *name)
    }

    /// Its name.
    pub(in super::super) fn name(self) -> &'static str {
        ALL.iter().find(|(locale, _)| *locale == self).map_or("", |(_, name)| name)
    }

    /// The locale of that name; `de_DE` and `de-de` are the same.
    pub(in super::super) fn find(name: &str) -> Option<Locale> {
        let name = name.to_ascii_lowercase().replace('-', "_");
        ALL.iter().find(|(_, known)| *known == name).map(|(locale, _)| *locale)
    }
}

/// The faker that a generic function is in a locale.
macro_rules! by_locale {
    ($locale:ident, $($function:ident)::+) => {{
        use fake::locales as l;
        use $crate::sources::generate::fakes::locale::Locale;
        let faker: $crate::sources::generate::fakes::Faker = match $locale {
            Locale::En => $($function)::+::<l::EN>,
            Locale::ArSa => $($function)::+::<l::AR_SA>,
            Locale::CyGb => $($function)::+::<l::CY_GB>,
            Locale::DeDe => $($function)::+::<l::DE_DE>,
            Locale::FaIr => $($function)::+::<l::FA_IR>,
            Locale::FrFr => $($function)::+::<l::FR_FR>,
            Locale::ItIt => $($function)::+::<l::IT_IT>,
            Locale::JaJp => $($function)::+::<l::JA_JP>,
            Locale::NlNl => $($function)::+::<l::NL_NL>,
            Locale::PtBr => $($function)::+::<l::PT_BR>,
            Locale::PtPt => $($function)::+::<l::PT_PT>,
            Locale::TrTr => $($function)::+::<l::TR_TR>,
            Locale::ZhCn => $($function)::+::<l::ZH_CN>,
            Locale::ZhTw => $($function)::+::<l::ZH_TW>,
        };
        faker
    }};
}
pub(super) use by_locale;
