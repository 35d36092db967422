"""Amounts of an order: in its currency, and exact."""

from collections.abc import Iterable

from sluis import Currency, Decimal, DecimalError, Field, Inexact


def amount(field: Field, currency: Currency) -> Decimal:
    """An amount that must be there, exact in the currency's minor unit."""
    stated = field.decimal()
    try:
        return currency.exactly(stated)
    except Inexact:
        raise field.invalid(f"has more decimals than {currency}") from None
    except DecimalError as error:
        raise field.invalid(str(error)) from None


def total_of(amounts: Iterable[Decimal], currency: Currency, field: Field) -> Decimal:
    """The sum; `field` is what is wrong where it is too large."""
    return field.exactly(lambda: sum(amounts, Decimal(0, currency.decimals)))


def must_be(field: Field, total: Decimal, currency: Currency, parts: str) -> Decimal:
    """The stated amount, which must be what its parts add up to, to the last minor unit."""
    stated = amount(field, currency)
    if stated != total:
        verb = "add up" if parts.endswith("s") else "adds up"
        raise field.invalid(f"is {stated}, but {parts} {verb} to {total}")
    return stated
