"""Shipping, fees and taxes of an order: rows of `taxes`, which in ERPNext are taxes and charges alike."""

from sluis import Currency, Decimal, Field

from amounts import amount, must_be, total_of
from settings import Settings


def charges_and_total(order: Field, currency: Currency, items: list[dict], settings: Settings) -> tuple[list, Decimal]:
    """The rows that are not 0, and the order's total, which all parts must add up to."""
    shipping_lines, tax_lines = order.get("shipping_lines"), order.get("tax_lines")
    shipping = _charges(shipping_lines, currency, settings.shipping_account, "Shipping")
    must_be(order.get("shipping_total"), _total(shipping, currency, shipping_lines), currency, "the shipping lines")
    fees = _charges(order.get("fee_lines"), currency, settings.fee_account, "Fee")
    taxes = [_tax(line.object(), currency, settings.tax_account) for line in tax_lines.items()]
    must_be(order.get("total_tax"), _total(taxes, currency, tax_lines), currency, "the tax lines")

    total = order.get("total")
    rows = shipping + fees + taxes
    parts = [row["tax_amount"] for row in rows] + [item["amount"] for item in items]
    stated = must_be(total, total_of(parts, currency, total), currency, "the order")
    return [row for row in rows if row["tax_amount"]], stated


def _charges(lines: Field, currency: Currency, account_head: str, otherwise: str) -> list[dict]:
    return [_charge(line.object(), currency, account_head, otherwise) for line in lines.items()]


def _charge(line: Field, currency: Currency, account_head: str, otherwise: str) -> dict:
    """A line of shipping (`method_title`) or a fee (`name`)."""
    title = line.get("method_title").optional_text() or line.get("name").optional_text()
    return _row(account_head, title or otherwise, amount(line.get("total"), currency))


def _tax(line: Field, currency: Currency, account_head: str) -> dict:
    of_items = amount(line.get("tax_total"), currency)
    of_shipping = amount(line.get("shipping_tax_total"), currency)
    label = line.get("label").optional_text()
    return _row(account_head, label or "Tax", line.exactly(lambda: of_items + of_shipping))


def _row(account_head: str, description: str, tax_amount: Decimal) -> dict:
    return {
        "charge_type": "Actual",
        "account_head": account_head,
        "description": description,
        "tax_amount": tax_amount,
    }


def _total(rows: list[dict], currency: Currency, lines: Field) -> Decimal:
    return total_of((row["tax_amount"] for row in rows), currency, lines)
