//! Companies, money, words, colours, days.

use super::{
    Entry, Rng, Words, global, local,
    write::{fill, hex, number, pick, some, two},
};
use crate::sources::generate::{text::day, values::push};

pub(super) const ALL: &[Entry] = &[
    local!("company" or "company_name" => company),
    local!("company_suffix" => company_suffix),
    local!("catch_phrase" => catch_phrase),
    local!("buzzword" => buzzword),
    local!("buzzword_middle" => buzzword_middle),
    local!("buzzword_tail" => buzzword_tail),
    local!("bs" => bs),
    local!("bs_verb" => bs_verb),
    local!("bs_adj" => bs_adj),
    local!("bs_noun" => bs_noun),
    local!("industry" => industry),
    local!("currency_code" => currency_code),
    local!("currency_name" => currency_name),
    local!("currency_symbol" => currency_symbol),
    local!("word" => word),
    local!("words" => words),
    local!("sentence" => sentence),
    local!("sentences" => sentences),
    local!("paragraph" => paragraph),
    local!("paragraphs" => paragraphs),
    local!("italic_word" => italic_word),
    local!("bold_word" => bold_word),
    local!("link" => link),
    local!("bullet_points" => bullet_points),
    local!("list_items" => list_items),
    local!("block_quote_single_line" => block_quote_single_line),
    local!("block_quote_multi_line" => block_quote_multi_line),
    local!("code" => code),
    global!("hex_color" => hex_color),
    global!("rgb_color" => rgb_color),
    global!("rgba_color" => rgba_color),
    global!("hsl_color" => hsl_color),
    global!("hsla_color" => hsla_color),
    global!("color" or "color_name" => |rng, out| out.push_str(pick(rng, super::tables::COLORS))),
    global!("digit" => |rng, out| number(rng.below(10), out)),
    global!("boolean" => |rng, out| out.push_str(pick(rng, &["true", "false"]))),
    global!("date" => date),
    global!("time" => time),
    global!("date_time" => date_time),
    global!("duration" => duration),
    global!("year" => |rng, out| number(1970 + rng.below(55), out)),
    global!("month" => |rng, out| two(1 + rng.below(12), out)),
    global!("month_name" => |rng, out| out.push_str(pick(rng, super::tables::MONTHS))),
    global!("day_of_month" => |rng, out| two(1 + rng.below(28), out)),
    global!("day_of_week" => |rng, out| out.push_str(pick(rng, super::tables::WEEKDAYS))),
];

fn company<L: Words>(rng: &mut Rng, out: &mut String) {
    let template = pick(rng, L::COMPANY_NAME_TPLS);
    fill(template, out, |key, out| {
        out.push_str(match key {
            "Suffix" => pick(rng, L::COMPANY_SUFFIX),
            _ => pick(rng, L::NAME_LAST_NAME),
        });
    });
}

fn company_suffix<L: Words>(rng: &mut Rng, out: &mut String) {
    out.push_str(pick(rng, L::COMPANY_SUFFIX));
}

fn catch_phrase<L: Words>(rng: &mut Rng, out: &mut String) {
    fill(L::COMPANY_CATCH_PHASE_TPL, out, |key, out| {
        out.push_str(match key {
            "Head" => pick(rng, L::COMPANY_BUZZWORD_HEAD),
            "Middle" => pick(rng, L::COMPANY_BUZZWORD_MIDDLE),
            _ => pick(rng, L::COMPANY_BUZZWORD_TAIL),
        });
    });
}

fn buzzword<L: Words>(rng: &mut Rng, out: &mut String) {
    out.push_str(pick(rng, L::COMPANY_BUZZWORD_HEAD));
}

fn buzzword_middle<L: Words>(rng: &mut Rng, out: &mut String) {
    out.push_str(pick(rng, L::COMPANY_BUZZWORD_MIDDLE));
}

fn buzzword_tail<L: Words>(rng: &mut Rng, out: &mut String) {
    out.push_str(pick(rng, L::COMPANY_BUZZWORD_TAIL));
}

fn bs<L: Words>(rng: &mut Rng, out: &mut String) {
    fill(L::COMPANY_BS_TPL, out, |key, out| {
        out.push_str(match key {
            "Verb" => pick(rng, L::COMPANY_BS_VERBS),
            "Adj" => pick(rng, L::COMPANY_BS_ADJ),
            _ => pick(rng, L::COMPANY_BS_NOUNS),
        });
    });
}

fn bs_verb<L: Words>(rng: &mut Rng, out: &mut String) {
    out.push_str(pick(rng, L::COMPANY_BS_VERBS));
}

fn bs_adj<L: Words>(rng: &mut Rng, out: &mut String) {
    out.push_str(pick(rng, L::COMPANY_BS_ADJ));
}

fn bs_noun<L: Words>(rng: &mut Rng, out: &mut String) {
    out.push_str(pick(rng, L::COMPANY_BS_NOUNS));
}

fn industry<L: Words>(rng: &mut Rng, out: &mut String) {
    out.push_str(pick(rng, L::COMPANY_INDUSTRY));
}

fn currency_code<L: Words>(rng: &mut Rng, out: &mut String) {
    out.push_str(pick(rng, L::CURRENCY_CODE));
}

fn currency_name<L: Words>(rng: &mut Rng, out: &mut String) {
    out.push_str(pick(rng, L::CURRENCY_NAME));
}

fn currency_symbol<L: Words>(rng: &mut Rng, out: &mut String) {
    out.push_str(pick(rng, L::CURRENCY_SYMBOL));
}

pub(super) fn word<L: Words>(rng: &mut Rng, out: &mut String) {
    out.push_str(pick(rng, L::LOREM_WORD));
}

fn words<L: Words>(rng: &mut Rng, out: &mut String) {
    some(rng, (3, 5), " ", out, |rng, _, out| word::<L>(rng, out));
}

fn sentence<L: Words>(rng: &mut Rng, out: &mut String) {
    some(rng, (4, 9), " ", out, |rng, _, out| word::<L>(rng, out));
    out.push('.');
}

fn sentences<L: Words>(rng: &mut Rng, out: &mut String) {
    some(rng, (3, 5), " ", out, |rng, _, out| sentence::<L>(rng, out));
}

fn paragraph<L: Words>(rng: &mut Rng, out: &mut String) {
    some(rng, (4, 6), "\n", out, |rng, _, out| sentence::<L>(rng, out));
}

fn paragraphs<L: Words>(rng: &mut Rng, out: &mut String) {
    some(rng, (3, 5), "\n\n", out, |rng, _, out| paragraph::<L>(rng, out));
}

fn italic_word<L: Words>(rng: &mut Rng, out: &mut String) {
    out.push('*');
    word::<L>(rng, out);
    out.push('*');
}

fn bold_word<L: Words>(rng: &mut Rng, out: &mut String) {
    out.push_str("**");
    word::<L>(rng, out);
    out.push_str("**");
}

fn link<L: Words>(rng: &mut Rng, out: &mut String) {
    out.push('[');
    word::<L>(rng, out);
    out.push_str("](https://");
    word::<L>(rng, out);
    out.push(')');
}

fn bullet_points<L: Words>(rng: &mut Rng, out: &mut String) {
    some(rng, (3, 5), "\n", out, |rng, _, out| {
        out.push_str("- ");
        word::<L>(rng, out);
    });
}

fn list_items<L: Words>(rng: &mut Rng, out: &mut String) {
    some(rng, (3, 5), "\n", out, |rng, i, out| {
        number(i + 1, out);
        out.push_str(". ");
        word::<L>(rng, out);
    });
}

fn block_quote_single_line<L: Words>(rng: &mut Rng, out: &mut String) {
    out.push_str("> ");
    sentence::<L>(rng, out);
}

fn block_quote_multi_line<L: Words>(rng: &mut Rng, out: &mut String) {
    some(rng, (3, 5), "\n", out, |rng, _, out| block_quote_single_line::<L>(rng, out));
}

fn code<L: Words>(rng: &mut Rng, out: &mut String) {
    out.push_str("```\n");
    sentence::<L>(rng, out);
    out.push_str("\n```");
}

fn hex_color(rng: &mut Rng, out: &mut String) {
    out.push('#');
    hex(rng.next(), 6, false, out);
}

fn rgb(rng: &mut Rng, out: &mut String) {
    let bits = rng.next();
    push(out, format_args!("{}, {}, {}", bits & 255, bits >> 8 & 255, bits >> 16 & 255));
}

fn rgb_color(rng: &mut Rng, out: &mut String) {
    out.push_str("rgb(");
    rgb(rng, out);
    out.push(')');
}

fn rgba_color(rng: &mut Rng, out: &mut String) {
    out.push_str("rgba(");
    rgb(rng, out);
    push(out, format_args!(", {:.2})", rng.unit()));
}

fn hsl(rng: &mut Rng, out: &mut String) {
    push(out, format_args!("{}, {}%, {}%", rng.below(360), rng.below(101), rng.below(101)));
}

fn hsl_color(rng: &mut Rng, out: &mut String) {
    out.push_str("hsl(");
    hsl(rng, out);
    out.push(')');
}

fn hsla_color(rng: &mut Rng, out: &mut String) {
    out.push_str("hsla(");
    hsl(rng, out);
    push(out, format_args!(", {:.2})", rng.unit()));
}

/// The days from 1970-01-01 to 2024-12-31: a fixed span, so that values do not depend on when they are made.
const DAYS: u64 = 20_089;

fn date(rng: &mut Rng, out: &mut String) {
    day(rng.below(DAYS) as i32, out);
}

fn time(rng: &mut Rng, out: &mut String) {
    let second = rng.below(86_400);
    two(second / 3600, out);
    out.push(':');
    two(second / 60 % 60, out);
    out.push(':');
    two(second % 60, out);
}

fn date_time(rng: &mut Rng, out: &mut String) {
    date(rng, out);
    out.push('T');
    time(rng, out);
    out.push('Z');
}

/// ISO 8601, up to a month.
fn duration(rng: &mut Rng, out: &mut String) {
    push(out, format_args!("P{}DT{}H{}M{}S", rng.below(31), rng.below(24), rng.below(60), rng.below(60)));
}
