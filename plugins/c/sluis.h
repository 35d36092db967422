/* Write Sluis plugins in C: implement `on_request`, and say what becomes of the request.
 *
 * Everything that is named here may be kept and returned: an instance serves one request and is then gone, so nobody
 * gives memory back. `plugin.h`, made of wit/, has the capabilities: `sluis_plugin_kv_get`, `sluis_plugin_log_write` … */
#ifndef SLUIS_H
#define SLUIS_H

#include "plugin.h"

typedef plugin_string_t sluis_text;
typedef sluis_plugin_types_request_t sluis_request;
typedef sluis_plugin_types_decision_t sluis_decision;

/* Yours: decides. `decision` is to forward the request unchanged until something else is said. */
void on_request(const sluis_request *request, sluis_decision *decision);

/* A literal, or any other text that ends with a zero. */
sluis_text sluis_text_of(const char *text);
/* Whether `text` is `literal`. */
bool sluis_is(sluis_text text, const char *literal);
/* The first field of this lower-case name; none where there is no such. */
const sluis_text *sluis_header(const sluis_request *request, const char *name);

/* Of a request that is forwarded. */
void sluis_upstream(sluis_decision *decision, const char *name);
void sluis_path(sluis_decision *decision, const char *path);
void sluis_set_header(sluis_decision *decision, const char *name, sluis_text value);
void sluis_remove_header(sluis_decision *decision, const char *name);
void sluis_body(sluis_decision *decision, sluis_text body);

/* In the place of forwarding. */
void sluis_respond(sluis_decision *decision, uint16_t status, sluis_text body);
void sluis_refuse(sluis_decision *decision, uint16_t status, const char *kind, const char *title, const char *detail);
/* JSON pointer (RFC 6901) to what is wrong in the body; of a request that is refused. */
void sluis_pointer(sluis_decision *decision, sluis_text pointer);
void sluis_enqueue(sluis_decision *decision, const char *event_type);

/* Says why and gives up: the tenant's log has it with file and line, the client is told nothing of it. */
#define sluis_panic(message) sluis_panic_at((message), __FILE__, __LINE__)
_Noreturn void sluis_panic_at(const char *message, const char *file, int line);

#endif
