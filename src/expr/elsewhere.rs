//! What other systems have that is called otherwise here, or is not here: the way out, in a sentence.

/// What to use in place of a function that other systems have.
pub(super) fn function(name: &str) -> Option<&'static str> {
    Some(match name.to_ascii_lowercase().as_str() {
        "nvl" | "ifnull" | "isnull" => "use `coalesce(a, b)`",
        "if" | "iif" | "decode" => "use `case when … then … else … end`",
        "strftime" | "to_char" | "date_format" | "format_datetime" => {
            "not available; a date in a text is `cast(d as string)`, its parts are `extract(year from d)` and so on"
        }
        "strptime" | "to_date" | "str_to_date" | "to_timestamp" | "parse_date" => {
            "not available; `cast(text as date)` takes YYYY-MM-DD, and `split_part` and `||` bring parts in that order"
        }
        "datediff" | "date_diff" | "timestampdiff" => "use `(epoch(b) - epoch(a)) / 86400` for days",
        "dateadd" | "date_add" => "use `d + interval '1 day'`",
        "greatest" => "use `case when a >= b then a else b end`",
        "least" => "use `case when a <= b then a else b end`",
        "left" => "use `substr(text, 1, n)`",
        "right" => "use `substr(text, length(text) - n + 1)`",
        "lpad" | "rpad" => {
            "not available; `substr('00000' || text, length(text) + 1)` fills a short text up from the left"
        }
        "regexp_extract" | "regexp_substr" => {
            "use `regexp_replace` with a group, over the whole text: `'^.*?(…).*$', '\\1'`"
        }
        "current_date" | "curdate" | "today" => "use `cast(now() as date)`",
        "current_timestamp" | "getdate" | "sysdate" | "localtimestamp" => "use `now()`",
        "len" | "char_length" | "character_length" => "use `length(text)`",
        "substring" | "mid" => "use `substr(text, from, count)`",
        "ucase" | "toupper" => "use `upper(text)`",
        "lcase" | "tolower" => "use `lower(text)`",
        "strpos" | "instr" | "charindex" | "locate" => "use `position(part in text)`",
        "to_number" | "to_int" | "int" | "parseint" => "use `cast(text as int64)`",
        _ => return None,
    })
}

/// What to write in place of an operator that other languages have.
pub(super) fn operator(sign: &str) -> Option<&'static str> {
    Some(match sign {
        "&&" => "use `and`",
        "!" => "use `not`",
        "==" => "use `=`",
        "<<" | ">>" | "&" | "|" | "#" => "there are no operators on bits",
        "^@" => "use `starts_with(text, part)`",
        _ => return None,
    })
}
