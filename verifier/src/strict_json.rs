//! JSON that reads one way only: an object with a member twice is refused at every depth (RFC 7515, section 4; RFC 7519, section 4).
//! Readers differ on which of the two counts, and an attacker chooses the reader.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// What the error of a doubled member begins with; `serde_json`'s errors carry texts only.
pub(crate) const TWICE: &str = "a member twice";

/// Why a text is not a JSON object that reads one way only.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Not a JSON object.
    Malformed,
    /// A member is there twice.
    Duplicate,
}

/// Reads a JSON object.
pub(crate) fn object(text: &[u8]) -> Result<Map<String, Value>, Fault> {
    let fault = |error: serde_json::Error| if error.to_string().starts_with(TWICE) { Fault::Duplicate } else { Fault::Malformed };
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Strict.deserialize(&mut reader).map_err(fault)?;
    reader.end().map_err(fault)?;
    match value {
        Value::Object(members) => Ok(members),
        _ => Err(Fault::Malformed),
    }
}

/// Reads any JSON.
#[derive(Clone, Copy)]
pub(crate) struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON without a member twice")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element_seed(Self)? {
            list.push(element);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(Self)?;
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom(TWICE));
            }
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_serde_json_reads() {
        let text = r#"{"a":[1,-2,3.5,null,true,"x"],"b":{"c":{}}}"#;
        assert_eq!(Value::Object(object(text.as_bytes()).unwrap()), serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn refuses_a_member_twice_at_every_depth() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"a":{"b":1,"b":2}}"#, r#"{"a":[{"b":1,"b":2}]}"#, r#"{"a":1,"\u0061":2}"#] {
            assert_eq!(object(text.as_bytes()), Err(Fault::Duplicate), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_not_an_object() {
        for text in ["", "[]", "1", "{}x", "{", "{\"a\":1,}", "\u{feff}{}", "{\"a\":\"\u{1}\"}"] {
            assert_eq!(object(text.as_bytes()), Err(Fault::Malformed), "{text}");
        }
        assert_eq!(object(b"{\"a\":\"\xff\"}"), Err(Fault::Malformed));
        assert_eq!(object("{\"a\":".repeat(10_000).as_bytes()), Err(Fault::Malformed));
    }
}
