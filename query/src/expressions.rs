//! Columns and conditions as SQL expressions over batches of rows: a select list and a filter without a query around them.
//!
//! What comes out depends on the row alone: functions that give something else in another run, such as `now()`, are refused, and
//! so is what looks at several rows. Names of columns are taken as they are written; `*` may be followed by `EXCLUDE (...)`, and an
//! item with the name of a column that `*` stands for takes its place.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, ExprSchemable, Volatility};
use datafusion::physical_plan::PhysicalExpr;
use datafusion::prelude::{SessionConfig, SessionContext, cast, col};
use datafusion::sql::sqlparser::ast::{
    ExcludeSelectItem, Expr as SqlExpr, SelectItem, SetExpr, Statement, WildcardAdditionalOptions,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;

use crate::error::{Error, Result};

/// Expressions that fit rows of certain columns.
#[derive(Debug)]
pub struct RowExpressions {
    schema: SchemaRef,
    columns: Vec<Arc<dyn PhysicalExpr>>,
    filter: Option<Arc<dyn PhysicalExpr>>,
}

impl RowExpressions {
    /// A select list (`*` when `None`) and a condition over the columns of `input`; `*` does not stand for fields with the key
    /// `hidden` in their metadata. Text comes out as `Utf8`, bytes as `Binary`,
    /// whole numbers as `Int32`, `Int64` or (unsigned 64-bit) `Decimal128(20, 0)`, timestamps in microseconds; all but
    /// columns as they are may be null.
    ///
    /// # Errors
    /// When an expression does not parse, does not fit the columns, or is none of single rows; the message names it.
    pub fn compile(
        projection: Option<&str>,
        filter: Option<&str>,
        input: &SchemaRef,
        hidden: &str,
    ) -> Result<Self> {
        // Columns of a source are called what they are called there.
        let config = SessionConfig::new()
            .set_bool("datafusion.sql_parser.enable_ident_normalization", false);
        let compiler = Compiler {
            context: SessionContext::new_with_config(config),
            schema: DFSchema::try_from(Arc::clone(input))?,
            input,
            hidden,
        };
        let (mut fields, mut columns) = (Vec::new(), Vec::new());
        for item in compiler.items(projection.unwrap_or("*"))? {
            let (field, column) = compiler.column(item)?;
            fields.push(field);
            columns.push(column);
        }
        Ok(Self {
            schema: Arc::new(Schema::new(fields)),
            columns,
            filter: filter.map(|text| compiler.condition(text)).transpose()?,
        })
    }

    /// The columns that come out.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The rows that come out, as many as go in, and which of them meet the condition; all of them if `None`.
    ///
    /// # Errors
    /// When an expression fails on a row, as a division by zero does.
    pub fn apply(&self, rows: &RecordBatch) -> Result<(RecordBatch, Option<BooleanArray>)> {
        let count = rows.num_rows();
        let evaluate = |expr: &Arc<dyn PhysicalExpr>| expr.evaluate(rows)?.into_array(count);
        let columns = self.columns.iter().map(evaluate);
        let columns = columns.collect::<datafusion::error::Result<Vec<ArrayRef>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let schema = Arc::clone(&self.schema);
        let records = RecordBatch::try_new_with_options(schema, columns, &options)
            .map_err(DataFusionError::from)?;
        let passes = self.filter.as_ref().map(evaluate).transpose()?;
        let passes = passes.map(|passes| passes.as_boolean().clone());
        Ok((records, passes))
    }
}

/// A column that comes out.
enum Item {
    /// One of the rows, as it is.
    Column(FieldRef),
    /// An expression, with its name.
    Computed(String, String),
}

impl Item {
    fn name(&self) -> &str {
        match self {
            Self::Column(field) => field.name(),
            Self::Computed(name, _) => name,
        }
    }
}

struct Compiler<'a> {
    context: SessionContext,
    schema: DFSchema,
    input: &'a SchemaRef,
    hidden: &'a str,
}

impl Compiler<'_> {
    /// The columns of a select list.
    fn items(&self, projection: &str) -> Result<Vec<Item>> {
        let mut items: Vec<Item> = Vec::new();
        for item in select_list(projection)? {
            let item = match item {
                SelectItem::Wildcard(options) => {
                    items.extend(self.all_but(&options)?);
                    continue;
                }
                SelectItem::UnnamedExpr(SqlExpr::Identifier(name)) => {
                    Item::Column(self.field(&name.value)?)
                }
                SelectItem::ExprWithAlias { expr, alias } => {
                    Item::Computed(alias.value, expr.to_string())
                }
                other => {
                    return Err(Error::Invalid(format!(
                        "`{other}` needs a name: write `{other} AS ...`"
                    )));
                }
            };
            match items.iter_mut().find(|known| known.name() == item.name()) {
                Some(known) => *known = item,
                None => items.push(item),
            }
        }
        Ok(items)
    }

    fn all_but(&self, options: &WildcardAdditionalOptions) -> Result<Vec<Item>> {
        let excluded: HashSet<String> = match &options.opt_exclude {
            None => HashSet::new(),
            Some(ExcludeSelectItem::Single(name)) => HashSet::from([unquoted(&name.to_string())]),
            Some(ExcludeSelectItem::Multiple(names)) => names
                .iter()
                .map(|name| unquoted(&name.to_string()))
                .collect(),
        };
        for name in &excluded {
            self.field(name)?;
        }
        let plain = WildcardAdditionalOptions {
            opt_exclude: options.opt_exclude.clone(),
            wildcard_token: options.wildcard_token.clone(),
            ..WildcardAdditionalOptions::default()
        };
        if *options != plain {
            return Err(Error::Invalid(format!(
                "`*{options}`: only EXCLUDE may follow; name a column a second time to change it"
            )));
        }
        let fields = self.input.fields().iter();
        let shown = fields.filter(|field| {
            !field.metadata().contains_key(self.hidden) && !excluded.contains(field.name())
        });
        Ok(shown.map(|field| Item::Column(Arc::clone(field))).collect())
    }

    fn field(&self, name: &str) -> Result<FieldRef> {
        let mut fields = self.input.fields().iter();
        let found = fields.find(|field| field.name() == name).cloned();
        found.ok_or_else(|| {
            let names: Vec<&str> = self
                .input
                .fields()
                .iter()
                .map(|field| field.name().as_str())
                .collect();
            Error::Invalid(format!(
                "there is no column `{name}`; there are {}",
                names.join(", ")
            ))
        })
    }

    fn column(&self, item: Item) -> Result<(FieldRef, Arc<dyn PhysicalExpr>)> {
        match item {
            Item::Column(field) => {
                let expr = col(Column::from_name(field.name()));
                let field = field.as_ref().clone().with_metadata(Default::default());
                Ok((Arc::new(field), self.physical(expr)?))
            }
            Item::Computed(name, text) => {
                let expr = self.parse(&text)?;
                let held = expr.get_type(&self.schema)?;
                let lake = lake_type(&held).ok_or_else(|| {
                    Error::Invalid(format!(
                        "`{text}` is of type {held}; give it another one with CAST"
                    ))
                })?;
                let expr = if lake == held {
                    expr
                } else {
                    cast(expr, lake.clone())
                };
                Ok((Arc::new(Field::new(name, lake, true)), self.physical(expr)?))
            }
        }
    }

    fn condition(&self, text: &str) -> Result<Arc<dyn PhysicalExpr>> {
        let expr = self.parse(text)?;
        match expr.get_type(&self.schema)? {
            DataType::Boolean => self.physical(expr),
            other => Err(Error::Invalid(format!(
                "`{text}` is no condition: it is of type {other}"
            ))),
        }
    }

    /// An expression over one row that gives the same in every run.
    fn parse(&self, text: &str) -> Result<Expr> {
        let parsed = self.context.parse_sql_expr(text, &self.schema);
        let expr = parsed
            .map_err(|error| Error::Invalid(format!("`{text}`: {}", Error::Engine(error))))?;
        let mut refused = None;
        expr.apply(|part| {
            let why = match part {
                Expr::ScalarFunction(function)
                    if function.func.signature().volatility != Volatility::Immutable =>
                {
                    Some("gives something else in another run")
                }
                Expr::AggregateFunction(_) | Expr::WindowFunction(_) => {
                    Some("looks at several rows")
                }
                Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) => {
                    Some("is a query")
                }
                _ => None,
            };
            if let Some(why) = why {
                refused = Some(format!("`{part}` {why}, and cannot stand here"));
                return Ok(TreeNodeRecursion::Stop);
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        match refused {
            Some(message) => Err(Error::Invalid(message)),
            None => Ok(expr),
        }
    }

    fn physical(&self, expr: Expr) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(self.context.create_physical_expr(expr, &self.schema)?)
    }
}

/// The items of a select list, and nothing behind them.
fn select_list(text: &str) -> Result<Vec<SelectItem>> {
    let invalid = |why: String| Error::Invalid(format!("`{text}` is no list of columns: {why}"));
    let parsed = Parser::parse_sql(&GenericDialect {}, &format!("SELECT {text}"));
    let mut statements = parsed.map_err(|error| invalid(error.to_string()))?;
    let (Some(Statement::Query(query)), true) = (statements.pop(), statements.is_empty()) else {
        return Err(invalid("one list is expected".to_owned()));
    };
    let SetExpr::Select(select) = query.body.as_ref() else {
        return Err(invalid("one list is expected".to_owned()));
    };
    let items: Vec<String> = select.projection.iter().map(ToString::to_string).collect();
    if query.to_string() != format!("SELECT {}", items.join(", ")) {
        return Err(invalid(
            "only columns and expressions may stand in it".to_owned(),
        ));
    }
    Ok(select.projection.clone())
}

fn unquoted(name: &str) -> String {
    name.trim_matches(['`', '"']).to_owned()
}

/// The type in which values of a computed column are stored; `None` for those that a lake table has no place for.
fn lake_type(held: &DataType) -> Option<DataType> {
    Some(match held {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => {
            DataType::Int32
        }
        DataType::Int64 | DataType::UInt32 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 | DataType::Float32 => DataType::Float32,
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        DataType::Dictionary(_, values) => return lake_type(values),
        DataType::Boolean | DataType::Float64 | DataType::Date32 | DataType::Decimal128(..) => {
            held.clone()
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Int32Array, StringArray};
    use datafusion::arrow::util::pretty::pretty_format_batches;
    use rstest::rstest;

    use super::*;

    const HIDDEN_KEY: &str = "hidden";

    fn rows() -> RecordBatch {
        let hidden = Field::new("__table__", DataType::Utf8, false)
            .with_metadata([(HIDDEN_KEY.to_owned(), "true".to_owned())].into());
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int32, false),
            Field::new("userName", DataType::Utf8, true),
            Field::new("price", DataType::Int32, true),
            hidden,
        ]);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from(vec![1, 2, 3])),
            Arc::new(StringArray::from(vec![Some("ann"), None, Some("bob")])),
            Arc::new(Int32Array::from(vec![Some(10), Some(20), None])),
            Arc::new(StringArray::from(vec!["t", "t", "t"])),
        ];
        RecordBatch::try_new(Arc::new(schema), columns).unwrap()
    }

    /// Names and rows, and what the filter says.
    fn applied(projection: &str, filter: Option<&str>) -> (Vec<String>, Option<Vec<Option<bool>>>) {
        let rows = rows();
        let compiled =
            RowExpressions::compile(Some(projection), filter, &rows.schema(), HIDDEN_KEY).unwrap();
        let (records, passes) = compiled.apply(&rows).unwrap();
        assert_eq!(records.schema_ref(), compiled.schema());
        let shown = pretty_format_batches(&[records]).unwrap().to_string();
        let lines = shown.lines().filter(|line| line.starts_with('|'));
        let plain = |line: &str| {
            let line = line.replace(' ', "");
            let inner = line
                .strip_prefix('|')
                .and_then(|line| line.strip_suffix('|'));
            inner.unwrap().to_owned()
        };
        let lines = lines.map(plain);
        (
            lines.collect(),
            passes.map(|passes| passes.iter().collect()),
        )
    }

    #[rstest]
    #[case("*", "id|userName|price 1|ann|10 2||20 3|bob|")]
    #[case(
        "*, price * id AS total",
        "id|userName|price|total 1|ann|10|10 2||20|40 3|bob||"
    )]
    #[case("price, id", "price|id 10|1 20|2 |3")]
    #[case("* EXCLUDE (price)", "id|userName 1|ann 2| 3|bob")]
    #[case(
        "*, upper(userName) AS userName",
        "id|userName|price 1|ANN|10 2||20 3|BOB|"
    )]
    #[case(
        "id, concat(__table__, '/', CAST(id AS VARCHAR)) AS place",
        "id|place 1|t/1 2|t/2 3|t/3"
    )]
    #[case(
        "id, CASE WHEN price > 15 THEN 'dear' END AS `how dear`",
        "id|howdear 1| 2|dear 3|"
    )]
    fn columns_are_computed(#[case] projection: &str, #[case] expected: &str) {
        assert_eq!(applied(projection, None).0.join(" "), expected);
    }

    #[test]
    fn digests_hide_values() {
        let (lines, _) = applied("id, encode(sha256(userName), 'hex') AS userName", None);
        // printf ann | sha256sum
        let ann = "49915e0d7d4b402e3017d010bc1c0e83cac6c797d6c16e66340fe3268693a6a1";
        assert_eq!(lines[1], format!("1|{ann}"));
        assert_eq!(lines[2], "2|");
    }

    #[test]
    fn a_condition_may_be_unknown() {
        let (_, passes) = applied("*", Some("price >= 20 AND userName IS NULL"));
        assert_eq!(passes.unwrap(), [Some(false), Some(true), Some(false)]);
        let (_, passes) = applied("id", Some("price < 15"));
        assert_eq!(passes.unwrap(), [Some(true), Some(false), None]);
    }

    #[rstest]
    #[case(Some("id, price + 1"), None, "needs a name")]
    #[case(
        Some("username"),
        None,
        "there is no column `username`; there are id, userName"
    )]
    #[case(Some("* EXCLUDE (gone)"), None, "no column `gone`")]
    #[case(Some("id FROM other"), None, "only columns and expressions")]
    #[case(Some("id; DROP TABLE t"), None, "no list of columns")]
    #[case(Some("id, now() AS seen"), None, "gives something else in another run")]
    #[case(
        Some("id, random() AS dice"),
        None,
        "gives something else in another run"
    )]
    #[case(Some("id, max(price) AS most"), None, "looks at several rows")]
    #[case(Some("id, gone + 1 AS x"), None, "gone")]
    #[case(None, Some("price + 1"), "is no condition")]
    #[case(None, Some("price >"), "price >")]
    fn what_does_not_fit_is_named(
        #[case] projection: Option<&str>,
        #[case] filter: Option<&str>,
        #[case] said: &str,
    ) {
        let error =
            RowExpressions::compile(projection, filter, &rows().schema(), HIDDEN_KEY).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }
}
