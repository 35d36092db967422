#![allow(clippy::unwrap_used)]

use std::string::{String, ToString};

use proptest::prelude::*;

use super::*;

fn d(text: &str) -> Decimal {
    Decimal::parse(text).unwrap()
}

#[test]
fn plain_notation_is_kept_to_the_letter() {
    for text in [
        "0",
        "0.00",
        "1",
        "12.50",
        "-12.50",
        "0.05",
        "-0.05",
        "1500",
        "12.345",
        "0.000000000000000001",
        "999999999999999999",
    ] {
        assert_eq!(d(text).to_string(), text);
        assert_eq!(serde_json::to_string(&d(text)).unwrap(), text);
    }
    assert_eq!(Decimal::new(i64::MIN, 18).unwrap().to_string(), "-9.223372036854775808");
    assert_eq!(d("007.10").to_string(), "7.10");
    assert_eq!(d("-0").to_string(), "0");
}

#[test]
fn other_notations_are_refused() {
    for text in
        ["", "-", ".", ".5", "5.", "+1", "1,50", "1_000", " 1", "1 ", "1e2", "NaN", "inf", "0x10", "--1", "1.2.3", "١٢"]
    {
        assert_eq!(Decimal::parse(text), Err(DecimalError::Malformed), "{text:?}");
    }
    for text in ["1000000000000000000", "0.0000000000000000001", "123456789012345678.9"] {
        assert_eq!(Decimal::parse(text), Err(DecimalError::Overflow), "{text:?}");
    }
}

#[test]
fn json_numbers_may_have_exponents() {
    for (text, is) in
        [("1.25e2", "125"), ("1E-2", "0.01"), ("1e+3", "1000"), ("12.50", "12.50"), ("0e999", "0"), ("-2.0e1", "-20")]
    {
        assert_eq!(Decimal::parse_json(text).unwrap().to_string(), is, "{text}");
    }
    for text in ["1e", "1e+-2", "1e2.5", "e5", "1e+"] {
        assert_eq!(Decimal::parse_json(text), Err(DecimalError::Malformed), "{text}");
    }
    for text in ["1e400", "1e-400", "9e19", "1e2147483647", "1e-2147483648"] {
        assert_eq!(Decimal::parse_json(text), Err(DecimalError::Overflow), "{text}");
    }
}

#[test]
fn arithmetic_is_exact_or_an_error() {
    assert_eq!(d("0.1").plus(d("0.2")).unwrap().to_string(), "0.3");
    assert_eq!(d("398.00").minus(d("398.01")).unwrap().to_string(), "-0.01");
    assert_eq!(d("3").times(d("19.99")).unwrap().to_string(), "59.97");
    assert_eq!(d("12.50").rescale(1).unwrap().to_string(), "12.5");
    assert_eq!(d("12.55").rescale(1), Err(DecimalError::Inexact));
    assert_eq!(d("12.5").units_at(2), Ok(1250));
    assert_eq!(d("999999999999999999").times(d("10.00")), Err(DecimalError::Overflow));
    assert_eq!(d("1.0000000000").times(d("1.0000000000")).unwrap(), d("1"));
    assert_eq!(d("9").plus(d("0.000000000000000001")).unwrap().to_string(), "9.000000000000000001");
    assert_eq!(d("90").plus(d("0.000000000000000001")), Err(DecimalError::Overflow));
}

#[test]
fn quotients_round_half_away_from_zero() {
    assert_eq!(d("10.00").divided_by(d("3"), 9).unwrap().to_string(), "3.333333333");
    assert_eq!(d("2.5").divided_by(d("1"), 0).unwrap().to_string(), "3");
    assert_eq!(d("-2.5").divided_by(d("1"), 0).unwrap().to_string(), "-3");
    assert_eq!(d("2.4").divided_by(d("1"), 0).unwrap().to_string(), "2");
    assert_eq!(d("1").divided_by(d("0.25"), 2).unwrap().to_string(), "4.00");
    assert_eq!(d("1").divided_by(Decimal::ZERO, 2), Err(DecimalError::Overflow));
    assert_eq!(d("1.005").round(2).unwrap().to_string(), "1.01");
}

#[test]
fn values_compare_whatever_their_decimals() {
    assert_eq!(d("1.50"), d("1.5"));
    assert!(d("-1") < d("0.1") && d("999999999999999999") > d("0.000000000000000001"));
}

proptest! {
    #[test]
    fn writing_and_parsing_give_the_same_back(units in -999_999_999_999_999_999i64..=999_999_999_999_999_999, scale in 0u8..=18) {
        let decimal = Decimal::new(units, scale).unwrap();
        let text = decimal.to_string();
        let back = Decimal::parse(&text).unwrap();
        prop_assert_eq!((back.units, back.scale), (units, scale));
        prop_assert_eq!(serde_json::to_string(&decimal).unwrap(), text);
    }

    #[test]
    fn whatever_the_text_parsing_gives_a_value_or_an_error(text in "\\PC*") {
        let _ = Decimal::parse(&text);
        let _ = Decimal::parse_json(&text);
    }

    #[test]
    fn whatever_json_calls_a_number_parses_or_overflows(value in any::<f64>().prop_filter("JSON has no others", |v| v.is_finite())) {
        let text: String = serde_json::to_string(&value).unwrap();
        match Decimal::parse_json(&text) {
            Ok(decimal) => prop_assert!((decimal.to_string().parse::<f64>().unwrap() - value).abs() <= value.abs() * 1e-15),
            Err(error) => prop_assert_eq!(error, DecimalError::Overflow),
        }
    }

    #[test]
    fn a_sum_taken_away_again_leaves_the_first(a in -1_000_000_000i64..1_000_000_000, b in -1_000_000_000i64..1_000_000_000, s in 0u8..=3, t in 0u8..=3) {
        let (a, b) = (Decimal::new(a, s).unwrap(), Decimal::new(b, t).unwrap());
        prop_assert_eq!(a.plus(b).unwrap().minus(b).unwrap(), a);
        prop_assert_eq!(a.times(b).unwrap(), b.times(a).unwrap());
    }
}
