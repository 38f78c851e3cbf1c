//! The credential of a request (RFC 6750, section 2.1).

use crate::error::VerifyError;

/// The one Bearer credential among the values of `Authorization`. Two could mean two callers, and who is meant nobody can tell.
pub(crate) fn credential<'header>(mut values: impl Iterator<Item = &'header [u8]>) -> Result<&'header str, VerifyError> {
    let value = values.next().ok_or(VerifyError::MissingToken)?;
    if values.next().is_some() {
        return Err(VerifyError::InvalidRequest);
    }
    let value = str::from_utf8(value).map_err(|_| VerifyError::InvalidRequest)?;
    let (scheme, credential) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return Err(VerifyError::MissingToken);
    }
    let credential = credential.trim_matches(' ');
    let is_plain = |it: u8| it.is_ascii_alphanumeric() || b"-._~+/=".contains(&it);
    if credential.is_empty() || !credential.bytes().all(is_plain) { Err(VerifyError::InvalidRequest) } else { Ok(credential) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_credential() {
        let one = |value: &'static str| credential(std::iter::once(value.as_bytes()));
        assert_eq!(one("Bearer a.b-c_d~+/="), Ok("a.b-c_d~+/="));
        assert_eq!(one("bEARER  x"), Ok("x"));
        assert_eq!(one("Basic x"), Err(VerifyError::MissingToken));
        assert_eq!(one("Bearer"), Err(VerifyError::InvalidRequest));
        assert_eq!(one("Bearer a b"), Err(VerifyError::InvalidRequest));
        assert_eq!(one("Bearer a,Bearer b"), Err(VerifyError::InvalidRequest));
        assert_eq!(credential(std::iter::empty()), Err(VerifyError::MissingToken));
        assert_eq!(credential([&b"Bearer a"[..], b"Bearer a"].into_iter()), Err(VerifyError::InvalidRequest));
    }
}
