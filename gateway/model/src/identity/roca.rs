//! Recognises RSA moduli made by the broken Infineon library (CVE-2017-15361, "ROCA").
//!
//! Its primes have the form k·M + (65537^a mod M), M being the product of the first primes. So has their product: modulo
//! every small prime the modulus is a power of 65537. An honest modulus has that property for all of these primes about
//! once in a hundred million keys.

/// The primes whose product is the M of the smallest affected key size; larger sizes use more, and these among them.
const PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109,
    113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/// Whether a big-endian modulus carries the fingerprint.
pub(super) fn is_roca(modulus: &[u8]) -> bool {
    PRIMES.iter().all(|&prime| {
        let rest = modulus.iter().fold(0_u32, |rest, byte| (rest * 256 + u32::from(*byte)) % prime);
        powers(prime).any(|power| power == rest)
    })
}

/// The subgroup that 65537 generates modulo `prime`.
fn powers(prime: u32) -> impl Iterator<Item = u32> {
    let step = 65_537 % prime;
    std::iter::successors(Some(1), move |power| Some(power * step % prime).filter(|next| *next != 1))
        .take(prime as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// k·M + 1 with k a power of 256: 65537^0 modulo every prime, as the broken generator would make it.
    #[test]
    fn a133_roca_fingerprint_is_seen_and_neighbours_are_not() {
        let mut modulus = vec![1_u8];
        for prime in PRIMES {
            let mut carry = 0;
            for byte in modulus.iter_mut().rev() {
                let product = u32::from(*byte) * prime + carry;
                *byte = (product % 256) as u8;
                carry = product / 256;
            }
            if carry > 0 {
                modulus.insert(0, carry as u8);
            }
        }
        modulus.resize(256, 0);
        modulus[255] = 1;
        assert!(is_roca(&modulus));
        modulus[255] = 3;
        assert!(!is_roca(&modulus));
    }

    #[test]
    fn subgroups_are_complete() {
        // 65537 ≡ 1 modulo 3 is false (it is 2): the whole group. Modulo 5 it is 2, a generator as well.
        assert_eq!(powers(3).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(powers(5).collect::<Vec<_>>(), [1, 2, 4, 3]);
        // Modulo 11 it is 10, of order 2: half of the moduli fall out here already.
        assert_eq!(powers(11).collect::<Vec<_>>(), [1, 10]);
    }
}
