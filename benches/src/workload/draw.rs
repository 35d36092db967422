//! Numbers that look random and are the same in every run: drawn from a seed and a request's number alone, whichever
//! thread asks in whatever order.

/// The draws of one request: splitmix64 (Steele, Lea, Flood 2014), begun at a place of its own.
#[derive(Debug, Clone)]
pub struct Draw(u64);

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

impl Draw {
    /// The draws of the request with this number.
    pub fn of(seed: u64, number: u64) -> Self {
        Draw(scramble(seed ^ scramble(number.wrapping_mul(GOLDEN))))
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        scramble(self.0)
    }

    /// One of `0..below`, 0 where that is empty.
    pub fn below(&mut self, below: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(below)) >> 64) as u64
    }
}

fn scramble(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Picks among things by weight.
#[derive(Debug, Clone)]
pub struct Pick {
    /// The share of everything up to and with each, of all 64 bits.
    upto: Vec<u64>,
}

impl Pick {
    /// By these weights, of which one at least is more than 0. The last one takes what rounding leaves.
    pub fn by(weights: &[f64]) -> Self {
        let total: f64 = weights.iter().sum();
        let mut sum = 0.0;
        let upto = weights.iter().map(|weight| {
            sum += weight;
            // Saturates: a share of 1 is all bits.
            (sum / total * 2f64.powi(64)) as u64
        });
        Pick { upto: upto.collect() }
    }

    /// The index that these 64 bits pick.
    pub fn at(&self, bits: u64) -> usize {
        self.upto.partition_point(|upto| *upto <= bits).min(self.upto.len().saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_weight_is_never_picked() {
        let pick = Pick::by(&[0.0, 1.0, 0.0, 3.0]);
        let mut counts = [0u32; 4];
        for number in 0..100_000 {
            counts[pick.at(Draw::of(1, number).bits())] += 1;
        }
        assert_eq!((counts[0], counts[2]), (0, 0));
        assert!((24_000..26_000).contains(&counts[1]), "{counts:?}");
        assert_eq!((pick.at(0), pick.at(u64::MAX)), (1, 3));
    }

    #[test]
    fn draws_of_neighbours_have_nothing_in_common() {
        let bits = |seed, number| Draw::of(seed, number).bits();
        assert_eq!(bits(7, 3), bits(7, 3));
        let ones: u32 = (0..10_000).map(|n| (bits(7, n) ^ bits(7, n + 1)).count_ones()).sum();
        assert!((310_000..330_000).contains(&ones), "{ones} of 640,000 bits differ");
    }
}
