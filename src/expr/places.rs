//! Where the parts of an expression stand in its text. The parser's own spans leave out brackets, casts and
//! trailing words; the tokens around them fill the gaps.

use std::ops::Range;

use sqlparser::{
    ast::{self, CastKind, Expr, Spanned},
    tokenizer::{Location, Span, Token, TokenWithSpan},
};

/// The tokens of a text, spaces and comments left out, and its lines.
pub(super) struct Places {
    tokens: Vec<(Token, Range<usize>)>,
    lines: Vec<Line>,
    end: usize,
}

struct Line {
    start: usize,
    /// Byte offset of each character, counted from the line's start; absent where a line is ASCII.
    offsets: Option<Vec<usize>>,
    len: usize,
}

/// First and last token of a part.
type Tokens = (usize, usize);

impl Places {
    /// The places of `text`, which was cut into `tokens`.
    pub(super) fn new(text: &str, tokens: &[TokenWithSpan]) -> Self {
        let mut places = Places { tokens: Vec::new(), lines: lines(text), end: text.len() };
        let solid = tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF));
        places.tokens = solid
            .map(|token| (token.token.clone(), places.offset(token.span.start)..places.offset(token.span.end)))
            .collect();
        places
    }

    /// True where the text has no tokens.
    pub(super) fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The byte of `text` at a location.
    pub(super) fn offset_in(text: &str, location: Location) -> usize {
        Places { tokens: Vec::new(), lines: lines(text), end: text.len() }.offset(location)
    }

    /// The parser writes locations into its messages: takes one out.
    pub(super) fn split_location(message: &str) -> (&str, Option<Location>) {
        let Some((before, location)) = message.rsplit_once(" at Line: ") else { return (message, None) };
        let numbers = location.split_once(", Column: ");
        let parsed = numbers.and_then(|(line, column)| Some((line.parse().ok()?, column.parse().ok()?)));
        match parsed {
            Some((line, column)) => (before, Some(Location { line, column })),
            None => (message, None),
        }
    }

    /// The token at a location; the end of the text where there is none.
    pub(super) fn from(&self, location: Location) -> Range<usize> {
        if location.line == 0 {
            return self.end..self.end;
        }
        let start = self.offset(location);
        self.tokens
            .iter()
            .find(|(_, range)| range.start >= start)
            .map_or(self.end..self.end, |(_, range)| range.clone())
    }

    /// The bytes of a name.
    pub(super) fn ident(&self, ident: &ast::Ident) -> Range<usize> {
        self.offset(ident.span.start)..self.offset(ident.span.end)
    }

    /// The bytes of a function's name.
    pub(super) fn name(&self, name: &ast::ObjectName) -> Range<usize> {
        self.within(name.span()).map_or(0..self.end, |tokens| self.bytes(tokens))
    }

    /// The bytes of an expression; the whole text for the few kinds that the parser does not place.
    pub(super) fn of(&self, expr: &Expr) -> Range<usize> {
        self.tokens_of(expr).map_or(0..self.end, |tokens| self.bytes(tokens))
    }

    /// The bytes of the type in `cast(x as T)` or `x::T`.
    pub(super) fn cast_type(&self, kind: &CastKind, operand: &Expr, cast: &Expr) -> Range<usize> {
        let all = self.of(cast);
        let from = self.tokens_of(operand).map_or(0, |(_, last)| last + 2);
        let start = self.tokens.get(from).map_or(all.start, |(_, range)| range.start);
        let end = match kind {
            CastKind::DoubleColon => all.end,
            _ => all.end.saturating_sub(1),
        };
        start..end.max(start)
    }

    fn bytes(&self, (first, last): Tokens) -> Range<usize> {
        self.tokens[first].1.start..self.tokens[last].1.end
    }

    fn tokens_of(&self, expr: &Expr) -> Option<Tokens> {
        let (first, last) = match expr {
            Expr::BinaryOp { left, right, .. } => return Some((self.tokens_of(left)?.0, self.tokens_of(right)?.1)),
            Expr::Cast { expr: operand, .. } | Expr::Nested(operand) | Expr::UnaryOp { expr: operand, .. } => {
                self.tokens_of(operand)?
            }
            Expr::Ceil { expr: operand, .. } | Expr::Floor { expr: operand, .. } => self.tokens_of(operand)?,
            Expr::Substring { expr: operand, .. } | Expr::Extract { expr: operand, .. } => self.tokens_of(operand)?,
            Expr::Trim { expr: operand, .. } | Expr::Position { expr: operand, .. } => self.tokens_of(operand)?,
            Expr::IsNull(operand) | Expr::IsNotNull(operand) => self.tokens_of(operand)?,
            Expr::IsTrue(operand) | Expr::IsNotTrue(operand) => self.tokens_of(operand)?,
            Expr::IsFalse(operand) | Expr::IsNotFalse(operand) => self.tokens_of(operand)?,
            Expr::IsUnknown(operand) | Expr::IsNotUnknown(operand) => self.tokens_of(operand)?,
            Expr::InList { expr: operand, list, .. } => {
                (self.tokens_of(operand)?.0, self.tokens_of(list.last().unwrap_or(operand))?.1)
            }
            Expr::Between { expr: operand, high, .. } => (self.tokens_of(operand)?.0, self.tokens_of(high)?.1),
            _ => self.within(expr.span())?,
        };
        Some(match expr {
            Expr::Nested(_) => (self.before(first, 1), self.after(last, 1)),
            Expr::UnaryOp { .. } | Expr::TypedString(_) | Expr::Interval(_) => (self.before(first, 1), last),
            Expr::Cast { kind: CastKind::DoubleColon, .. } => (first, self.type_end(self.after(last, 2))),
            Expr::Cast { .. } | Expr::Ceil { .. } | Expr::Floor { .. } | Expr::Substring { .. } => {
                self.enclosing(first, last)
            }
            Expr::Trim { .. } | Expr::Position { .. } | Expr::Extract { .. } => self.enclosing(first, last),
            Expr::Function(_) => (first, self.closing(first, last)),
            Expr::CompoundFieldAccess { .. } => (first, self.closing(first, last)),
            Expr::InList { .. } | Expr::InSubquery { .. } => (first, self.after(last, 1)),
            Expr::Array(array) => (self.before(first, 1 + usize::from(array.named)), self.after(last, 1)),
            Expr::Subquery(_) | Expr::Tuple(_) => (self.before(first, 1), self.after(last, 1)),
            Expr::Exists { .. } => (self.before(first, 2), self.after(last, 1)),
            Expr::IsNull(_) | Expr::IsTrue(_) | Expr::IsFalse(_) | Expr::IsUnknown(_) => (first, self.after(last, 2)),
            Expr::IsNotNull(_) | Expr::IsNotTrue(_) | Expr::IsNotFalse(_) => (first, self.after(last, 3)),
            Expr::IsNotUnknown(_) => (first, self.after(last, 3)),
            _ => (first, last),
        })
    }

    fn before(&self, token: usize, n: usize) -> usize {
        token.saturating_sub(n)
    }

    fn after(&self, token: usize, n: usize) -> usize {
        (token + n).min(self.tokens.len() - 1)
    }

    /// A type may be two words, and have brackets.
    fn type_end(&self, first: usize) -> usize {
        let mut last = first;
        while let Some((token, _)) = self.tokens.get(last + 1) {
            match token {
                Token::LParen | Token::LBracket => last = self.closing(last + 1, last + 1),
                Token::Word(word) if word.value.eq_ignore_ascii_case("precision") => last += 1,
                _ => break,
            }
        }
        last
    }

    /// The token that closes what is open between `first` and `last`; a name's own brackets are opened too.
    fn closing(&self, first: usize, last: usize) -> usize {
        let mut open = 0_i32;
        for (i, (token, _)) in self.tokens.iter().enumerate().skip(first) {
            match token {
                Token::LParen | Token::LBracket => open += 1,
                Token::RParen | Token::RBracket => open -= 1,
                _ => continue,
            }
            if open <= 0 && i >= last {
                return i;
            }
        }
        self.tokens.len() - 1
    }

    /// The call around a part: from the word before the bracket to the bracket's end.
    fn enclosing(&self, first: usize, last: usize) -> Tokens {
        let mut closed = 0_i32;
        for i in (0..first).rev() {
            match self.tokens[i].0 {
                Token::RParen => closed += 1,
                Token::LParen if closed == 0 => return (self.before(i, 1), self.closing(i, last)),
                Token::LParen => closed -= 1,
                _ => {}
            }
        }
        (first, last)
    }

    fn within(&self, span: Span) -> Option<Tokens> {
        if span.start.line == 0 {
            return None;
        }
        let (start, end) = (self.offset(span.start), self.offset(span.end));
        let first = self.tokens.iter().position(|(_, range)| range.end > start)?;
        let last = self.tokens.iter().rposition(|(_, range)| range.start < end)?;
        Some((first, last.max(first)))
    }

    fn offset(&self, location: Location) -> usize {
        let line = (location.line as usize).saturating_sub(1);
        let column = (location.column as usize).saturating_sub(1);
        let Some(line) = self.lines.get(line) else { return self.end };
        let within = line.offsets.as_ref().map_or(column, |offsets| offsets.get(column).copied().unwrap_or(line.len));
        (line.start + within).min(self.end)
    }
}

fn lines(text: &str) -> Vec<Line> {
    let mut start = 0;
    let mut lines = Vec::new();
    for line in text.split_inclusive('\n') {
        let offsets = (!line.is_ascii()).then(|| line.char_indices().map(|(at, _)| at).collect());
        lines.push(Line { start, offsets, len: line.len() });
        start += line.len();
    }
    lines.push(Line { start, offsets: None, len: 0 });
    lines
}
