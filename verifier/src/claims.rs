//! Reads the claims of a token in one pass, with the care of [`strict_json`](crate::strict_json) and without a detour through a tree of values:
//! beside an RSA signature check, which takes sixteen microseconds, such a tree is dear.

use std::cell::Cell;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::error::VerifyError;
use crate::strict_json::{Strict, TWICE};
use crate::token::{AuthorizationDetail, PrincipalType, StatusReference};

/// What was found. Whether it is enough is decided by [`AccessToken`](crate::AccessToken).
#[derive(Default)]
pub(crate) struct Claims {
    pub(crate) iss: Option<String>,
    pub(crate) sub: Option<String>,
    pub(crate) aud: Option<Vec<String>>,
    pub(crate) client_id: Option<String>,
    pub(crate) jti: Option<String>,
    pub(crate) iat: Option<i64>,
    pub(crate) exp: Option<i64>,
    pub(crate) nbf: Option<i64>,
    pub(crate) scope: Option<String>,
    pub(crate) authorization_details: Option<Vec<AuthorizationDetail>>,
    pub(crate) status: Option<StatusReference>,
    pub(crate) principal_type: Option<PrincipalType>,
    pub(crate) name: Option<String>,
    pub(crate) org_id: Option<String>,
    pub(crate) workspace_id: Option<String>,
    pub(crate) api_key_id: Option<String>,
    pub(crate) sid: Option<String>,
    pub(crate) custom: Map<String, Value>,
}

/// Reads a payload.
pub(crate) fn read(payload: &[u8]) -> Result<Claims, VerifyError> {
    let current = Cell::new("");
    let mut reader = serde_json::Deserializer::from_slice(payload);
    let claims = Reader(&current).deserialize(&mut reader).and_then(|claims| reader.end().map(|()| claims));
    claims.map_err(|error| match current.get() {
        _ if error.to_string().starts_with(TWICE) => VerifyError::DuplicateMember,
        // Not of the claim's type; the text itself is JSON.
        name if error.is_data() && !name.is_empty() => VerifyError::InvalidClaim(name),
        _ => VerifyError::Malformed,
    })
}

/// Notes which claim it is at, since an error of `serde_json` does not say.
struct Reader<'name>(&'name Cell<&'static str>);

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Claims;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Claims, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Claims;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("claims")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Claims, A::Error> {
        let mut claims = Claims::default();
        while let Some(name) = entries.next_key::<Claim>()? {
            self.0.set(name.as_str());
            match name {
                Claim::Iss => once(&mut claims.iss, &mut entries)?,
                Claim::Sub => once(&mut claims.sub, &mut entries)?,
                Claim::ClientId => once(&mut claims.client_id, &mut entries)?,
                Claim::Jti => once(&mut claims.jti, &mut entries)?,
                Claim::Iat => once(&mut claims.iat, &mut entries)?,
                Claim::Exp => once(&mut claims.exp, &mut entries)?,
                Claim::Nbf => once(&mut claims.nbf, &mut entries)?,
                Claim::Scope => once(&mut claims.scope, &mut entries)?,
                Claim::PrincipalType => once(&mut claims.principal_type, &mut entries)?,
                Claim::Name => once(&mut claims.name, &mut entries)?,
                Claim::OrgId => once(&mut claims.org_id, &mut entries)?,
                Claim::WorkspaceId => once(&mut claims.workspace_id, &mut entries)?,
                Claim::ApiKeyId => once(&mut claims.api_key_id, &mut entries)?,
                Claim::Sid => once(&mut claims.sid, &mut entries)?,
                Claim::Aud => {
                    let audiences = entries.next_value_seed(Audiences)?;
                    put(&mut claims.aud, audiences)?;
                }
                Claim::AuthorizationDetails => {
                    let value = entries.next_value_seed(Strict)?;
                    put(&mut claims.authorization_details, details(value).ok_or_else(|| A::Error::custom("not authorization details"))?)?;
                }
                Claim::Status => {
                    let value = entries.next_value_seed(Strict)?;
                    put(&mut claims.status, status(value).ok_or_else(|| A::Error::custom("no status list"))?)?;
                }
                Claim::Other(name) => {
                    let value = entries.next_value_seed(Strict)?;
                    if claims.custom.insert(name, value).is_some() {
                        return Err(A::Error::custom(TWICE));
                    }
                }
            }
        }
        self.0.set("");
        Ok(claims)
    }
}

/// `null` is a value of none of the claims; `serde` would take it for a claim that is not there.
fn once<'de, T: Deserialize<'de>, A: MapAccess<'de>>(place: &mut Option<T>, entries: &mut A) -> Result<(), A::Error> {
    let value = entries.next_value()?;
    put(place, value)
}

fn put<T, E: Error>(place: &mut Option<T>, value: T) -> Result<(), E> {
    if place.replace(value).is_some() { Err(E::custom(TWICE)) } else { Ok(()) }
}

/// One text, or several (RFC 7519, section 4.1.3).
struct Audiences;

impl<'de> DeserializeSeed<'de> for Audiences {
    type Value = Vec<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<String>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Audiences {
    type Value = Vec<String>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("one audience or several")
    }

    fn visit_str<E>(self, audience: &str) -> Result<Vec<String>, E> {
        Ok(vec![audience.to_owned()])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<String>, A::Error> {
        let mut audiences = Vec::new();
        while let Some(audience) = elements.next_element()? {
            audiences.push(audience);
        }
        Ok(audiences)
    }
}

/// RFC 9396, section 2: objects, each with a `type`. Members that are not of our form stay as they are, and give nothing.
fn details(value: Value) -> Option<Vec<AuthorizationDetail>> {
    let Value::Array(list) = value else { return None };
    list.into_iter().map(detail).collect()
}

fn detail(value: Value) -> Option<AuthorizationDetail> {
    let Value::Object(mut members) = value else { return None };
    let mut text = |name: &str| match members.remove(name) {
        None => Some(None),
        Some(Value::String(text)) => Some(Some(text)),
        Some(_) => None,
    };
    let (kind, identifier, slug, workspace_id) = (text("type")??, text("identifier")?, text("slug")?, text("workspace_id")?);
    let actions = match members.remove("actions") {
        None => Vec::new(),
        Some(Value::Array(actions)) => {
            actions.into_iter().map(|action| if let Value::String(action) = action { Some(action) } else { None }).collect::<Option<_>>()?
        }
        Some(_) => return None,
    };
    let (identifier, slug) = (identifier.unwrap_or_default(), slug.unwrap_or_default());
    Some(AuthorizationDetail { kind, identifier, slug, workspace_id, actions, other: members })
}

/// The only mechanism is the status list (draft-ietf-oauth-status-list, section 6.1). A status of another kind cannot be told, so it does not pass for none.
fn status(mut value: Value) -> Option<StatusReference> {
    let list = value.get_mut("status_list")?.as_object_mut()?;
    let idx = list.get("idx")?.as_u64()?;
    match list.remove("uri")? {
        Value::String(uri) => Some(StatusReference { idx, uri }),
        _ => None,
    }
}

/// Declares the names that claims have here.
macro_rules! names {
    ($($variant:ident = $text:literal),* $(,)?) => {
        enum Claim {
            $($variant,)*
            Other(String),
        }

        impl Claim {
            const fn as_str(&self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other(_) => "",
                }
            }

            fn of(text: &str) -> Self {
                match text {
                    $($text => Self::$variant,)*
                    other => Self::Other(other.to_owned()),
                }
            }
        }
    };
}

names! {
    Iss = "iss",
    Sub = "sub",
    Aud = "aud",
    ClientId = "client_id",
    Jti = "jti",
    Iat = "iat",
    Exp = "exp",
    Nbf = "nbf",
    Scope = "scope",
    AuthorizationDetails = "authorization_details",
    Status = "status",
    PrincipalType = "principal_type",
    Name = "name",
    OrgId = "org_id",
    WorkspaceId = "workspace_id",
    ApiKeyId = "api_key_id",
    Sid = "sid",
}

impl<'de> Deserialize<'de> for Claim {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = Claim;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a name")
            }

            fn visit_str<E>(self, text: &str) -> Result<Claim, E> {
                Ok(Claim::of(text))
            }
        }

        deserializer.deserialize_identifier(Reader)
    }
}
