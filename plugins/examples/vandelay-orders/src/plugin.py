"""vandelay sells with WooCommerce and keeps its books in ERPNext: an order of the REST API (v3) becomes a
`Sales Order`.

On the route named by the setting `async_route` the document is enqueued as `erp.order.created`, in order per
WooCommerce order; on any other it is forwarded to ERPNext, and the client gets `{"order": …, "document_number": …}` of
what that answers. An order that is malformed, or whose total is not the sum of its parts, is refused with 422 and a
JSON pointer. What can be set is in settings.py.

The documents are, to the byte, those of the example globex-orders, which is in Rust.
"""

from sluis import Decision, Invalid, Request, Response, ResponseChange, change, enqueue, forward, json, log

from mapping import sales_order
from settings import Settings

SALES_ORDERS = "/api/resource/Sales%20Order"


def on_request(request: Request) -> Decision:
    """Maps the order and sends it on, or refuses it."""
    settings = Settings.read()
    order = json.read(request.body, "urn:vandelay:malformed-order", "Malformed order")
    document = sales_order(order, settings)
    if request.route == settings.async_route:
        return enqueue(event_type="erp.order.created", key=str(order.get("id").integer()), json=document)
    # The signature was of the body that came in; nobody can verify it from here on.
    return forward(path=SALES_ORDERS, remove_headers=["x-wc-webhook-signature"], json=document)


def on_response(response: Response) -> ResponseChange:
    """Tells the client the document's name, or that ERPNext refused the order."""
    if 200 <= response.status < 300:
        if created := _created(response.body):
            return change(json=created)
        log.warn("the ERP's answer names no document; passed on as it is")
    elif 400 <= response.status < 500 and (detail := _refusal(response.body)):
        problem = {
            "type": "urn:vandelay:erp-refused",
            "title": "ERPNext refused the order",
            "status": response.status,
            "detail": detail,
        }
        return change(json=problem, media_type="application/problem+json")
    return change()


def _created(body: bytes) -> dict | None:
    """What the client gets for an order that ERPNext took; `order` is the shop's own number of it."""
    try:
        data = json.read(body).get("data")
        return {"order": data.get("po_no").optional_text(), "document_number": data.get("name").text()}
    except Invalid:
        return None


def _refusal(body: bytes) -> str | None:
    """The kind of Frappe's exception. Its `exception` and `exc` are a traceback: nothing for a client."""
    try:
        return json.read(body).get("exc_type").text()
    except Invalid:
        return None
