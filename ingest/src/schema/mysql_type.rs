//! Column types as `information_schema.COLUMNS.COLUMN_TYPE` writes them.

use std::str::FromStr;

use crate::error::{Error, Result};

/// The type of a source column, with everything that its values depend on.
///
/// Display widths are dropped, since values do not depend on them. `INT(8) ZEROFILL` is an unsigned INT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MySqlType {
    /// TINYINT, BOOL.
    TinyInt {
        /// UNSIGNED or ZEROFILL.
        unsigned: bool,
    },
    /// SMALLINT.
    SmallInt {
        /// UNSIGNED or ZEROFILL.
        unsigned: bool,
    },
    /// MEDIUMINT.
    MediumInt {
        /// UNSIGNED or ZEROFILL.
        unsigned: bool,
    },
    /// INT.
    Int {
        /// UNSIGNED or ZEROFILL.
        unsigned: bool,
    },
    /// BIGINT.
    BigInt {
        /// UNSIGNED or ZEROFILL.
        unsigned: bool,
    },
    /// FLOAT.
    Float,
    /// DOUBLE, REAL.
    Double,
    /// DECIMAL, NUMERIC.
    Decimal {
        /// Digits in all, at most 65.
        precision: u8,
        /// Digits behind the point, at most 38.
        scale: u8,
    },
    /// BIT.
    Bit {
        /// 1 to 64.
        bits: u8,
    },
    /// YEAR.
    Year,
    /// DATE.
    Date,
    /// TIME.
    Time {
        /// Digits of fractional seconds, 0 to 6.
        fsp: u8,
    },
    /// DATETIME.
    DateTime {
        /// Digits of fractional seconds, 0 to 6.
        fsp: u8,
    },
    /// TIMESTAMP.
    Timestamp {
        /// Digits of fractional seconds, 0 to 6.
        fsp: u8,
    },
    /// CHAR.
    Char,
    /// VARCHAR.
    VarChar,
    /// TINYTEXT, TEXT, MEDIUMTEXT, LONGTEXT.
    Text,
    /// BINARY.
    Binary {
        /// Every value has this many bytes.
        length: u8,
    },
    /// VARBINARY.
    VarBinary,
    /// TINYBLOB, BLOB, MEDIUMBLOB, LONGBLOB.
    Blob,
    /// ENUM with its labels.
    Enum(Vec<String>),
    /// SET with its labels.
    Set(Vec<String>),
    /// MySQL's JSON (MariaDB's is [`MySqlType::Text`]).
    Json,
    /// GEOMETRY and its subtypes.
    Geometry,
    /// VECTOR: little-endian 32-bit floats.
    Vector,
    /// MariaDB's UUID.
    Uuid,
    /// MariaDB's INET4.
    Inet4,
    /// MariaDB's INET6.
    Inet6,
}

impl MySqlType {
    /// Whether an integer type is unsigned; `None` for the others.
    pub fn is_unsigned(&self) -> Option<bool> {
        match self {
            Self::TinyInt { unsigned }
            | Self::SmallInt { unsigned }
            | Self::MediumInt { unsigned }
            | Self::Int { unsigned }
            | Self::BigInt { unsigned } => Some(*unsigned),
            _ => None,
        }
    }

    /// How many labels an ENUM or SET has; `None` for the others.
    pub fn label_count(&self) -> Option<usize> {
        match self {
            Self::Enum(labels) | Self::Set(labels) => Some(labels.len()),
            _ => None,
        }
    }
}

impl FromStr for MySqlType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Parser::new(text).parse()
    }
}

/// A column type cut into its name, what stands in the brackets and the words behind them.
struct Parser<'a> {
    text: &'a str,
    name: String,
    arguments: Option<&'a str>,
    words: &'a str,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        let text = text.trim();
        let end = text
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        let rest = rest.trim_start();
        let (arguments, words) = match rest.strip_prefix('(') {
            Some(inner) => {
                let close = closing_bracket(inner).unwrap_or(inner.len());
                let (arguments, rest) = inner.split_at(close);
                (Some(arguments), rest.strip_prefix(')').unwrap_or(rest))
            }
            None => (None, rest),
        };
        Self {
            text,
            name: name.to_ascii_lowercase(),
            arguments,
            words: words.trim(),
        }
    }

    fn parse(&self) -> Result<MySqlType> {
        let unsigned = self.is_unsigned()?;
        let parsed = match self.name.as_str() {
            "tinyint" | "bool" | "boolean" => MySqlType::TinyInt { unsigned },
            "smallint" => MySqlType::SmallInt { unsigned },
            "mediumint" => MySqlType::MediumInt { unsigned },
            "int" | "integer" => MySqlType::Int { unsigned },
            "bigint" => MySqlType::BigInt { unsigned },
            "float" => self.float()?,
            "double" | "real" => MySqlType::Double,
            "decimal" | "numeric" | "dec" | "fixed" => self.decimal()?,
            "bit" => MySqlType::Bit {
                bits: self.number(1, 1, 64)?,
            },
            "year" => MySqlType::Year,
            "date" => MySqlType::Date,
            "time" => MySqlType::Time {
                fsp: self.number(0, 0, 6)?,
            },
            "datetime" => MySqlType::DateTime {
                fsp: self.number(0, 0, 6)?,
            },
            "timestamp" => MySqlType::Timestamp {
                fsp: self.number(0, 0, 6)?,
            },
            "char" | "nchar" => MySqlType::Char,
            "varchar" | "nvarchar" => MySqlType::VarChar,
            "tinytext" | "text" | "mediumtext" | "longtext" => MySqlType::Text,
            "binary" => MySqlType::Binary {
                length: self.number(1, 0, 255)?,
            },
            "varbinary" => MySqlType::VarBinary,
            "tinyblob" | "blob" | "mediumblob" | "longblob" => MySqlType::Blob,
            "enum" => MySqlType::Enum(self.labels()?),
            "set" => MySqlType::Set(self.labels()?),
            "json" => MySqlType::Json,
            "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring"
            | "multipolygon" | "geometrycollection" | "geomcollection" => MySqlType::Geometry,
            "vector" => MySqlType::Vector,
            "uuid" => MySqlType::Uuid,
            "inet4" => MySqlType::Inet4,
            "inet6" => MySqlType::Inet6,
            _ => return Err(self.error("is not known; leave the table out of source.tables")),
        };
        Ok(parsed)
    }

    fn is_unsigned(&self) -> Result<bool> {
        let mut unsigned = false;
        let words = self.words.split("/*").next().unwrap_or_default();
        for word in words.split_ascii_whitespace() {
            match word.to_ascii_lowercase().as_str() {
                // ZEROFILL implies UNSIGNED.
                "unsigned" | "zerofill" => unsigned = true,
                "signed" => {}
                _ => return Err(self.error("has an unknown attribute")),
            }
        }
        Ok(unsigned)
    }

    fn number(&self, default: u8, low: u8, high: u8) -> Result<u8> {
        let Some(arguments) = self.arguments else {
            return Ok(default);
        };
        match arguments.trim().parse() {
            Ok(number) if (low..=high).contains(&number) => Ok(number),
            _ => Err(self.error("has a length out of range")),
        }
    }

    /// FLOAT(25) to FLOAT(53) are DOUBLE; FLOAT(m,d) is FLOAT.
    fn float(&self) -> Result<MySqlType> {
        match self.arguments {
            Some(arguments) if !arguments.contains(',') && self.number(0, 0, 53)? > 24 => {
                Ok(MySqlType::Double)
            }
            _ => Ok(MySqlType::Float),
        }
    }

    fn decimal(&self) -> Result<MySqlType> {
        let Some(arguments) = self.arguments else {
            return Ok(MySqlType::Decimal {
                precision: 10,
                scale: 0,
            });
        };
        let (precision, scale) = arguments.split_once(',').unwrap_or((arguments, "0"));
        match (precision.trim().parse(), scale.trim().parse()) {
            (Ok(precision @ 1..=65), Ok(scale @ 0..=38)) if scale <= precision => {
                Ok(MySqlType::Decimal { precision, scale })
            }
            _ => Err(self.error("has a precision out of range")),
        }
    }

    fn labels(&self) -> Result<Vec<String>> {
        let mut rest = self.arguments.unwrap_or_default().trim();
        let mut labels = Vec::new();
        while !rest.is_empty() {
            let Some(inner) = rest.strip_prefix('\'') else {
                return Err(self.error("has a label without quotes"));
            };
            let Some((label, after)) = unquote(inner) else {
                return Err(self.error("has a label without an end"));
            };
            labels.push(label);
            rest = after.trim_start();
            rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
        }
        if labels.is_empty() {
            Err(self.error("has no labels"))
        } else {
            Ok(labels)
        }
    }

    fn error(&self, what: &str) -> Error {
        Error::unsupported(format!("column type {} {what}", self.text))
    }
}

/// Where the bracket that is open at the start of `text` closes; quoted labels may hold brackets.
fn closing_bracket(text: &str) -> Option<usize> {
    let mut quoted = false;
    for (at, c) in text.char_indices() {
        match c {
            // A doubled quote inside a label closes and opens again, which comes to the same.
            '\'' => quoted = !quoted,
            ')' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// Reads a label whose opening quote is gone: COLUMN_TYPE doubles quotes and leaves backslashes alone.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut label = String::new();
    let mut rest = text;
    loop {
        let (part, after) = rest.split_once('\'')?;
        label.push_str(part);
        match after.strip_prefix('\'') {
            Some(more) => {
                label.push('\'');
                rest = more;
            }
            None => return Some((label, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("tinyint(1)", MySqlType::TinyInt { unsigned: false })]
    #[case("tinyint unsigned", MySqlType::TinyInt { unsigned: true })]
    #[case("int(8) unsigned zerofill", MySqlType::Int { unsigned: true })]
    #[case("bigint(20) unsigned", MySqlType::BigInt { unsigned: true })]
    #[case("float(7,3)", MySqlType::Float)]
    #[case("float unsigned", MySqlType::Float)]
    #[case("double(12,4)", MySqlType::Double)]
    #[case("decimal(65,30)", MySqlType::Decimal { precision: 65, scale: 30 })]
    #[case("decimal(10,0) unsigned", MySqlType::Decimal { precision: 10, scale: 0 })]
    #[case("bit(12)", MySqlType::Bit { bits: 12 })]
    #[case("year(4)", MySqlType::Year)]
    #[case("datetime(6)", MySqlType::DateTime { fsp: 6 })]
    #[case("timestamp", MySqlType::Timestamp { fsp: 0 })]
    #[case("varchar(100) /*M!100301 COMPRESSED*/", MySqlType::VarChar)]
    #[case("binary(255)", MySqlType::Binary { length: 255 })]
    #[case("geomcollection", MySqlType::Geometry)]
    #[case("vector(3)", MySqlType::Vector)]
    #[case("uuid", MySqlType::Uuid)]
    fn parses_column_types(#[case] text: &str, #[case] expected: MySqlType) {
        assert_eq!(text.parse::<MySqlType>().unwrap(), expected);
    }

    #[test]
    fn labels_may_hold_quotes_commas_and_brackets() {
        let parsed: MySqlType = r"enum('a','b c','d,e','it''s','(x)','\','')"
            .parse()
            .unwrap();
        let labels = ["a", "b c", "d,e", "it's", "(x)", r"\", ""].map(str::to_owned);
        assert_eq!(parsed, MySqlType::Enum(labels.to_vec()));
    }

    #[rstest]
    #[case("hyperint")]
    #[case("decimal(66,0)")]
    #[case("int brilliant")]
    #[case("enum(a)")]
    #[case("enum('a")]
    #[case("time(9)")]
    #[case("")]
    fn refuses_what_it_does_not_know(#[case] text: &str) {
        assert!(text.parse::<MySqlType>().is_err());
    }
}
