//! Small tables for what the `fake` crate lacks.

/// Languages by their English names: those with the most speakers, and the official ones of Europe.
pub(super) const LANGUAGES: &[&str] = &[
    "Afrikaans", "Albanian", "Amharic", "Arabic", "Armenian", "Assamese", "Azerbaijani", "Basque", "Belarusian",
    "Bengali", "Bosnian", "Bulgarian", "Burmese", "Catalan", "Cebuano", "Chinese", "Croatian", "Czech", "Danish",
    "Dutch", "English", "Estonian", "Finnish", "French", "Galician", "Georgian", "German", "Greek", "Gujarati",
    "Hausa", "Hebrew", "Hindi", "Hungarian", "Icelandic", "Igbo", "Indonesian", "Irish", "Italian", "Japanese",
    "Javanese", "Kannada", "Kazakh", "Khmer", "Kinyarwanda", "Korean", "Kurdish", "Kyrgyz", "Lao", "Latvian",
    "Lithuanian", "Luxembourgish", "Macedonian", "Malagasy", "Malay", "Malayalam", "Maltese", "Maori", "Marathi",
    "Mongolian", "Nepali", "Norwegian", "Odia", "Pashto", "Persian", "Polish", "Portuguese", "Punjabi", "Quechua",
    "Romanian", "Russian", "Serbian", "Shona", "Sindhi", "Sinhala", "Slovak", "Slovenian", "Somali", "Spanish",
    "Sundanese", "Swahili", "Swedish", "Tagalog", "Tajik", "Tamil", "Tatar", "Telugu", "Thai", "Tibetan", "Turkish",
    "Turkmen", "Ukrainian", "Urdu", "Uyghur", "Uzbek", "Vietnamese", "Welsh", "Xhosa", "Yoruba", "Zulu",
];

/// Languages by their codes of ISO 639-1.
pub(super) const LANGUAGE_CODES: &[&str] = &[
    "af", "sq", "am", "ar", "hy", "as", "az", "eu", "be", "bn", "bs", "bg", "my", "ca", "zh", "hr", "cs", "da", "nl",
    "en", "et", "fi", "fr", "gl", "ka", "de", "el", "gu", "ha", "he", "hi", "hu", "is", "ig", "id", "ga", "it", "ja",
    "jv", "kn", "kk", "km", "rw", "ko", "ku", "ky", "lo", "lv", "lt", "lb", "mk", "mg", "ms", "ml", "mt", "mi", "mr",
    "mn", "ne", "no", "or", "ps", "fa", "pl", "pt", "pa", "qu", "ro", "ru", "sr", "sn", "sd", "si", "sk", "sl", "so",
    "es", "su", "sw", "sv", "tl", "tg", "ta", "tt", "te", "th", "bo", "tr", "tk", "uk", "ur", "ug", "uz", "vi", "cy",
    "xh", "yo", "zu",
];

/// Languages and the countries that speak them.
pub(super) const LOCALES: &[&str] = &[
    "af_ZA", "am_ET", "ar_AE", "ar_EG", "ar_MA", "ar_SA", "az_AZ", "be_BY", "bg_BG", "bn_BD", "bn_IN", "bs_BA",
    "ca_ES", "cs_CZ", "cy_GB", "da_DK", "de_AT", "de_CH", "de_DE", "de_LU", "el_CY", "el_GR", "en_AU", "en_CA",
    "en_GB", "en_IE", "en_IN", "en_NG", "en_NZ", "en_PH", "en_SG", "en_US", "en_ZA", "es_AR", "es_CL", "es_CO",
    "es_ES", "es_MX", "es_PE", "es_VE", "et_EE", "eu_ES", "fa_IR", "fi_FI", "fil_PH", "fr_BE", "fr_CA", "fr_CH",
    "fr_FR", "fr_LU", "ga_IE", "gl_ES", "gu_IN", "he_IL", "hi_IN", "hr_HR", "hu_HU", "hy_AM", "id_ID", "is_IS",
    "it_CH", "it_IT", "ja_JP", "ka_GE", "kk_KZ", "km_KH", "kn_IN", "ko_KR", "lo_LA", "lt_LT", "lv_LV", "mk_MK",
    "ml_IN", "mn_MN", "mr_IN", "ms_MY", "mt_MT", "my_MM", "nb_NO", "ne_NP", "nl_BE", "nl_NL", "nn_NO", "or_IN",
    "pa_IN", "pl_PL", "ps_AF", "pt_AO", "pt_BR", "pt_PT", "ro_MD", "ro_RO", "ru_KZ", "ru_RU", "si_LK", "sk_SK",
    "sl_SI", "sq_AL", "sr_RS", "sv_FI", "sv_SE", "sw_KE", "sw_TZ", "ta_IN", "ta_LK", "te_IN", "th_TH", "tr_TR",
    "uk_UA", "ur_PK", "uz_UZ", "vi_VN", "zh_CN", "zh_HK", "zh_SG", "zh_TW", "zu_ZA",
];

/// Colours by their names in CSS.
pub(super) const COLORS: &[&str] = &[
    "aqua", "azure", "beige", "bisque", "black", "blue", "brown", "chocolate", "coral", "crimson", "cyan", "fuchsia",
    "gold", "gray", "green", "indigo", "ivory", "khaki", "lavender", "lime", "linen", "magenta", "maroon", "navy",
    "olive", "orange", "orchid", "peru", "pink", "plum", "purple", "red", "salmon", "sienna", "silver", "snow", "tan",
    "teal", "thistle", "tomato", "turquoise", "violet", "wheat", "white", "yellow",
];

pub(super) const MONTHS: &[&str] = &[
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
];

pub(super) const WEEKDAYS: &[&str] = &["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// The status codes of HTTP that an RFC defines.
pub(super) const HTTP_STATUS: &[u64] = &[
    100, 101, 102, 200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304, 305, 307, 308, 400, 401,
    402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 418, 421, 422, 423, 424, 425, 426,
    428, 429, 431, 451, 500, 501, 502, 503, 504, 505, 506, 507, 508, 510, 511,
];
