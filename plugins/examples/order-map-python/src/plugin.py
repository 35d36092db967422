"""The mapping of ../order-map, in Python: renames the fields of a canonical order (schema 1) to the ERP's, adds
`DocTotal`, marks the request and drops a header that the ERP has no use for."""

from sluis import Decimal, Decision, Field, Request, forward, json


def on_request(request: Request) -> Decision:
    order = json.read(request.body, "urn:sluis:example:malformed-order", "Malformed order")
    return forward(
        set_headers={"x-canonical": "order.v1"},
        remove_headers=["user-agent"],
        json=document(order),
    )


def document(order: Field) -> dict:
    customer = order.get("customer")
    total, lines = document_lines(order.get("lines"))
    return {
        "schemaVersion": 1,
        "ExternalId": order.get("id").text(),
        "CardCode": customer.get("id").text(),
        "CardName": customer.get("name").text(),
        "DocCurrency": order.get("currency").text(),
        "DocTotal": total,
        "DocumentLines": lines,
        "ShipTo": order.get("ship_to").value,
        "DocDate": order.get("placed_at").text(),
    }


def document_lines(lines: Field) -> tuple[Decimal, list[dict]]:
    total = Decimal(0)
    mapped = []
    for line in lines.items():
        quantity = line.get("qty").decimal()
        price = line.get("unit_price").decimal()
        total = line.exactly(lambda: total + quantity * price)
        mapped.append({
            "ItemCode": line.get("sku").text(),
            "Quantity": quantity,
            "UnitPrice": price,
            "Text": line.get("description").optional_text() or "",
        })
    return total, mapped
