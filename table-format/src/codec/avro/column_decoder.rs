//! One column of decoded values: a builder of the column's own type, and the branch of its null.
//!
//! What a column allocates follows from the bytes that were read, never from a length that stands in them.

use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder,
    FixedSizeBinaryBuilder, Float32Builder, Float64Builder, Int32Builder, Int64Builder, ListArray,
    MapArray, NullArray, NullBufferBuilder, StringBuilder, StructArray, make_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

use super::arrow_type::{arrow_fields, arrow_type, element_field, entries_field, entries_fields};
use super::cursor::{Cursor, DecodeError};
use super::decimal::decimal_from_bytes;
use super::schema::{AvroType, TimeUnit};

type Result<T> = std::result::Result<T, DecodeError>;

/// The most bytes that one Arrow column of text can hold.
const COLUMN_BYTES_MAX: usize = i32::MAX as usize;

/// A column of one field, element or value.
#[derive(Debug)]
pub(super) struct ColumnDecoder {
    null_branch: Option<u8>,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Null {
        rows: usize,
    },
    Boolean(BooleanBuilder),
    Int(Int32Builder),
    Date(Date32Builder),
    TimeMillis(Int32Builder, DataType),
    Long(Int64Builder),
    /// Times and timestamps: longs of another Arrow type.
    LongAs(Int64Builder, DataType),
    Float(Float32Builder),
    Double(Float64Builder),
    Bytes(BinaryBuilder),
    String(StringBuilder),
    Enum(StringBuilder, Arc<[String]>),
    Fixed(FixedSizeBinaryBuilder, usize),
    Decimal {
        builder: Decimal128Builder,
        limit: u128,
        fixed_size: Option<usize>,
    },
    Record(StructDecoder),
    Array(ItemsDecoder),
    Map(EntriesDecoder),
}

impl ColumnDecoder {
    pub(super) fn new(data_type: &AvroType) -> Self {
        let (inner, null_branch) = data_type.unwrap_nullable();
        Self {
            null_branch,
            values: Values::new(inner),
        }
    }

    /// Reads one value.
    pub(super) fn decode(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        if let Some(null_branch) = self.null_branch
            && cursor.branch(2)? == usize::from(null_branch)
        {
            self.values.append_null();
            return Ok(());
        }
        self.values.decode(cursor)
    }

    pub(super) fn finish(&mut self) -> std::result::Result<ArrayRef, ArrowError> {
        self.values.finish()
    }

    fn append_null(&mut self) {
        self.values.append_null();
    }
}

impl Values {
    fn new(data_type: &AvroType) -> Self {
        match data_type {
            AvroType::Null => Self::Null { rows: 0 },
            AvroType::Boolean => Self::Boolean(BooleanBuilder::new()),
            AvroType::Int => Self::Int(Int32Builder::new()),
            AvroType::Date => Self::Date(Date32Builder::new()),
            AvroType::Time(TimeUnit::Millis) => {
                Self::TimeMillis(Int32Builder::new(), arrow_type(data_type))
            }
            AvroType::Long => Self::Long(Int64Builder::new()),
            AvroType::Time(_) | AvroType::Timestamp { .. } => {
                Self::LongAs(Int64Builder::new(), arrow_type(data_type))
            }
            AvroType::Float => Self::Float(Float32Builder::new()),
            AvroType::Double => Self::Double(Float64Builder::new()),
            AvroType::Bytes => Self::Bytes(BinaryBuilder::new()),
            AvroType::String => Self::String(StringBuilder::new()),
            AvroType::Enum(symbols) => Self::Enum(StringBuilder::new(), Arc::clone(symbols)),
            AvroType::Fixed(size) => {
                let width = i32::try_from(*size).unwrap_or(i32::MAX);
                Self::Fixed(FixedSizeBinaryBuilder::new(width), *size)
            }
            AvroType::Decimal {
                precision,
                fixed_size,
                ..
            } => Self::Decimal {
                builder: Decimal128Builder::new().with_data_type(arrow_type(data_type)),
                limit: 10_u128.pow(u32::from(*precision)),
                fixed_size: *fixed_size,
            },
            AvroType::Record(record) => Self::Record(StructDecoder {
                fields: arrow_fields(record),
                columns: record
                    .fields
                    .iter()
                    .map(|field| ColumnDecoder::new(&field.data_type))
                    .collect(),
                validity: NullBufferBuilder::new(0),
            }),
            AvroType::Array(items) => Self::Array(ItemsDecoder {
                field: element_field(items),
                lists: Lists::new(),
                items: Box::new(ColumnDecoder::new(items)),
            }),
            AvroType::Map(values) => Self::Map(EntriesDecoder {
                value_type: Arc::clone(values),
                lists: Lists::new(),
                keys: StringBuilder::new(),
                values: Box::new(ColumnDecoder::new(values)),
            }),
            AvroType::Nullable { inner, .. } => Self::new(inner),
        }
    }

    fn decode(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        match self {
            Self::Null { rows } => *rows += 1,
            Self::Boolean(builder) => builder.append_value(cursor.boolean()?),
            Self::Int(builder) | Self::TimeMillis(builder, _) => {
                builder.append_value(cursor.int()?)
            }
            Self::Date(builder) => builder.append_value(cursor.int()?),
            Self::Long(builder) | Self::LongAs(builder, _) => builder.append_value(cursor.long()?),
            Self::Float(builder) => builder.append_value(cursor.float()?),
            Self::Double(builder) => builder.append_value(cursor.double()?),
            Self::Bytes(builder) => {
                let value = cursor.bytes()?;
                check_room(builder.values_slice().len(), value.len(), cursor)?;
                builder.append_value(value);
            }
            Self::String(builder) => {
                let value = cursor.string()?;
                check_room(builder.values_slice().len(), value.len(), cursor)?;
                builder.append_value(value);
            }
            Self::Enum(builder, symbols) => {
                let branch = cursor.branch(symbols.len())?;
                let symbol = symbols.get(branch).map(String::as_str).unwrap_or_default();
                check_room(builder.values_slice().len(), symbol.len(), cursor)?;
                builder.append_value(symbol);
            }
            Self::Fixed(builder, size) => {
                let (offset, value) = (cursor.offset(), cursor.take(*size)?);
                let width = |_| DecodeError::OutOfRange {
                    offset,
                    value: 0,
                    expected: "of that width",
                };
                builder.append_value(value).map_err(width)?;
            }
            Self::Decimal {
                builder,
                limit,
                fixed_size,
            } => {
                let offset = cursor.offset();
                let bytes = match fixed_size {
                    Some(size) => cursor.take(*size)?,
                    None => cursor.bytes()?,
                };
                let wide = DecodeError::OutOfRange {
                    offset,
                    value: (bytes.len() as u64).cast_signed(),
                    expected: "the length of a decimal within its precision",
                };
                let value = decimal_from_bytes(bytes);
                let value = value.filter(|value| value.unsigned_abs() < *limit);
                builder.append_value(value.ok_or(wide)?);
            }
            Self::Record(record) => {
                record
                    .columns
                    .iter_mut()
                    .try_for_each(|column| column.decode(cursor))?;
                record.validity.append_non_null();
            }
            Self::Array(items) => items.decode(cursor)?,
            Self::Map(entries) => entries.decode(cursor)?,
        }
        Ok(())
    }

    fn append_null(&mut self) {
        match self {
            Self::Null { rows } => *rows += 1,
            Self::Boolean(builder) => builder.append_null(),
            Self::Int(builder) | Self::TimeMillis(builder, _) => builder.append_null(),
            Self::Date(builder) => builder.append_null(),
            Self::Long(builder) | Self::LongAs(builder, _) => builder.append_null(),
            Self::Float(builder) => builder.append_null(),
            Self::Double(builder) => builder.append_null(),
            Self::Bytes(builder) => builder.append_null(),
            Self::String(builder) | Self::Enum(builder, _) => builder.append_null(),
            Self::Fixed(builder, _) => builder.append_null(),
            Self::Decimal { builder, .. } => builder.append_null(),
            Self::Record(record) => {
                record
                    .columns
                    .iter_mut()
                    .for_each(ColumnDecoder::append_null);
                record.validity.append_null();
            }
            Self::Array(items) => items.lists.append_null(),
            Self::Map(entries) => entries.lists.append_null(),
        }
    }

    fn finish(&mut self) -> std::result::Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Null { rows } => Arc::new(NullArray::new(std::mem::take(rows))),
            Self::Boolean(builder) => ArrayBuilder::finish(builder),
            Self::Int(builder) => ArrayBuilder::finish(builder),
            Self::Date(builder) => ArrayBuilder::finish(builder),
            Self::Long(builder) => ArrayBuilder::finish(builder),
            Self::TimeMillis(builder, data_type) => {
                retype(&ArrayBuilder::finish(builder), data_type)?
            }
            Self::LongAs(builder, data_type) => retype(&ArrayBuilder::finish(builder), data_type)?,
            Self::Float(builder) => ArrayBuilder::finish(builder),
            Self::Double(builder) => ArrayBuilder::finish(builder),
            Self::Bytes(builder) => ArrayBuilder::finish(builder),
            Self::String(builder) | Self::Enum(builder, _) => ArrayBuilder::finish(builder),
            Self::Fixed(builder, _) => ArrayBuilder::finish(builder),
            Self::Decimal { builder, .. } => ArrayBuilder::finish(builder),
            Self::Record(record) => record.finish()?,
            Self::Array(items) => {
                let (offsets, validity) = items.lists.finish();
                let values = items.items.finish()?;
                Arc::new(ListArray::try_new(
                    Arc::clone(&items.field),
                    offsets,
                    values,
                    validity,
                )?)
            }
            Self::Map(entries) => entries.finish()?,
        })
    }
}

/// The same numbers under another type of the same width.
fn retype(array: &ArrayRef, data_type: &DataType) -> std::result::Result<ArrayRef, ArrowError> {
    let data = array
        .to_data()
        .into_builder()
        .data_type(data_type.clone())
        .build()?;
    Ok(make_array(data))
}

fn check_room(held: usize, more: usize, cursor: &Cursor<'_>) -> Result<()> {
    if held + more > COLUMN_BYTES_MAX {
        return Err(DecodeError::ColumnFull {
            offset: cursor.offset(),
        });
    }
    Ok(())
}

#[derive(Debug)]
struct StructDecoder {
    fields: arrow::datatypes::Fields,
    columns: Vec<ColumnDecoder>,
    validity: NullBufferBuilder,
}

impl StructDecoder {
    fn finish(&mut self) -> std::result::Result<ArrayRef, ArrowError> {
        let rows = self.validity.len();
        let columns = self.columns.iter_mut().map(ColumnDecoder::finish);
        let columns = columns.collect::<std::result::Result<Vec<_>, _>>()?;
        let validity = self.validity.finish();
        let array = StructArray::try_new_with_length(self.fields.clone(), columns, validity, rows)?;
        Ok(Arc::new(array))
    }
}

/// Where the lists of a column end, and which are null.
#[derive(Debug)]
struct Lists {
    offsets: Vec<i32>,
    validity: NullBufferBuilder,
}

impl Lists {
    fn new() -> Self {
        Self {
            offsets: vec![0],
            validity: NullBufferBuilder::new(0),
        }
    }

    fn last(&self) -> i32 {
        self.offsets.last().copied().unwrap_or_default()
    }

    fn append_null(&mut self) {
        self.offsets.push(self.last());
        self.validity.append_null();
    }

    /// Reads the blocks of one list, item by item with `item`. An item must take up bytes: a count of items that do
    /// not could make a few bytes into billions of rows.
    fn decode(
        &mut self,
        cursor: &mut Cursor<'_>,
        mut item: impl FnMut(&mut Cursor<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut end = self.last();
        loop {
            let count = cursor.block_count()?;
            if count == 0 {
                break;
            }
            for _ in 0..count {
                let offset = cursor.offset();
                end = end
                    .checked_add(1)
                    .ok_or(DecodeError::ColumnFull { offset })?;
                item(cursor)?;
                if cursor.offset() == offset {
                    let expected = "an item of at least one byte";
                    return Err(DecodeError::OutOfRange {
                        offset,
                        value: 0,
                        expected,
                    });
                }
            }
        }
        self.offsets.push(end);
        self.validity.append_non_null();
        Ok(())
    }

    fn finish(&mut self) -> (OffsetBuffer<i32>, Option<arrow::buffer::NullBuffer>) {
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        (OffsetBuffer::new(offsets.into()), self.validity.finish())
    }
}

#[derive(Debug)]
struct ItemsDecoder {
    field: arrow::datatypes::FieldRef,
    lists: Lists,
    items: Box<ColumnDecoder>,
}

impl ItemsDecoder {
    fn decode(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        let items = &mut self.items;
        self.lists.decode(cursor, |cursor| items.decode(cursor))
    }
}

#[derive(Debug)]
struct EntriesDecoder {
    value_type: Arc<AvroType>,
    lists: Lists,
    keys: StringBuilder,
    values: Box<ColumnDecoder>,
}

impl EntriesDecoder {
    fn decode(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        let (keys, values) = (&mut self.keys, &mut self.values);
        self.lists.decode(cursor, |cursor| {
            let key = cursor.string()?;
            check_room(keys.values_slice().len(), key.len(), cursor)?;
            keys.append_value(key);
            values.decode(cursor)
        })
    }

    fn finish(&mut self) -> std::result::Result<ArrayRef, ArrowError> {
        let (offsets, validity) = self.lists.finish();
        let columns: Vec<ArrayRef> =
            vec![ArrayBuilder::finish(&mut self.keys), self.values.finish()?];
        let entries = StructArray::try_new(entries_fields(&self.value_type), columns, None)?;
        let field = entries_field(&self.value_type);
        Ok(Arc::new(MapArray::try_new(
            field, offsets, entries, validity, false,
        )?))
    }
}
