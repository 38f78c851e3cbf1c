//! Where the head of a request ends.

/// Looks for the empty line that ends a head, in pieces of any size.
///
/// It decides only how much the parser gets at a time. If it sees an end where the parser sees none, the parser gets the
/// rest a moment later.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum HeadEnd {
    /// Inside of a line.
    #[default]
    Line,
    /// After a line feed.
    LineFeed,
    /// After a line feed and a carriage return.
    CarriageReturn,
}

impl HeadEnd {
    /// Returns how many of `bytes` belong to the head, if it ends in them.
    pub(super) fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        for (position, byte) in bytes.iter().enumerate() {
            *self = match (*self, byte) {
                (Self::Line, b'\n') => Self::LineFeed,
                (Self::LineFeed | Self::CarriageReturn, b'\n') => {
                    *self = Self::Line;
                    return Some(position + 1);
                }
                (Self::LineFeed, b'\r') => Self::CarriageReturn,
                _ => Self::Line,
            };
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_end_is_found_wherever_the_pieces_are_cut() {
        for head in ["GET / HTTP/1.1\r\nhost: x\r\n\r\n", "GET / HTTP/1.1\nhost: x\n\n", "GET / HTTP/1.1\r\nhost: x\r\n\n"] {
            let text = format!("{head}GET");
            for cut in 0..text.len() {
                let (first, second) = text.as_bytes().split_at(cut);
                let mut end = HeadEnd::default();
                let found = end.find(first).or_else(|| end.find(second).map(|found| found + first.len()));
                assert_eq!(found, Some(head.len()), "{text:?} cut at {cut}");
            }
        }
        assert_eq!(HeadEnd::default().find(b"GET / HTTP/1.1\r\nhost: x\r\n\r"), None);
    }
}
