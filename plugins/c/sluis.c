#include "sluis.h"

#include <stdlib.h>
#include <string.h>

/* Memory that is used forward only. A block's size stands before it, for `realloc`. */

extern unsigned char __heap_base;

enum { ALIGNED = 16, PAGE = 65536 };

static uintptr_t next_free;

/* Makes memory reach from `start` over `size` bytes, which is where the next block can begin. */
static void reach(uintptr_t start, size_t size) {
    uintptr_t until = start + size;
    if (until < start) {
        sluis_panic("more memory was asked for than there is");
    }
    uintptr_t end = (uintptr_t)__builtin_wasm_memory_size(0) * PAGE;
    if (until > end && __builtin_wasm_memory_grow(0, (until - end + PAGE - 1) / PAGE) == (size_t)-1) {
        sluis_panic("no memory is left");
    }
    ((size_t *)start)[-1] = size;
    next_free = until;
}

void *malloc(size_t size) {
    uintptr_t free_from = next_free ? next_free : (uintptr_t)&__heap_base;
    uintptr_t start = (free_from + sizeof(size_t) + ALIGNED - 1) & ~(uintptr_t)(ALIGNED - 1);
    reach(start, size);
    return (void *)start;
}

void *calloc(size_t count, size_t size) {
    if (size && count > (size_t)-1 / size) {
        sluis_panic("more memory was asked for than there is");
    }
    return memset(malloc(count * size), 0, count * size);
}

void *realloc(void *block, size_t size) {
    if (!block) {
        return malloc(size);
    }
    size_t old = ((size_t *)block)[-1];
    if (size <= old) {
        return block;
    }
    /* The last block grows where it is. */
    if ((uintptr_t)block + old == next_free) {
        reach((uintptr_t)block, size);
        return block;
    }
    return memcpy(malloc(size), block, old);
}

void free(void *block) {
    (void)block;
}

_Noreturn void abort(void) {
    sluis_panic("abort");
}

/* With -mbulk-memory each builtin is one instruction; without it, it would be a call of the function that it is in. */

#ifndef __wasm_bulk_memory__
#error "compile with -mbulk-memory"
#endif

void *memcpy(void *restrict to, const void *restrict from, size_t size) {
    __builtin_memcpy(to, from, size);
    return to;
}

void *memmove(void *to, const void *from, size_t size) {
    __builtin_memmove(to, from, size);
    return to;
}

void *memset(void *to, int byte, size_t size) {
    __builtin_memset(to, byte, size);
    return to;
}

int memcmp(const void *one, const void *other, size_t size) {
    const unsigned char *a = one, *b = other;
    for (size_t i = 0; i < size; i++) {
        if (a[i] != b[i]) {
            return a[i] - b[i];
        }
    }
    return 0;
}

size_t strlen(const char *text) {
    size_t length = 0;
    while (text[length]) {
        length++;
    }
    return length;
}

/* Text and fields. */

sluis_text sluis_text_of(const char *text) {
    return (sluis_text){(uint8_t *)text, strlen(text)};
}

bool sluis_is(sluis_text text, const char *literal) {
    return text.len == strlen(literal) && memcmp(text.ptr, literal, text.len) == 0;
}

const sluis_text *sluis_header(const sluis_request *request, const char *name) {
    for (size_t i = 0; i < request->headers.len; i++) {
        if (sluis_is(request->headers.ptr[i].f0, name)) {
            return &request->headers.ptr[i].f1;
        }
    }
    return NULL;
}

/* Decisions. */

static sluis_plugin_types_forward_t *forwarded(sluis_decision *decision) {
    if (decision->tag != SLUIS_PLUGIN_TYPES_DECISION_FORWARD) {
        sluis_panic("this is said of a request that is not forwarded");
    }
    return &decision->val.forward;
}

void sluis_upstream(sluis_decision *decision, const char *name) {
    forwarded(decision)->upstream = (plugin_option_string_t){true, sluis_text_of(name)};
}

void sluis_path(sluis_decision *decision, const char *path) {
    forwarded(decision)->path = (plugin_option_string_t){true, sluis_text_of(path)};
}

void sluis_set_header(sluis_decision *decision, const char *name, sluis_text value) {
    sluis_plugin_types_pairs_t *headers = &forwarded(decision)->set_headers;
    headers->ptr = realloc(headers->ptr, (headers->len + 1) * sizeof *headers->ptr);
    headers->ptr[headers->len].f0 = sluis_text_of(name);
    headers->ptr[headers->len].f1 = value;
    headers->len++;
}

void sluis_remove_header(sluis_decision *decision, const char *name) {
    plugin_list_string_t *names = &forwarded(decision)->remove_headers;
    names->ptr = realloc(names->ptr, (names->len + 1) * sizeof *names->ptr);
    names->ptr[names->len++] = sluis_text_of(name);
}

void sluis_body(sluis_decision *decision, sluis_text body) {
    forwarded(decision)->body = (plugin_option_list_u8_t){true, {body.ptr, body.len}};
}

void sluis_respond(sluis_decision *decision, uint16_t status, sluis_text body) {
    memset(decision, 0, sizeof *decision);
    decision->tag = SLUIS_PLUGIN_TYPES_DECISION_RESPOND;
    decision->val.respond.status = status;
    decision->val.respond.body = (plugin_list_u8_t){body.ptr, body.len};
}

void sluis_refuse(sluis_decision *decision, uint16_t status, const char *kind, const char *title, const char *detail) {
    memset(decision, 0, sizeof *decision);
    decision->tag = SLUIS_PLUGIN_TYPES_DECISION_REFUSE;
    decision->val.refuse.status = status;
    decision->val.refuse.kind = sluis_text_of(kind);
    decision->val.refuse.title = sluis_text_of(title);
    decision->val.refuse.detail = sluis_text_of(detail);
}

void sluis_pointer(sluis_decision *decision, sluis_text pointer) {
    if (decision->tag != SLUIS_PLUGIN_TYPES_DECISION_REFUSE) {
        sluis_panic("this is said of a request that is not refused");
    }
    decision->val.refuse.pointer = (plugin_option_string_t){true, pointer};
}

void sluis_enqueue(sluis_decision *decision, const char *event_type) {
    memset(decision, 0, sizeof *decision);
    decision->tag = SLUIS_PLUGIN_TYPES_DECISION_ENQUEUE;
    decision->val.enqueue.event_type = (plugin_option_string_t){true, sluis_text_of(event_type)};
}

/* The hook, as the contract has it. */

void exports_sluis_plugin_on_request_on_request(
    exports_sluis_plugin_on_request_request_t *request, exports_sluis_plugin_on_request_decision_t *decision) {
    memset(decision, 0, sizeof *decision);
    decision->tag = SLUIS_PLUGIN_TYPES_DECISION_FORWARD;
    on_request(request, decision);
}

/* Last words: as numbers, eight bytes in each, see wit/panic.wit. */

enum { WORDS = 15, NOTE = WORDS * 8 };

static size_t put(uint8_t *note, size_t at, const char *text) {
    while (*text && at < NOTE) {
        note[at++] = (uint8_t)*text++;
    }
    return at;
}

_Noreturn void sluis_panic_at(const char *message, const char *file, int line) {
    union {
        uint8_t bytes[NOTE];
        uint64_t words[WORDS];
    } note = {{0}};
    char digits[12] = {0};
    size_t first = sizeof digits - 1;
    do {
        digits[--first] = (char)('0' + line % 10);
        line /= 10;
    } while (line > 0);
    size_t length = put(note.bytes, 0, file);
    length = put(note.bytes, length, ":");
    length = put(note.bytes, length, &digits[first]);
    length = put(note.bytes, length, ": ");
    length = put(note.bytes, length, message);
    _Static_assert(
        sizeof(sluis_plugin_panic_tuple15_word_word_word_word_word_word_word_word_word_word_word_word_word_word_word_t)
            == sizeof note,
        "a note is its words");
    sluis_plugin_panic_note((uint8_t)length, (void *)note.words);
    __builtin_trap();
}
