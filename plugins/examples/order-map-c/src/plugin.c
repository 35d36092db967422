/* The mapping of ../order-map, in C: renames the fields of a canonical order (schema 1) to the ERP's, adds `DocTotal`,
 * marks the request and drops a header that the ERP has no use for. */
#include "json.h"

static const char KIND[] = "urn:sluis:example:malformed-order";

/* What is mapped, and what becomes of it. */
typedef struct {
    sluis_decision *decision;
    sluis_writer document;
    bool refused;
} mapping;

static void refuse(mapping *m, sluis_text pointer, const char *detail) {
    if (!m->refused) {
        m->refused = true;
        sluis_refuse(m->decision, 422, KIND, "Malformed order", detail);
        sluis_pointer(m->decision, pointer);
    }
}

/* `"NAME":` and the text of a member that must be there. */
static void text_member(mapping *m, const char *name, sluis_json object, const char *member, const char *pointer) {
    sluis_text text;
    if (!sluis_json_text(sluis_json_get(object, member), &text)) {
        refuse(m, sluis_text_of(pointer), "must be a text");
        return;
    }
    sluis_write(&m->document, name);
    sluis_write_string(&m->document, text);
}

static sluis_text line_pointer(int64_t index, const char *member) {
    sluis_writer pointer = {0};
    sluis_write(&pointer, "/lines/");
    sluis_write_decimal(&pointer, (sluis_decimal){index, 0});
    sluis_write(&pointer, member);
    return sluis_written(&pointer);
}

static void line(mapping *m, sluis_json line, int64_t index, sluis_decimal *total) {
    sluis_text sku, description;
    sluis_decimal quantity, price, amount;
    if (!sluis_json_text(sluis_json_get(line, "sku"), &sku)) {
        refuse(m, line_pointer(index, "/sku"), "must be a text");
    } else if (!sluis_json_decimal(sluis_json_get(line, "qty"), &quantity)) {
        refuse(m, line_pointer(index, "/qty"), "must be a decimal number");
    } else if (!sluis_json_decimal(sluis_json_get(line, "unit_price"), &price)) {
        refuse(m, line_pointer(index, "/unit_price"), "must be a decimal number");
    } else if (!sluis_json_text(sluis_json_get(line, "description"), &description)) {
        refuse(m, line_pointer(index, "/description"), "must be a text");
    } else if (!sluis_times(quantity, price, &amount) || !sluis_plus(*total, amount, total)) {
        refuse(m, line_pointer(index, ""), "too large an amount");
    } else {
        sluis_write(&m->document, index > 0 ? ",{\"ItemCode\":" : "{\"ItemCode\":");
        sluis_write_string(&m->document, sku);
        sluis_write(&m->document, ",\"Quantity\":");
        sluis_write_decimal(&m->document, quantity);
        sluis_write(&m->document, ",\"UnitPrice\":");
        sluis_write_decimal(&m->document, price);
        sluis_write(&m->document, ",\"Text\":");
        sluis_write_string(&m->document, description);
        sluis_write(&m->document, "}");
    }
}

/* All lines, written apart: the total stands before them. */
static sluis_text lines(mapping *m, sluis_json lines, sluis_decimal *total) {
    sluis_writer before = m->document;
    m->document = (sluis_writer){0};
    if (!sluis_json_is_array(lines)) {
        refuse(m, sluis_text_of("/lines"), "must be a list");
    }
    int64_t index = 0;
    for (sluis_json at = sluis_json_first(lines); at.len > 0; at = sluis_json_next(lines, at)) {
        line(m, at, index++, total);
    }
    sluis_text written = sluis_written(&m->document);
    m->document = before;
    return written;
}

static void map(mapping *m, sluis_json order) {
    sluis_json customer = sluis_json_get(order, "customer");
    sluis_decimal total = {0, 0};
    text_member(m, "{\"schemaVersion\":1,\"ExternalId\":", order, "id", "/id");
    text_member(m, ",\"CardCode\":", customer, "id", "/customer/id");
    text_member(m, ",\"CardName\":", customer, "name", "/customer/name");
    text_member(m, ",\"DocCurrency\":", order, "currency", "/currency");
    sluis_text mapped = lines(m, sluis_json_get(order, "lines"), &total);
    sluis_write(&m->document, ",\"DocTotal\":");
    sluis_write_decimal(&m->document, total);
    sluis_write(&m->document, ",\"DocumentLines\":[");
    sluis_write_raw(&m->document, mapped);
    sluis_write(&m->document, "],\"ShipTo\":");
    sluis_json ship_to = sluis_json_get(order, "ship_to");
    if (ship_to.len == 0) {
        refuse(m, sluis_text_of("/ship_to"), "must be there");
    }
    sluis_write_compact(&m->document, ship_to);
    text_member(m, ",\"DocDate\":", order, "placed_at", "/placed_at");
    sluis_write(&m->document, "}");
}

void on_request(const sluis_request *request, sluis_decision *decision) {
    mapping m = {.decision = decision};
    sluis_json order = sluis_json_parse((sluis_text){request->body.ptr, request->body.len});
    if (!sluis_json_is_object(order)) {
        refuse(&m, sluis_text_of(""), "not a JSON object");
        return;
    }
    map(&m, order);
    if (!m.refused) {
        sluis_set_header(decision, "x-canonical", sluis_text_of("order.v1"));
        sluis_set_header(decision, "content-type", sluis_text_of("application/json"));
        sluis_remove_header(decision, "user-agent");
        sluis_body(decision, sluis_written(&m.document));
    }
}
