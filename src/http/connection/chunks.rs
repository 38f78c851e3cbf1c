//! Where a chunked body ends (RFC 9112, section 7.1).

/// Looks for the end of a chunked body, in pieces of any size.
///
/// The parser decides what is in the body and whether it is well formed. This decides only that the parser does not get
/// the next request together with the body: it would parse it, and forget how to answer the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChunkedEnd {
    /// In the line with the size of a chunk, in its digits.
    Size(u64),
    /// In the same line, after its digits.
    Extension(u64),
    /// So many bytes before the end of a chunk.
    Data(u64),
    /// In the line end after a chunk.
    DataEnd,
    /// In a line after the last chunk, which is empty so far or not.
    Trailer { empty: bool },
}

impl Default for ChunkedEnd {
    fn default() -> Self {
        Self::Size(0)
    }
}

impl ChunkedEnd {
    /// Returns how many of `bytes` belong to the body, if it ends in them.
    pub(super) fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut position = 0;
        while let Some(&byte) = bytes.get(position) {
            if let Self::Data(left) = *self {
                let skipped = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - position);
                position += skipped;
                let left = left - u64::try_from(skipped).unwrap_or(left);
                *self = if left == 0 { Self::DataEnd } else { Self::Data(left) };
                continue;
            }
            position += 1;
            *self = match (*self, byte) {
                (Self::Size(0) | Self::Extension(0), b'\n') => Self::Trailer { empty: true },
                (Self::Size(size) | Self::Extension(size), b'\n') => Self::Data(size),
                (Self::Size(size), byte) => match char::from(byte).to_digit(16) {
                    Some(digit) => Self::Size(size.saturating_mul(16).saturating_add(u64::from(digit))),
                    None => Self::Extension(size),
                },
                (Self::DataEnd, b'\n') => Self::Size(0),
                (Self::Trailer { empty: true }, b'\n') => {
                    *self = Self::default();
                    return Some(position);
                }
                (Self::Trailer { .. }, b'\n') => Self::Trailer { empty: true },
                (Self::Trailer { empty }, byte) => Self::Trailer { empty: empty && byte == b'\r' },
                (state, _) => state,
            };
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunked_end_is_found_wherever_the_pieces_are_cut() {
        for body in [
            "0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "5;x=1\r\n0\r\n\r\n\r\n1A\r\nabcdefghijklmnopqrstuvwxyz\r\n0000;y\r\ntrailer: 1\r\nother: 2\r\n\r\n",
            "2\n\n\n\n0\n\n",
        ] {
            let text = format!("{body}GET / HTTP/1.1\r\n\r\n");
            for cut in 0..text.len() {
                let (first, second) = text.as_bytes().split_at(cut);
                let mut end = ChunkedEnd::default();
                let found = end.find(first).or_else(|| end.find(second).map(|found| found + first.len()));
                assert_eq!(found, Some(body.len()), "{text:?} cut at {cut}");
            }
        }
        assert_eq!(ChunkedEnd::default().find(b"5\r\nhello\r\n"), None);
        assert_eq!(ChunkedEnd::default().find(b"ffffffffffffffffffff\r\n0\r\n\r\n"), None);
    }
}
