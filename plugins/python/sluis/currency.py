"""Currencies of ISO 4217 and their minor units."""

from .decimal import Decimal


class Currency:
    """A currency in use (ISO 4217): its `code`, and `decimals` of its minor unit, 2 for the euro, 0 for the yen."""

    __slots__ = ("code", "decimals")

    def __init__(self, code: str, decimals: int) -> None:
        self.code = code
        self.decimals = decimals

    @staticmethod
    def of(code: str) -> "Currency | None":
        """The currency of an upper-case code: `EUR`."""
        return ALL.get(code)

    def exactly(self, amount: Decimal) -> Decimal:
        """`amount` in this currency, with exactly its decimals; `Inexact` where it has finer ones."""
        return amount.rescale(self.decimals)

    def __str__(self) -> str:
        return self.code

    def __repr__(self) -> str:
        return f"Currency({self.code})"


TWO = """
    EUR USD GBP CHF CAD AUD CNY SEK NOK DKK PLN CZK HUF RON BGN TRY INR BRL MXN ZAR SGD HKD NZD ILS THB MYR PHP IDR AED
    SAR QAR EGP NGN KES MAD UAH RUB ARS COP PEN TWD PKR BDT LKR VED VES AFN ALL AMD ANG AOA AWG AZN BAM BBD BMD BND BOB
    BSD BTN BWP BYN BZD CDF CRC CUP CVE DOP DZD ERN ETB FJD FKP GEL GHS GIP GMD GTQ GYD HNL HTG IRR JMD KGS KHR KPW KYD
    KZT LAK LBP LRD LSL MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MZN NAD NIO NPR PAB PGK RSD SBD SCR SDG SHP SLE SOS SRD
    SSP STN SVC SYP SZL TJS TMT TOP TTD TZS UYU UZS WST XCD XCG YER ZMW ZWG CHE CHW BOV COU MXV USN
"""
NONE = "JPY KRW VND CLP ISK XAF XOF XPF PYG UGX BIF DJF GNF KMF RWF VUV UYI"
THREE = "KWD BHD OMR JOD TND IQD LYD"
FOUR = "CLF UYW"
ALL = {
    code: Currency(code, decimals)
    for decimals, codes in ((2, TWO), (0, NONE), (3, THREE), (4, FOUR))
    for code in codes.split()
}
