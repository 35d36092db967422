//! Currencies of ISO 4217 and their minor units.

use core::fmt;

use crate::decimal::{Decimal, DecimalError};

/// A currency in use (ISO 4217), with the number of decimals of its minor unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Currency {
    code: &'static str,
    decimals: u8,
}

impl Currency {
    /// The currency of an upper-case code: `EUR`.
    pub fn of(code: &str) -> Option<Self> {
        let among = |codes: &'static str| {
            let at = codes.as_bytes().chunks(4).position(|c| &c[..3] == code.as_bytes())?;
            codes.get(at * 4..at * 4 + 3)
        };
        [(TWO, 2), (NONE, 0), (THREE, 3), (FOUR, 4)]
            .into_iter()
            .find_map(|(codes, decimals)| among(codes).map(|code| Self { code, decimals }))
    }

    /// Its code.
    pub const fn code(self) -> &'static str {
        self.code
    }

    /// Decimals of its minor unit: 2 for the euro, 0 for the yen, 3 for the Kuwaiti dinar.
    pub const fn decimals(self) -> u8 {
        self.decimals
    }

    /// `amount` in this currency, with exactly its decimals; [`DecimalError::Inexact`] where it has finer ones.
    pub fn exactly(self, amount: Decimal) -> Result<Decimal, DecimalError> {
        amount.rescale(self.decimals)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code)
    }
}

const TWO: &str = "EUR USD GBP CHF CAD AUD CNY SEK NOK DKK PLN CZK HUF RON BGN TRY INR BRL MXN ZAR SGD HKD NZD ILS THB \
    MYR PHP IDR AED SAR QAR EGP NGN KES MAD UAH RUB ARS COP PEN TWD PKR BDT LKR VED VES AFN ALL AMD ANG AOA AWG AZN \
    BAM BBD BMD BND BOB BSD BTN BWP BYN BZD CDF CRC CUP CVE DOP DZD ERN ETB FJD FKP GEL GHS GIP GMD GTQ GYD HNL HTG \
    IRR JMD KGS KHR KPW KYD KZT LAK LBP LRD LSL MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MZN NAD NIO NPR PAB PGK RSD \
    SBD SCR SDG SHP SLE SOS SRD SSP STN SVC SYP SZL TJS TMT TOP TTD TZS UYU UZS WST XCD XCG YER ZMW ZWG CHE CHW BOV \
    COU MXV USN";
const NONE: &str = "JPY KRW VND CLP ISK XAF XOF XPF PYG UGX BIF DJF GNF KMF RWF VUV UYI";
const THREE: &str = "KWD BHD OMR JOD TND IQD LYD";
const FOUR: &str = "CLF UYW";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn minor_units_are_those_of_iso_4217() {
        for (code, decimals) in [("EUR", 2), ("USN", 2), ("JPY", 0), ("UYI", 0), ("KWD", 3), ("LYD", 3), ("CLF", 4)] {
            let currency = Currency::of(code).unwrap();
            assert_eq!((currency.code(), currency.decimals()), (code, decimals));
        }
    }

    #[test]
    fn nothing_else_is_a_currency() {
        for code in ["", "E", "EU", "eur", "EURO", "UR ", " EU", "XXX", "DEM", "€€€", "EUR USD"] {
            assert_eq!(Currency::of(code), None, "{code:?}");
        }
    }

    #[test]
    fn the_lists_are_codes_with_one_space_between_and_none_twice() {
        let mut seen = std::collections::BTreeSet::new();
        for list in [TWO, NONE, THREE, FOUR] {
            for code in list.split(' ') {
                assert!(code.len() == 3 && code.bytes().all(|b| b.is_ascii_uppercase()), "{code:?}");
                assert!(seen.insert(code), "{code} twice");
            }
        }
    }

    #[test]
    fn an_amount_finer_than_the_minor_unit_is_not_exact() {
        let (yen, dinar) = (Currency::of("JPY").unwrap(), Currency::of("KWD").unwrap());
        assert_eq!(yen.exactly(Decimal::parse("1500.00").unwrap()).unwrap().to_string(), "1500");
        assert_eq!(yen.exactly(Decimal::parse("1500.50").unwrap()), Err(DecimalError::Inexact));
        assert_eq!(dinar.exactly(Decimal::parse("1.5").unwrap()).unwrap().to_string(), "1.500");
    }
}
