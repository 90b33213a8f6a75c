//! What is wrong with an expression, and where.

use super::*;

const PATHS: &str = "legal are `'key'`, `'$.key[0].\"any key\"'`, `'/key/0'` and `0`";

/// The errors of an expression: the text that each underlines, its message, its hint.
fn errors(expression: &str) -> Vec<(&str, String, String)> {
    let found: Vec<ExprError> = compile(expression, &schema()).expect_err("it is wrong");
    found.into_iter().map(|e| (&expression[e.start..e.end], e.message, e.help.unwrap_or_default())).collect()
}

#[test]
fn errors_are_underlined_and_named() {
    let table = [
        ("", "", "the expression is empty", ""),
        ("i +", "", "expected an expression, found the end", ""),
        ("i + )", ")", "expected an expression, found `)`", ""),
        ("i = 7 j", "j", "expected one expression, but `j` follows it", ""),
        ("i = 'abc", "'abc", "unterminated string literal", ""),
        ("tss = 7", "tss", "there is no column `tss`", "did you mean `ts`?"),
        ("\"dd\" is null", "\"dd\"", "there is no column `dd`", "did you mean `d`?"),
        ("twice", "twice", "`twice` could be any of `Twice`, `TWICE`", "write it as it is declared"),
        ("t.s", "t.s", "there are no tables here: `t.s`", "name the column alone: `s`"),
        ("interval '1 day'", "interval '1 day'", "an interval that is not added to a time is not supported here", ""),
        (
            "ts * interval '1 day'",
            "interval '1 day'",
            "`*` does not take intervals: they are added to times with `+` and `-`",
            "",
        ),
        ("i + interval '1 day'", "i", "an interval is added to a date or a timestamp, and this is `int32`", ""),
        ("ts + interval '1 dya'", "interval '1 dya'", "`dya` is not a unit of an interval", "did you mean `day`?"),
        ("ts + interval 'soon'", "interval 'soon'", "an interval is written like `interval '1 month 2 days'`", ""),
        ("ts + interval '9999999999 years'", "interval '9999999999 years'", "the interval is too long", ""),
        ("now(1)", "now(1)", "`now` takes 0 arguments, not 1", "it is `now()`"),
        ("md5(i)", "i", "argument 1 of `md5` must be: string; this is `int32`", "it is `md5(string)`"),
        ("lowr(s)", "lowr", "there is no function `lowr`", "did you mean `lower`?"),
        ("frobnicate(s)", "frobnicate", "there is no function `frobnicate`", ""),
        ("1 + lower(s, t)", "lower(s, t)", "`lower` takes 1 argument, not 2", "it is `lower(string)`"),
        (
            "substr(s)",
            "substr(s)",
            "`substr` takes 2 to 3 arguments, not 1",
            "it is `substr(string, integer[, integer])`",
        ),
        ("coalesce()", "coalesce()", "`coalesce` takes at least 1 argument, not 0", "it is `coalesce(any, …)`"),
        ("lower(i)", "i", "argument 1 of `lower` must be: string; this is `int32`", "it is `lower(string)`"),
        (
            "list_contains(l, 'x')",
            "'x'",
            "argument 2 of `list_contains` must be: item of the list; this is `string`",
            "it is `list_contains(list, item of the list)`",
        ),
        ("s = 5", "s = 5", "cannot compare `string` with `int64`", "cast one of them: `cast(s as float64)`"),
        ("(i) < s", "(i) < s", "cannot compare `int32` with `string`", "cast one of them: `cast(s as float64)`"),
        ("b = i", "b = i", "cannot compare `bool` with `int32`", ""),
        ("l = l", "l", "lists cannot be compared", ""),
        ("d > '2020-13-01'", "'2020-13-01'", "`2020-13-01` is not a date", ""),
        ("ts between '2020-01-01' and 'x'", "'x'", "`x` is not a timestamp", ""),
        ("d in ('2020-01-01', 'soon')", "'soon'", "`soon` is not a date", ""),
        ("date '2020-02-30'", "date '2020-02-30'", "`2020-02-30` is not a date", ""),
        ("i in (1, 'x')", "'x'", "cannot compare `int32` with `string`", ""),
        ("i in (l)", "l", "lists cannot be compared", "`list_contains(list, value)` looks into a list"),
        ("s + 1", "s", "`+` needs numbers, not `string`", "`||` joins texts"),
        ("-s", "s", "`-` needs a number, not `string`", ""),
        ("not s", "s", "`not` needs a boolean, not `string`", "compare it with something"),
        ("b and i", "i", "`and` needs a boolean, not `int32`", "compare it with something"),
        ("(s) is true", "(s)", "`is true` needs a boolean, not `string`", "compare it with something"),
        ("case when s then 1 end", "s", "`when` needs a boolean, not `string`", "compare it with something"),
        (
            "case when b then 1 else 'x' end",
            "'x'",
            "the branches of `case` need one type: `string` does not go with `int64`",
            "",
        ),
        ("coalesce(s, 1)", "1", "`coalesce` needs values of one type: `int64` does not go with `string`", ""),
        ("i like '7'", "i", "`like` needs a string, not `int32`", "cast it: `cast(i as string)`"),
        (
            "s like t",
            "t",
            "the pattern of `like` must be a constant",
            "`contains`, `starts_with` and `ends_with` take any string",
        ),
        ("s like 'a!' escape '!'", "'a!'", "the pattern ends with its escape character `!`", ""),
        ("s like 'a' escape '!!'", "'!!'", "the escape character must be a string of one character", ""),
        ("l || s", "l", "`||` needs strings, numbers or dates, not `list<uint32>`", ""),
        ("cast(s as intt)", "intt", "there is no type `intt` to cast to", "did you mean `int`?"),
        ("s::intt", "intt", "there is no type `intt` to cast to", "did you mean `int`?"),
        (
            "cast(j as int)",
            "cast(j as int)",
            "`json` cannot be cast to `int32`",
            "take a value out of it first: `cast(j ->> '$.key' as int32)`",
        ),
        ("cast('x' as int) + 1", "cast('x' as int)", "`x` is not an int32", ""),
        ("1 // 0", "1 // 0", "division by zero: `1 // 0`", ""),
        ("-(18446744073709551615)", "-(18446744073709551615)", "`18446744073709551615` is out of range for int64", ""),
        (
            "cast(['1', concat(null between 1 and 7, 'x')] as int[])",
            "cast(['1', concat(null between 1 and 7, 'x')] as int[])",
            "`[1, x]` is not a list<int32>",
            "",
        ),
        (
            "9223372036854775807 + 1",
            "9223372036854775807 + 1",
            "`9223372036854775807 + 1` is out of range for int64",
            "",
        ),
        (
            "99999999999999999999",
            "99999999999999999999",
            "the number `99999999999999999999` is too large",
            "write it as a float: `1e20`",
        ),
        ("i[1]", "i[1]", "`[…]` takes an item of a list, and this is `int32`", ""),
        ("l[1:2]", "l[1:2]", "slices of lists are not supported", ""),
        ("i & 1", "i & 1", "the operator `&` is not supported", ""),
        ("i in (select 1)", "i in (select 1)", "subqueries are not supported here", ""),
        ("i = (select 1)", "(select 1)", "subqueries are not supported here", ""),
        ("exists (select 1)", "exists (select 1)", "subqueries are not supported here", ""),
        ("b = (1, 2)", "(1, 2)", "tuples are not supported here", ""),
        (
            "sum(i) over ()",
            "sum(i)",
            "only plain function calls are allowed here: no `over`, `filter`, `distinct` or `order by`",
            "",
        ),
        ("length(*)", "length(*)", "`*` is not allowed here", ""),
        ("[1, 'a']", "'a'", "the items of a list need one type: `string` does not go with `int64`", ""),
        ("array[i, s]", "s", "the items of a list need one type: `string` does not go with `int32`", ""),
        ("[1, 2] || s", "[1, 2]", "`||` needs strings, numbers or dates, not `list<int64>`", ""),
        ("cast(l as int[3])", "int[3]", "there is no type `int[3]` to cast to", "did you mean `int32`?"),
        ("l::intt[]", "intt[]", "there is no type `intt[]` to cast to", "did you mean `int`?"),
        ("cast(l as string)", "cast(l as string)", "`list<uint32>` cannot be cast to `string`", ""),
        ("cast(i as int[])", "cast(i as int[])", "`int32` cannot be cast to `list<int32>`", ""),
        ("cast('[1, x]' as int[])", "cast('[1, x]' as int[])", "`[1, x]` is not a list<int32>", ""),
        ("[300]::tinyint[]", "[300]::tinyint[]", "`[300]` is out of range for list<int8>", ""),
        ("i = ?", "?", "placeholders like `?` are not allowed here", ""),
        ("s similar to 'x'", "s similar to 'x'", "`similar to` is not supported here", ""),
        ("extract(century from d)", "extract(century from d)", "`century` is not part of a time", "legal here: "),
        ("date_trunc('mont', d)", "'mont'", "`mont` is not part of a time", "did you mean `month`?"),
        ("date_trunc(t, d)", "t", "`t` is not part of a time", "legal here: "),
        (
            "year(s)",
            "s",
            "argument 1 of `year` must be: date or timestamp; this is `string`",
            "it is `year(date or timestamp)`",
        ),
        ("regexp_matches(s, 'a(')", "'a('", "`a(` is not a regular expression: unclosed group", ""),
        ("regexp_matches(s, t)", "t", "the pattern of `regexp_matches` must be a constant string", ""),
        ("regexp_replace(s, 'a', 'b', 'z')", "'z'", "`z` is not an option of a regular expression", "legal here: "),
        (
            "regexp_matches(s, 'a', 'g')",
            "'g'",
            "`g` is not an option of a regular expression",
            "legal here: `i` (any case)",
        ),
        ("j ->> t", "t", "this is not a constant path into json", PATHS),
        ("j -> '$.'", "'$.'", "this is not a constant path into json", PATHS),
        ("j -> '$[x]'", "'$[x]'", "this is not a constant path into json", PATHS),
        ("j -> '$[-]'", "'$[-]'", "this is not a constant path into json", PATHS),
        ("j -> '$.\"a'", "'$.\"a'", "this is not a constant path into json", PATHS),
        ("j -> '$.a[*]'", "'$.a[*]'", "a path into json leads to one value: wildcards are not supported", PATHS),
        ("[1] = [1]", "[1]", "lists cannot be compared", ""),
        ("regexp_replace(s, '(a)', '\\2')", "'\\2'", "`\\2` stands for a group, and `(a)` has 1", ""),
        ("regexp_replace(s, '(a)', 'b\\')", "'b\\'", "after a `\\` stands the number of a group, or another `\\`", ""),
        (
            "i -> 'a'",
            "i",
            "argument 1 of `json_extract` must be: string; this is `int32`",
            "it is `json_extract(string, path)`",
        ),
        ("x'ab'", "x'ab'", "the literal `X'ab'` is not supported", ""),
        ("i = 1 -- ü\nand\n  'ü' = nope", "nope", "there is no column `nope`", "legal here: "),
    ];
    let mut others = Vec::new();
    for (expression, place, message, help) in table {
        let found = errors(expression);
        assert_eq!(found.len(), 1, "{expression}: {found:?}");
        let (found_place, found_message, found_help) = &found[0];
        assert_eq!((*found_place, found_message.as_str()), (place, message), "{expression}");
        let as_expected = match help {
            "" => found_help.is_empty() || message.contains("no column"),
            "legal here: " => found_help.starts_with(help),
            help => found_help == help,
        };
        if !as_expected {
            others.push(format!("{expression}: {found_help}"));
        }
    }
    assert_eq!(others, [""; 0], "other hints than expected");
}

#[test]
fn all_errors_come_at_once_in_the_order_of_the_text() {
    let found = errors("nope1 = 1 and lowr(s) = 'x' or s = 5 and b + 1 > nope2");
    let places: Vec<&str> = found.iter().map(|(place, ..)| *place).collect();
    assert_eq!(places, ["nope1", "lowr", "s = 5", "b", "nope2"]);
}
