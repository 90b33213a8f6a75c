//! Text → syntax tree. Errors of the tokenizer and the parser become byte ranges of the text.

use std::any::TypeId;

use sqlparser::{
    ast,
    dialect::{Dialect, DuckDbDialect},
    keywords::Keyword,
    parser::{Parser, ParserError},
    tokenizer::{Token, TokenWithSpan, Tokenizer},
};

use super::{ExprError, elsewhere, places::Places};

/// How many operators and words an expression may have. The syntax tree of a chain is as deep as the chain is
/// long, and trees are walked by recursion; a list of values may be much longer than this.
const MOST_OPERATORS: usize = 1_000;

/// How deep brackets, functions and `case` may be nested. The parser needs some 50 KiB of stack for each level in a
/// build without optimisation, and threads may have no more than 2 MiB.
const DEEPEST: usize = 24;

/// The syntax tree of the whole text, and where each part of it stands.
pub(super) fn parse(text: &str) -> Result<(ast::Expr, Places), Box<ExprError>> {
    let tokens = Tokenizer::new(&Sql, text).tokenize_with_location().map_err(|error| {
        let at = Places::offset_in(text, error.location);
        ExprError::boxed(at..text.len(), sentence(&error.message), None)
    })?;
    let places = Places::new(text, &tokens);
    if let Some(error) = refuse_early(&tokens, &places) {
        return Err(Box::new(error));
    }
    let mut parser = Parser::new(&Sql).with_recursion_limit(DEEPEST).with_tokens_with_locations(tokens);
    let tree = parser.parse_expr().map_err(|error| Box::new(syntax_error(&error, text, &parser, &places)))?;
    let rest = parser.peek_token();
    if rest.token != Token::EOF {
        // The parser takes an operator where a value should stand for a column of that name.
        let last = parser.get_current_token();
        if matches!(&last.token, Token::Word(word) if matches!(word.keyword, Keyword::AND | Keyword::OR)) {
            let message = format!("expected an expression, found `{}`", last.token);
            return Err(ExprError::boxed(places.from(last.span.start), message, None));
        }
        let message = format!("expected one expression, but `{}` follows it", rest.token);
        return Err(ExprError::boxed(places.from(rest.span.start), message, None));
    }
    Ok((tree, places))
}

/// SQL as DuckDB has it, without the two of its additions that read `f(a = b)` and `'` differently.
#[derive(Debug)]
struct Sql;

impl Dialect for Sql {
    fn dialect(&self) -> TypeId {
        TypeId::of::<DuckDbDialect>()
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '$' || ch == '_'
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '"'
    }

    fn supports_array_typedef_with_brackets(&self) -> bool {
        true
    }

    fn supports_comma_separated_trim(&self) -> bool {
        true
    }

    fn supports_numeric_literal_underscores(&self) -> bool {
        true
    }
}

fn refuse_early(tokens: &[TokenWithSpan], places: &Places) -> Option<ExprError> {
    if places.is_empty() {
        return Some(ExprError::new(0..0, "the expression is empty", None));
    }
    if let Some(at) = nested_too_deep(tokens) {
        return Some(too_deep(places.from(at.span.start)));
    }
    let counted = tokens.iter().filter(|token| deepens(&token.token));
    let over = counted.map(|token| token.span.start).nth(MOST_OPERATORS)?;
    let message = format!("the expression has more than {MOST_OPERATORS} operators");
    Some(ExprError::new(places.from(over), message, Some("test many values with `in (…)`".into())))
}

/// The bracket, `case` or sign that is one level too deep.
fn nested_too_deep(tokens: &[TokenWithSpan]) -> Option<&TokenWithSpan> {
    let mut depth = 0_usize;
    let mut signs = 0_usize;
    let mut solid = tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_)));
    solid.find(|token| {
        signs = if is_sign(&token.token) { signs + 1 } else { 0 };
        match &token.token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket => depth = depth.saturating_sub(1),
            Token::Word(word) if word.keyword == Keyword::CASE => depth += 1,
            Token::Word(word) if word.keyword == Keyword::END => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth + signs > DEEPEST
    })
}

fn is_sign(token: &Token) -> bool {
    matches!(token, Token::Minus | Token::Plus) || matches!(token, Token::Word(word) if word.keyword == Keyword::NOT)
}

fn too_deep(place: std::ops::Range<usize>) -> ExprError {
    ExprError::new(place, format!("the expression is nested deeper than {DEEPEST} levels"), None)
}

/// Can this token make the tree deeper?
fn deepens(token: &Token) -> bool {
    !matches!(
        token,
        Token::Comma | Token::Whitespace(_) | Token::Number(..) | Token::SingleQuotedString(_) | Token::Word(_)
    ) || matches!(token, Token::Word(word) if word.keyword != Keyword::NoKeyword)
}

fn syntax_error(error: &ParserError, text: &str, parser: &Parser<'_>, places: &Places) -> ExprError {
    let found = parser.peek_token().span.start;
    match error {
        ParserError::RecursionLimitExceeded => too_deep(places.from(found)),
        ParserError::ParserError(said) | ParserError::TokenizerError(said) => {
            let (message, at) = Places::split_location(said);
            let place = places.from(at.unwrap_or(found));
            if message.starts_with("No infix parser for token") {
                let sign = parser.get_current_token().token.to_string();
                let help = elsewhere::operator(&sign).map(str::to_owned);
                return ExprError::new(place, format!("`{sign}` is not an operator here"), help);
            }
            // A word of SQL stands before the place where a value is missing: mostly the name of a column.
            let before = text.get(..place.start).unwrap_or_default().trim_end();
            let start = before.rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |at| at + 1);
            let word = &before[start..];
            if message.starts_with("Expected: an expression")
                && matches!(Token::make_word(word, None), Token::Word(word) if word.keyword != Keyword::NoKeyword)
            {
                let help = format!("where `{word}` is the name of a column, quote it: `\"{word}\"`");
                return ExprError::new(start..before.len(), sentence(message), Some(help));
            }
            let help = message.rsplit("found: ").next().and_then(elsewhere::operator).map(str::to_owned);
            ExprError::new(place, sentence(message), help)
        }
    }
}

/// The parser's `Expected: an expression, found: EOF` in the words of our messages.
fn sentence(message: &str) -> String {
    if let Some((expected, found)) = message.strip_prefix("Expected: ").and_then(|rest| rest.split_once(", found: ")) {
        let found = if found == "EOF" { "the end".to_owned() } else { format!("`{found}`") };
        let sign = expected.chars().all(|c| c.is_ascii_punctuation());
        let expected = if sign { format!("`{expected}`") } else { expected.to_owned() };
        return format!("expected {expected}, found {found}");
    }
    let mut chars = message.trim_end_matches('.').chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}
