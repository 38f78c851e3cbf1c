//! Where randomness comes from.

/// A cryptographically secure source of random bytes.
pub trait Random: Send + Sync {
    /// Fills `bytes` with random bytes.
    fn fill(&self, bytes: &mut [u8]);
}

/// Always the same byte: for tests.
#[cfg(test)]
pub(crate) struct Fixed(pub(crate) u8);

#[cfg(test)]
impl Random for Fixed {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(self.0);
    }
}
