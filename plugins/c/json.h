/* JSON of a client: read where it lies, and written with exact amounts. In plugins that use it, beside sluis.h. */
#ifndef SLUIS_JSON_H
#define SLUIS_JSON_H

#include "sluis.h"

/* A value in a document: its text, from its first byte to its last. Without length where there is no such value. */
typedef sluis_text sluis_json;

/* The value that `document` is; nothing where it is not JSON (RFC 8259) in UTF-8, or deeper than 128 values. */
sluis_json sluis_json_parse(sluis_text document);
/* The member of an object; nothing where it is no object, or has none of this name. Names with escapes are not found. */
sluis_json sluis_json_get(sluis_json object, const char *name);
/* The first element of an array, and the one after `element`; nothing where there is none. */
sluis_json sluis_json_first(sluis_json array);
sluis_json sluis_json_next(sluis_json array, sluis_json element);
bool sluis_json_is_object(sluis_json value);
bool sluis_json_is_array(sluis_json value);
/* The text of a string, its escapes resolved; false where it is none. */
bool sluis_json_text(sluis_json value, sluis_text *text);

/* `units` / 10^`scale`, exactly; at most 18 digits. */
typedef struct {
    int64_t units;
    int scale;
} sluis_decimal;

/* A number, or text in plain notation (`"12.50"`); false where it is neither, or has too many digits. */
bool sluis_json_decimal(sluis_json value, sluis_decimal *decimal);
/* Sum and product; false where they have too many digits. */
bool sluis_plus(sluis_decimal a, sluis_decimal b, sluis_decimal *sum);
bool sluis_times(sluis_decimal a, sluis_decimal b, sluis_decimal *product);

/* Text that grows. Begin with `{0}`. */
typedef struct {
    uint8_t *ptr;
    size_t len;
    size_t room;
} sluis_writer;

/* As it is: punctuation, names, values that are JSON already. */
void sluis_write(sluis_writer *to, const char *literal);
void sluis_write_raw(sluis_writer *to, sluis_text raw);
/* A value without the white space between its parts. */
void sluis_write_compact(sluis_writer *to, sluis_json value);
/* As a JSON string. */
void sluis_write_string(sluis_writer *to, sluis_text text);
/* As a JSON number of exactly its decimals. */
void sluis_write_decimal(sluis_writer *to, sluis_decimal decimal);
/* What was written. */
sluis_text sluis_written(const sluis_writer *from);

#endif
