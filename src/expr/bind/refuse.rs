//! What SQL has and a scalar expression over one record has not: each by its name.

use sqlparser::ast::Expr as Ast;

use super::{Binder, Bound};
use crate::batch::ColumnType;

impl Binder<'_> {
    /// Records that this kind of expression is not allowed.
    pub(super) fn refuse(&mut self, expr: &Ast) -> Bound {
        let place = self.places.of(expr);
        if let Ast::CompoundIdentifier(names) = expr {
            let json = names.first().and_then(|first| self.schema.find(&first.value));
            let is_json = json.is_some_and(|(_, column)| column.column_type == ColumnType::Json);
            let keys = || names.iter().skip(1).map(|name| format!(".{}", name.value)).collect::<String>();
            let help = match names.first() {
                Some(first) if is_json => Some(format!("a value in json is `{first} ->> '${}'`", keys())),
                _ => names.last().map(|last| format!("name the column alone: `{last}`")),
            };
            return self.error(place, format!("there are no tables here: `{expr}`"), help);
        }
        self.error(place, format!("{} not supported here", name(expr)), None)
    }
}

/// What the parser calls `expr`, in words, with its verb.
fn name(expr: &Ast) -> &'static str {
    match expr {
        Ast::Subquery(_) | Ast::InSubquery { .. } | Ast::Exists { .. } => "subqueries are",
        Ast::InUnnest { .. } => "`in unnest` is",
        Ast::AnyOp { .. } => "`any` is",
        Ast::AllOp { .. } => "`all` is",
        Ast::Like { .. } | Ast::ILike { .. } => "`like any` is",
        Ast::SimilarTo { .. } => "`similar to` is",
        Ast::RLike { .. } => "`rlike` is",
        Ast::IsJson { .. } => "`is json` is",
        Ast::IsNormalized { .. } => "`is normalized` is",
        Ast::Convert { .. } => "`convert` is",
        Ast::Cast { .. } => "`cast` with a format is",
        Ast::AtTimeZone { .. } => "`at time zone` is",
        Ast::Ceil { .. } => "`ceil` with a scale is",
        Ast::Floor { .. } => "`floor` with a scale is",
        Ast::Overlay { .. } => "`overlay` is",
        Ast::Collate { .. } => "`collate` is",
        Ast::JsonAccess { .. } => "access to json with `:` is",
        Ast::Tuple(_) => "tuples are",
        Ast::Struct { .. } | Ast::Dictionary(_) | Ast::Named { .. } => "structures are",
        Ast::Map(_) => "maps are",
        Ast::Interval(_) => "an interval that is not added to a time is",
        Ast::Wildcard(_) | Ast::QualifiedWildcard(..) => "`*` is",
        Ast::Lambda(_) => "lambdas are",
        Ast::GroupingSets(_) | Ast::Cube(_) | Ast::Rollup(_) => "grouping is",
        Ast::MatchAgainst { .. } => "`match against` is",
        Ast::MemberOf(_) => "`member of` is",
        Ast::OuterJoin(_) => "the outer join `(+)` is",
        Ast::Prior(_) => "`prior` is",
        Ast::Prefixed { .. } => "prefixed literals are",
        _ => "this is",
    }
}
