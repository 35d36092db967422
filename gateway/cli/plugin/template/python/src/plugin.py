"""Takes an order and hands it to the ERP in the ERP's words."""

from sluis import Decision, Request, forward, json


def on_request(request: Request) -> Decision:
    """Forwards what is an order; what is none is refused with 422 and a pointer to what is wrong."""
    order = json.read(request.body, "urn:NAME:malformed-order", "Malformed order")
    document = {
        "reference": order.get("number").text(),
        "amount": order.get("total").decimal(),
    }
    return forward(path="/orders", json=document)
