"""From the shop's order to the ERP's document. Totals of lines, shipping and fees are after discounts and before tax,
whatever the shop shows its customers."""

from sluis import Currency, Day, Decimal, DecimalError, Field

from amounts import amount
from charges import charges_and_total
from settings import Settings

#: Longest `Data` field of ERPNext, characters.
DATA = 140
#: Decimals of a rate where a line's total is no whole multiple of its quantity.
RATE_DECIMALS = 9
#: Orders that nobody wants delivered.
DEAD = ("cancelled", "refunded", "failed", "trash")
#: What stands in one row where an address is shown.
ROWS = (
    ("first_name", "last_name"),
    ("company",),
    ("address_1",),
    ("address_2",),
    ("postcode", "city"),
    ("state",),
    ("country",),
)


def sales_order(order: Field, settings: Settings) -> dict:
    """The sales order of an order."""
    order.get("id").integer()
    number = order.get("number").text()
    _alive(order.get("status"))
    currency = _currency(order.get("currency"))
    created, delivery_date = _dates(order.get("date_created_gmt"), settings)
    items = _items(order.get("line_items"), currency, delivery_date, settings)
    taxes, grand_total = charges_and_total(order, currency, items, settings)
    billing = order.get("billing")
    document = {
        "doctype": "Sales Order",
        "customer": _customer(order.get("customer_id"), settings),
        "order_type": "Sales",
        "transaction_date": created,
        "delivery_date": delivery_date,
        "currency": currency.code,
        "po_no": number[:DATA],
        "po_date": created,
        "contact_email": _contact(billing.get("email")),
        "contact_phone": _contact(billing.get("phone")),
        "address_display": _display(billing),
        "shipping_address": _display(order.get("shipping")),
        "instructions": order.get("customer_note").optional_text(),
        "items": items,
        "taxes": taxes,
        "disable_rounded_total": 1,
        "grand_total": grand_total,
    }
    return _present(document)


def _present(members: dict) -> dict:
    """Without what is absent."""
    return {key: value for key, value in members.items() if value is not None}


def _alive(field: Field) -> None:
    status = field.text()
    if status in DEAD:
        raise field.invalid(f"is {status}: no sales order")


def _currency(field: Field) -> Currency:
    currency = Currency.of(field.text())
    if currency is None:
        raise field.invalid("is no currency (ISO 4217)")
    return currency


def _dates(field: Field, settings: Settings) -> tuple[str, str]:
    """When the order was made, and when it is to be delivered."""
    created = Day.parse(field.text())
    if created is None:
        raise field.invalid("is no date and time (ISO 8601)")
    delivery = created.plus_days(settings.delivery_days)
    if delivery is None:
        raise field.invalid("is too late a date")
    return str(created), str(delivery)


def _customer(field: Field, settings: Settings) -> str:
    number = field.integer()
    if number < 0:
        raise field.invalid("must not be negative")
    if number > 0:
        return f"{settings.customer_prefix}{number}"
    if settings.customer_guest is None:
        raise field.invalid("must be a customer: orders of guests are not taken")
    return settings.customer_guest


def _contact(field: Field) -> str | None:
    text = field.optional_text()
    return text and text[:DATA]


def _display(address: Field) -> str | None:
    """An address as it is shown: a line for each of its rows that is not empty."""
    rows = []
    for keys in ROWS:
        parts = [part for key in keys if (part := address.get(key).optional_text())]
        if parts:
            rows.append(" ".join(parts))
    return "\n".join(rows) or None


def _items(lines: Field, currency: Currency, delivery_date: str, settings: Settings) -> list[dict]:
    if not (all_lines := lines.items()):
        raise lines.invalid("must have at least one line")
    return [_item(line.object(), currency, delivery_date, settings) for line in all_lines]


def _item(line: Field, currency: Currency, delivery_date: str, settings: Settings) -> dict:
    sku, quantity, stated = line.get("sku"), line.get("quantity"), line.get("total")
    item_code = sku.text()
    if len(item_code) > DATA:
        raise sku.invalid(f"is too long an item code: at most {DATA} characters")
    qty = quantity.decimal().shortest()
    if qty <= 0:
        raise quantity.invalid("must be more than 0")
    total = amount(stated, currency)
    if total < 0:
        raise stated.invalid("must not be negative")
    item = {
        "item_code": item_code,
        "item_name": line.get("name").text()[:DATA],
        "qty": qty,
        "rate": _rate(total, qty, currency, stated),
        "amount": total,
        "delivery_date": delivery_date,
        "warehouse": settings.warehouse,
    }
    return _present(item)


def _rate(total: Decimal, qty: Decimal, currency: Currency, field: Field) -> Decimal:
    """What one piece costs: exact where it can be, otherwise so fine that ERPNext, which multiplies and rounds, gets
    back to the line's total."""
    rate = field.exactly(lambda: total.divided_by(qty, RATE_DECIMALS))
    try:
        again = (rate * qty).round(currency.decimals)
    except DecimalError:
        again = None
    if again != total:
        raise field.invalid("cannot be divided among so many pieces")
    shortest = rate.shortest()
    # Money is written with the decimals of its currency at least.
    return currency.exactly(rate) if shortest.scale < currency.decimals else shortest
