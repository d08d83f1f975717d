//! Character sets of the source: bytes of row images to UTF-8.

use encoding_rs::{DecoderResult, Encoding};

use crate::error::{Error, Result};

/// How the bytes of a text column are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charset {
    /// utf8mb3, utf8mb4 and ascii: taken as they are, after validation.
    Utf8,
    /// ucs2 and utf16, big endian.
    Utf16Be,
    /// utf16le.
    Utf16Le,
    /// utf32, big endian.
    Utf32,
    /// Everything else.
    Other(&'static Encoding),
}

impl Charset {
    /// The character set called `name` in CHARACTER_SET_NAME.
    ///
    /// # Errors
    /// `Unsupported` for the few sets that have no decoder here.
    pub fn from_name(name: &str) -> Result<Self> {
        let encoding = match name.to_ascii_lowercase().as_str() {
            "utf8mb4" | "utf8mb3" | "utf8" | "ascii" => return Ok(Self::Utf8),
            "ucs2" | "utf16" => return Ok(Self::Utf16Be),
            "utf16le" => return Ok(Self::Utf16Le),
            "utf32" => return Ok(Self::Utf32),
            // MySQL's latin1 is windows-1252 with C1 controls in its five gaps, as is the WHATWG's.
            "latin1" => encoding_rs::WINDOWS_1252,
            "latin2" => encoding_rs::ISO_8859_2,
            "latin5" => encoding_rs::WINDOWS_1254,
            "latin7" => encoding_rs::ISO_8859_13,
            "greek" => encoding_rs::ISO_8859_7,
            "hebrew" => encoding_rs::ISO_8859_8,
            "cp1250" => encoding_rs::WINDOWS_1250,
            "cp1251" => encoding_rs::WINDOWS_1251,
            "cp1256" => encoding_rs::WINDOWS_1256,
            "cp1257" => encoding_rs::WINDOWS_1257,
            "cp866" => encoding_rs::IBM866,
            "koi8r" => encoding_rs::KOI8_R,
            "koi8u" => encoding_rs::KOI8_U,
            "tis620" => encoding_rs::WINDOWS_874,
            "macroman" => encoding_rs::MACINTOSH,
            "gbk" | "gb2312" => encoding_rs::GBK,
            "gb18030" => encoding_rs::GB18030,
            "big5" => encoding_rs::BIG5,
            "sjis" | "cp932" => encoding_rs::SHIFT_JIS,
            "ujis" | "eucjpms" => encoding_rs::EUC_JP,
            "euckr" => encoding_rs::EUC_KR,
            _ => {
                return Err(Error::unsupported(format!(
                    "character set {name} is not supported; ALTER TABLE … CONVERT TO CHARACTER SET utf8mb4"
                )));
            }
        };
        Ok(Self::Other(encoding))
    }

    /// The character set of a collation id, for the text of statements; UTF-8 for ids that are not known.
    pub fn of_statement(collation: u16) -> Self {
        match collation {
            5 | 8 | 15 | 31 | 47 | 48 | 49 | 94 => Self::Other(encoding_rs::WINDOWS_1252),
            14 | 23 | 50 | 51 | 52 => Self::Other(encoding_rs::WINDOWS_1251),
            28 | 87 => Self::Other(encoding_rs::GBK),
            1 | 84 => Self::Other(encoding_rs::BIG5),
            13 | 88 | 95 | 96 => Self::Other(encoding_rs::SHIFT_JIS),
            248..=250 => Self::Other(encoding_rs::GB18030),
            _ => Self::Utf8,
        }
    }

    /// Reads `bytes` as text, into `scratch` unless they are UTF-8 already; `None` if they are not valid.
    pub fn decode<'a>(self, bytes: &'a [u8], scratch: &'a mut String) -> Option<&'a str> {
        match self {
            Self::Utf8 => std::str::from_utf8(bytes).ok(),
            Self::Utf16Be => decode_units(utf16(bytes, u16::from_be_bytes)?, scratch),
            Self::Utf16Le => decode_units(utf16(bytes, u16::from_le_bytes)?, scratch),
            Self::Utf32 => decode_utf32(bytes, scratch),
            // Every byte below 0x80 is ASCII in all of these; Shift_JIS, where MySQL agrees with the WHATWG, too.
            Self::Other(_) if bytes.is_ascii() => std::str::from_utf8(bytes).ok(),
            Self::Other(encoding) => decode_other(encoding, bytes, scratch),
        }
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Option<impl Iterator<Item = u16>> {
    let (units, rest) = bytes.as_chunks::<2>();
    rest.is_empty()
        .then(|| units.iter().map(move |pair| unit(*pair)))
}

fn decode_units(units: impl Iterator<Item = u16>, scratch: &mut String) -> Option<&str> {
    scratch.clear();
    for c in char::decode_utf16(units) {
        scratch.push(c.ok()?);
    }
    Some(scratch)
}

fn decode_utf32<'a>(bytes: &[u8], scratch: &'a mut String) -> Option<&'a str> {
    scratch.clear();
    let (units, rest) = bytes.as_chunks::<4>();
    for unit in units {
        scratch.push(char::from_u32(u32::from_be_bytes(*unit))?);
    }
    rest.is_empty().then_some(scratch)
}

fn decode_other<'a>(
    encoding: &'static Encoding,
    bytes: &[u8],
    scratch: &'a mut String,
) -> Option<&'a str> {
    let mut decoder = encoding.new_decoder_without_bom_handling();
    scratch.clear();
    scratch.reserve(decoder.max_utf8_buffer_length_without_replacement(bytes.len())?);
    let (result, _) = decoder.decode_to_string_without_replacement(bytes, scratch, true);
    matches!(result, DecoderResult::InputEmpty).then_some(scratch)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("latin1", b"caf\xe9 \x80\x81", "café €\u{81}")]
    #[case("gbk", b"\xd6\xd0\xce\xc4", "中文")]
    #[case("utf8mb3", "été".as_bytes(), "été")]
    #[case("ucs2", b"\x00a\x4e\x2d", "a中")]
    #[case("utf16", b"\xd8\x3d\xde\x00", "😀")]
    #[case("utf16le", b"\x3d\xd8\x00\xde", "😀")]
    #[case("utf32", b"\x00\x01\xf6\x00", "😀")]
    #[case("cp1251", b"\xcf\xf0", "Пр")]
    fn reads_text(#[case] name: &str, #[case] bytes: &[u8], #[case] expected: &str) {
        let mut scratch = String::new();
        let charset = Charset::from_name(name).unwrap();
        assert_eq!(charset.decode(bytes, &mut scratch), Some(expected));
    }

    #[rstest]
    #[case("utf8mb4", b"\xff")]
    #[case("utf16", b"\xd8\x3d")]
    #[case("ucs2", b"\x00")]
    #[case("utf32", b"\x00\x00\xd8\x00")]
    #[case("gbk", b"\xff\xff")]
    fn refuses_invalid_text(#[case] name: &str, #[case] bytes: &[u8]) {
        let charset = Charset::from_name(name).unwrap();
        assert_eq!(charset.decode(bytes, &mut String::new()), None);
    }

    #[test]
    fn names_the_remedy_for_sets_without_a_decoder() {
        let message = Charset::from_name("keybcs2").unwrap_err().to_string();
        assert!(message.contains("CONVERT TO CHARACTER SET utf8mb4"));
    }
}
