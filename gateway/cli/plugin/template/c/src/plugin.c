/* Takes orders in JSON and hands them to the ERP; everything else is refused. */
#include "sluis.h"

void on_request(const sluis_request *request, sluis_decision *decision) {
    const sluis_text *type = sluis_header(request, "content-type");
    if (!type || !sluis_is(*type, "application/json")) {
        sluis_refuse(decision, 415, "urn:NAME:media-type", "Only JSON is taken here", "send it as application/json");
        return;
    }
    sluis_path(decision, "/orders");
    sluis_set_header(decision, "x-mapped-by", sluis_text_of("NAME"));
}
