//! What a change of a source table makes of its lake table's columns, by the behaviours of the pipeline file.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use table_format::schema::ColumnChange as LakeChange;
use table_format::schema::adapt::adapt_batch;

use crate::config::{SchemaChangeBehavior as Behavior, SchemaChangeBehaviors, SchemaChangeKind};
use crate::error::{Error, Result};
use crate::schema::ColumnChange;

/// The option by which columns of a Hudi table are known by ids, and may get other names.
pub(super) const ON_READ: &str = "hoodie.schema.on.read.enable";

/// The lake table's columns after `changes`.
///
/// New columns come last and are nullable. A column whose type changed gets the wider of both types; the columns that rows come
/// with, `source`, give the new ones.
///
/// # Errors
/// `Invalid` for a change that the behaviours refuse, or that a Hudi table cannot make.
pub(super) fn evolved(
    lake: &SchemaRef,
    source: &SchemaRef,
    changes: &[ColumnChange],
    behaviors: SchemaChangeBehaviors,
) -> Result<SchemaRef> {
    let mut fields: Vec<FieldRef> = lake.fields().iter().cloned().collect();
    for column in changes {
        let behavior = behaviors.of(kind_of(column));
        if behavior == Behavior::Exception {
            return Err(refused(column, "the pipeline file says `exception`"));
        }
        if behavior == Behavior::Ignore {
            continue;
        }
        match column {
            ColumnChange::Added(name) => take_in(&mut fields, source, name, column, behavior)?,
            ColumnChange::Retyped(name) => {
                if fields.iter().any(|field| field.name() == name) {
                    take_in(&mut fields, source, name, column, behavior)?;
                }
            }
            ColumnChange::Dropped(name) => match behavior {
                Behavior::Evolve | Behavior::TryEvolve => {
                    fields.retain(|field| field.name() != name);
                }
                _ => relax(&mut fields, name),
            },
            ColumnChange::Renamed { from, to } => {
                if behavior == Behavior::Evolve {
                    let why = format!(
                        "columns of the lake keep their names unless the sink says `{ON_READ}: true`"
                    );
                    return Err(refused(column, &why));
                }
                relax(&mut fields, from);
                take_in(&mut fields, source, to, column, behavior)?;
            }
        }
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// Splits off the renames that the lake follows in place (by its ids for columns): what is to be done with it, and the changes
/// that are left. A rename that was followed before a crash is not left either, only the type that the column has now.
pub(super) fn renamed_in_place(
    lake: &SchemaRef,
    changes: &[ColumnChange],
    behaviors: SchemaChangeBehaviors,
) -> (Vec<LakeChange>, Vec<ColumnChange>) {
    let mut renames = Vec::new();
    let left = changes.iter().map(|change| match change {
        ColumnChange::Renamed { from, to } if behaviors.of(kind_of(change)) == Behavior::Evolve => {
            if lake.column_with_name(from).is_some() {
                renames.push(LakeChange::Rename {
                    column: from.clone(),
                    to: to.clone(),
                });
            }
            ColumnChange::Retyped(to.clone())
        }
        other => other.clone(),
    });
    let left = left.collect();
    (renames, left)
}

/// What became of the columns of rows, by their names.
pub(super) fn changes_between(old: &SchemaRef, new: &SchemaRef) -> Vec<ColumnChange> {
    let dropped = old.fields().iter().filter_map(|field| {
        let name = || field.name().clone();
        match new.field_with_name(field.name()) {
            Err(_) => Some(ColumnChange::Dropped(name())),
            Ok(now) if now.data_type() != field.data_type() => Some(ColumnChange::Retyped(name())),
            Ok(_) => None,
        }
    });
    let is_new = |field: &&FieldRef| old.field_with_name(field.name()).is_err();
    let added = new.fields().iter().filter(is_new);
    dropped
        .chain(added.map(|field| ColumnChange::Added(field.name().clone())))
        .collect()
}

/// The kind of change that decides about a column.
fn kind_of(column: &ColumnChange) -> SchemaChangeKind {
    match column {
        ColumnChange::Added(_) => SchemaChangeKind::AddColumn,
        ColumnChange::Dropped(_) => SchemaChangeKind::DropColumn,
        ColumnChange::Renamed { .. } => SchemaChangeKind::RenameColumn,
        ColumnChange::Retyped(_) => SchemaChangeKind::AlterColumnType,
    }
}

fn refused(column: &ColumnChange, why: &str) -> Error {
    let key = kind_of(column).name();
    Error::invalid(format!(
        "{column}, and {why}; choose another `schema.change.behavior.{key}`, such as lenient"
    ))
}

/// Lets a column hold nulls from now on.
fn relax(fields: &mut [FieldRef], name: &str) {
    if let Some(field) = fields.iter_mut().find(|field| field.name() == name) {
        *field = Arc::new(field.as_ref().clone().with_nullable(true));
    }
}

/// The lake's columns, of which those that rows of `source` come without may be null.
pub(super) fn relaxed(lake: &SchemaRef, source: &SchemaRef) -> SchemaRef {
    let mut fields: Vec<FieldRef> = lake.fields().iter().cloned().collect();
    for field in lake.fields() {
        if source.column_with_name(field.name()).is_none() {
            relax(&mut fields, field.name());
        }
    }
    Arc::new(Schema::new(fields))
}

/// Adds a column of the source to the lake's, or widens the one that is there.
fn take_in(
    fields: &mut Vec<FieldRef>,
    source: &SchemaRef,
    name: &str,
    column: &ColumnChange,
    behavior: Behavior,
) -> Result<()> {
    let wanted = source.field_with_name(name)?;
    let Some(field) = fields.iter_mut().find(|field| field.name() == name) else {
        fields.push(Arc::new(wanted.clone().with_nullable(true)));
        return Ok(());
    };
    let (held, now) = (field.data_type().clone(), wanted.data_type());
    if becomes(now, &held) {
        return Ok(());
    }
    if let Some(wider) = wider_of(&held, now) {
        *field = Arc::new(field.as_ref().clone().with_data_type(wider));
        return Ok(());
    }
    if behavior == Behavior::TryEvolve {
        tracing::warn!(column = name, %held, %now, "the lake keeps the column's type; values that do not fit it become null");
        return Ok(());
    }
    Err(refused(
        column,
        &format!("{held} in the lake cannot become {now}"),
    ))
}

/// A type that holds the values of both without loss.
fn wider_of(held: &DataType, now: &DataType) -> Option<DataType> {
    if becomes(held, now) {
        return Some(now.clone());
    }
    let (DataType::Decimal128(p, s), DataType::Decimal128(q, t)) = (held, now) else {
        return None;
    };
    let digits = |precision: &u8, scale: &i8| i16::from(*precision) - i16::from(*scale);
    let scale = *s.max(t);
    let precision = digits(p, s).max(digits(q, t)) + i16::from(scale);
    let precision = u8::try_from(precision)
        .ok()
        .filter(|precision| *precision <= 38)?;
    Some(DataType::Decimal128(precision, scale))
}

/// Whether every value of one type is read as the other without loss.
fn becomes(from: &DataType, to: &DataType) -> bool {
    let one = |data_type: &DataType| {
        Arc::new(Schema::new(vec![Field::new("c", data_type.clone(), true)]))
    };
    from == to || adapt_batch(&RecordBatch::new_empty(one(from)), &one(to)).is_ok()
}

/// Brings rows of the source into the columns that the lake has.
///
/// Columns that the lake ignores are left out. A value of another type is cast if `alter.column.type` says `ignore` or
/// `try_evolve`, and becomes null if it does not fit.
///
/// # Errors
/// `Invalid` for a type that the lake's column cannot hold.
pub(super) fn conform(
    rows: RecordBatch,
    lake: &SchemaRef,
    behaviors: SchemaChangeBehaviors,
) -> Result<RecordBatch> {
    let schema = rows.schema();
    let fits = |field: &FieldRef| {
        lake.field_with_name(field.name())
            .is_ok_and(|held| held.data_type() == field.data_type())
    };
    if schema.fields().iter().all(fits) {
        return Ok(rows);
    }
    let behavior = behaviors.of(SchemaChangeKind::AlterColumnType);
    let is_lossy = matches!(behavior, Behavior::Ignore | Behavior::TryEvolve);
    let (mut fields, mut columns) = (Vec::new(), Vec::<ArrayRef>::new());
    for (field, column) in schema.fields().iter().zip(rows.columns()) {
        let Ok(held) = lake.field_with_name(field.name()) else {
            continue;
        };
        if field.data_type() == held.data_type() || becomes(field.data_type(), held.data_type()) {
            fields.push(Arc::clone(field));
            columns.push(Arc::clone(column));
        } else if is_lossy {
            let cast = cast_with_options(column, held.data_type(), &CastOptions::default())?;
            let nulls = cast.null_count() > 0;
            let field = Field::new(
                field.name(),
                held.data_type().clone(),
                held.is_nullable() || nulls,
            );
            fields.push(Arc::new(field));
            columns.push(cast);
        } else {
            return Err(Error::invalid(format!(
                "column {} holds {} at the source and {} in the lake; remove the lake table to load it anew",
                field.name(),
                field.data_type(),
                held.data_type()
            )));
        }
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    let schema = Arc::new(Schema::new(fields));
    Ok(RecordBatch::try_new_with_options(
        schema, columns, &options,
    )?)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, Int64Array, StringArray};

    use super::*;
    use crate::schema::{SourceColumn, SourceTable, TableChange};

    fn table(columns: &[(&str, &str)]) -> SourceTable {
        let column = |(name, column_type): &(&str, &str)| SourceColumn {
            name: (*name).to_owned(),
            column_type: (*column_type).to_owned(),
            nullable: true,
            charset: None,
            collation: None,
            is_json_alias: false,
        };
        SourceTable {
            database: "shop".to_owned(),
            name: "t".to_owned(),
            columns: columns.iter().map(column).collect(),
            primary_key: vec![0],
            chunk_column: None,
            charset: None,
        }
    }

    /// The lake's columns after the source went from one shape to another, as `name:type`.
    fn lake_after(
        behavior: Behavior,
        new: &[(&str, &str)],
        changes: Vec<ColumnChange>,
    ) -> Result<String> {
        let old = [
            ("id", "int"),
            ("a", "int"),
            ("d", "decimal(10,2)"),
            ("t", "date"),
        ];
        let change = TableChange {
            table: table(new),
            columns: changes,
            is_key_changed: false,
        };
        let lake = table(&old).arrow_schema().unwrap();
        let source = change.table.arrow_schema()?;
        let behaviors = SchemaChangeBehaviors::all(behavior);
        let schema = evolved(&lake, &source, &change.columns, behaviors)?;
        let field = |field: &FieldRef| format!("{}:{}", field.name(), field.data_type());
        Ok(schema
            .fields()
            .iter()
            .map(field)
            .collect::<Vec<_>>()
            .join(" "))
    }

    fn named(name: &str) -> String {
        name.to_owned()
    }

    #[test]
    fn dropped_columns_go_only_when_the_lake_is_to_evolve() {
        let new = [("id", "int"), ("d", "decimal(10,2)"), ("t", "date")];
        let after = |behavior| lake_after(behavior, &new, vec![ColumnChange::Dropped(named("a"))]);
        let kept = "id:Int32 a:Int32 d:Decimal128(10, 2) t:Date32";
        assert_eq!(
            after(Behavior::Evolve).unwrap(),
            kept.replace(" a:Int32", "")
        );
        assert_eq!(after(Behavior::Lenient).unwrap(), kept);
        assert_eq!(after(Behavior::Ignore).unwrap(), kept);
        let message = after(Behavior::Exception).unwrap_err().to_string();
        assert!(
            message.contains("schema.change.behavior.drop.column"),
            "{message}"
        );
    }

    #[test]
    fn renamed_columns_stand_beside_the_old_ones() {
        let new = [
            ("id", "int"),
            ("b", "int"),
            ("d", "decimal(10,2)"),
            ("t", "date"),
        ];
        let renamed = || ColumnChange::Renamed {
            from: named("a"),
            to: named("b"),
        };
        let after = |behavior| lake_after(behavior, &new, vec![renamed()]);
        let both = "id:Int32 a:Int32 d:Decimal128(10, 2) t:Date32 b:Int32";
        assert_eq!(after(Behavior::Lenient).unwrap(), both);
        assert_eq!(after(Behavior::TryEvolve).unwrap(), both);
        assert_eq!(
            after(Behavior::Ignore).unwrap(),
            both.replace(" b:Int32", "")
        );
        assert!(after(Behavior::Evolve).is_err());
    }

    #[test]
    fn renames_in_place_are_split_off() {
        let lake = table(&[("id", "int"), ("a", "int")])
            .arrow_schema()
            .unwrap();
        let renamed = |from: &str| ColumnChange::Renamed {
            from: named(from),
            to: named("b"),
        };
        let split = |from, behavior| {
            renamed_in_place(
                &lake,
                &[renamed(from)],
                SchemaChangeBehaviors::all(behavior),
            )
        };
        let (renames, left) = split("a", Behavior::Evolve);
        let expected = LakeChange::Rename {
            column: named("a"),
            to: named("b"),
        };
        assert_eq!(
            (renames, left),
            (vec![expected], vec![ColumnChange::Retyped(named("b"))])
        );
        // Followed before a crash: the lake has the new name already.
        let (renames, left) = split("gone", Behavior::Evolve);
        assert_eq!(
            (renames, left),
            (vec![], vec![ColumnChange::Retyped(named("b"))])
        );
        let (renames, left) = split("a", Behavior::Lenient);
        assert_eq!((renames, left), (vec![], vec![renamed("a")]));
    }

    #[test]
    fn types_widen_and_never_narrow() {
        let new = [
            ("id", "int"),
            ("a", "bigint"),
            ("d", "decimal(8,4)"),
            ("t", "datetime"),
        ];
        let change = |names: &[&str]| {
            names
                .iter()
                .map(|name| ColumnChange::Retyped(named(name)))
                .collect()
        };
        let after = |behavior, names: &[&str]| lake_after(behavior, &new, change(names));
        assert_eq!(
            after(Behavior::Evolve, &["a", "d"]).unwrap(),
            "id:Int32 a:Int64 d:Decimal128(12, 4) t:Date32"
        );
        assert!(after(Behavior::Lenient, &["t"]).is_err());
        assert!(
            after(Behavior::TryEvolve, &["t"])
                .unwrap()
                .ends_with("t:Date32")
        );
        let narrow = [
            ("id", "int"),
            ("a", "tinyint"),
            ("d", "decimal(4,0)"),
            ("t", "date"),
        ];
        let kept = lake_after(Behavior::Evolve, &narrow, change(&["a", "d"])).unwrap();
        assert_eq!(kept, "id:Int32 a:Int32 d:Decimal128(10, 2) t:Date32");
    }

    #[test]
    fn rows_are_brought_into_the_lakes_columns() {
        let lake = Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int32, false),
            Field::new("a", DataType::Int32, true),
        ]));
        let rows = || {
            let columns: [(&str, ArrayRef); 3] = [
                ("id", Arc::new(Int32Array::from(vec![1, 2]))),
                ("a", Arc::new(StringArray::from(vec!["7", "seven"]))),
                ("extra", Arc::new(Int64Array::from(vec![5, 6]))),
            ];
            RecordBatch::try_from_iter(columns).unwrap()
        };
        let lossy = SchemaChangeBehaviors::all(Behavior::TryEvolve);
        let conformed = conform(rows(), &lake, lossy).unwrap();
        assert_eq!(conformed.num_columns(), 2);
        assert_eq!(
            conformed.column(1).as_ref(),
            &Int32Array::from(vec![Some(7), None])
        );
        assert!(conform(rows(), &lake, SchemaChangeBehaviors::default()).is_err());
    }
}
