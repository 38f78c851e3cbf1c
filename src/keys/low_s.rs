//! ECDSA signatures have two texts: if (r, s) holds, so does (r, n - s). Hourpass makes the one with the lower s only.
//!
//! Neither RFC 7518 nor FIPS 186-5 asks for that, and the other text gives nobody more than the token gives its holder. But whoever compares tokens by their text, in
//! a denylist or for replay, is not to be got round by a text that anybody can make.

/// The order of P-256 (FIPS 186-4, D.1.2.3), big-endian.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9,
    0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// The other signature of the same message, of one with r and s at their fixed lengths (RFC 7518, section 3.4).
pub(super) fn twin(signature: &[u8]) -> Option<Vec<u8>> {
    let (r, s) = signature.split_at_checked(32).filter(|(_, s)| s.len() == 32)?;
    let mut borrow = false;
    let mut rest = [0; 32];
    for ((digit, order), s) in rest.iter_mut().zip(ORDER).zip(s).rev() {
        let (difference, below) = order.overflowing_sub(*s);
        let (difference, below_again) = difference.overflowing_sub(u8::from(borrow));
        borrow = below || below_again;
        *digit = difference;
    }
    Some([r, &rest].concat())
}

/// Whether s is the greater one of the two, so that Hourpass has not made it.
pub(super) fn is_high(signature: &[u8]) -> bool {
    twin(signature).is_some_and(|twin| signature.get(32..) > twin.get(32..))
}

/// The signature with the lower s.
pub(super) fn normalised(signature: Vec<u8>) -> Vec<u8> {
    match twin(&signature) {
        Some(twin) if signature.get(32..) > twin.get(32..) => twin,
        _ => signature,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twin_of_a_twin_is_the_signature() {
        for s in [[0_u8; 31].iter().copied().chain([1]).collect::<Vec<_>>(), vec![0x55; 32], vec![0xbb; 32]] {
            let signature = [vec![7; 32], s].concat();
            let other = twin(&signature).unwrap();
            assert_ne!(other, signature);
            assert_eq!(twin(&other).unwrap(), signature);
            assert_ne!(is_high(&signature), is_high(&other));
            assert_eq!(normalised(signature.clone()), normalised(other));
        }
        assert_eq!(normalised(vec![1; 70]), vec![1; 70]);
    }
}
