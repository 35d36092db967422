#include "json.h"

#include <stdlib.h>
#include <string.h>

enum { DEPTH = 128, DIGITS = 18 };

/* Reading: `at` moves over the text, and is NULL once it is no JSON. */

typedef struct {
    const uint8_t *at;
    const uint8_t *end;
} cursor;

static void skip_value(cursor *c, int depth);

static int peek(const cursor *c) {
    return c->at && c->at < c->end ? *c->at : -1;
}

static void fail(cursor *c) {
    c->at = NULL;
}

static void skip_space(cursor *c) {
    int byte;
    while ((byte = peek(c)) == ' ' || byte == '\t' || byte == '\n' || byte == '\r') {
        c->at++;
    }
}

static void expect(cursor *c, int byte) {
    if (peek(c) == byte) {
        c->at++;
    } else {
        fail(c);
    }
}

static bool is_digit(int byte) {
    return byte >= '0' && byte <= '9';
}

static void skip_digits(cursor *c) {
    if (!is_digit(peek(c))) {
        fail(c);
    }
    while (is_digit(peek(c))) {
        c->at++;
    }
}

static void skip_number(cursor *c) {
    if (peek(c) == '-') {
        c->at++;
    }
    if (peek(c) == '0') {
        c->at++;
    } else {
        skip_digits(c);
    }
    if (peek(c) == '.') {
        c->at++;
        skip_digits(c);
    }
    if (peek(c) == 'e' || peek(c) == 'E') {
        c->at++;
        if (peek(c) == '+' || peek(c) == '-') {
            c->at++;
        }
        skip_digits(c);
    }
}

static int hex(int byte) {
    if (is_digit(byte)) {
        return byte - '0';
    }
    int letter = byte | 0x20;
    return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

/* The four hexadecimal digits behind `\u`; below 0 where there are none. */
static int32_t code_unit(cursor *c) {
    int32_t unit = 0;
    for (int i = 0; i < 4; i++) {
        int digit = hex(peek(c));
        if (digit < 0) {
            return -1;
        }
        unit = unit * 16 + digit;
        c->at++;
    }
    return unit;
}

/* The character of an escape, `at` behind the backslash; below 0 where it is none. Surrogates come in pairs. */
static int32_t escaped(cursor *c) {
    static const char letters[] = "\"\\/bfnrt", characters[] = "\"\\/\b\f\n\r\t";
    int letter = peek(c);
    if (letter < 0) {
        return -1;
    }
    c->at++;
    for (size_t i = 0; i < sizeof letters - 1; i++) {
        if (letter == letters[i]) {
            return characters[i];
        }
    }
    int32_t unit = letter == 'u' ? code_unit(c) : -1;
    if (unit < 0xD800 || unit > 0xDFFF) {
        return unit;
    }
    if (unit > 0xDBFF || c->end - c->at < 2 || c->at[0] != '\\' || c->at[1] != 'u') {
        return -1;
    }
    c->at += 2;
    int32_t low = code_unit(c);
    return low < 0xDC00 || low > 0xDFFF ? -1 : 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
}

/* One character in UTF-8 (RFC 3629), neither overlong nor a surrogate. */
static void skip_character(cursor *c) {
    int first = *c->at++;
    if (first < 0x80) {
        return;
    }
    int more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : 1;
    int32_t code = first & (0x3F >> more);
    for (int i = 0; i < more; i++) {
        int byte = peek(c);
        if (byte < 0 || (byte & 0xC0) != 0x80) {
            fail(c);
            return;
        }
        code = code << 6 | (byte & 0x3F);
        c->at++;
    }
    static const int32_t least[] = {0, 0x80, 0x800, 0x10000};
    if (first < 0xC2 || first > 0xF4 || code < least[more] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) {
        fail(c);
    }
}

static void skip_string(cursor *c) {
    expect(c, '"');
    int byte;
    while ((byte = peek(c)) >= 0x20 && byte != '"') {
        if (byte != '\\') {
            skip_character(c);
            continue;
        }
        c->at++;
        if (escaped(c) < 0) {
            fail(c);
        }
    }
    expect(c, '"');
}

static void skip_literal(cursor *c, const char *literal) {
    while (*literal && c->at) {
        expect(c, *literal++);
    }
}

/* An object or array, whose members are `names` and values or values alone. */
static void skip_members(cursor *c, int close, bool names, int depth) {
    c->at++;
    skip_space(c);
    if (peek(c) == close) {
        c->at++;
        return;
    }
    while (c->at) {
        if (names) {
            skip_string(c);
            skip_space(c);
            expect(c, ':');
            skip_space(c);
        }
        skip_value(c, depth + 1);
        skip_space(c);
        if (peek(c) == close) {
            c->at++;
            return;
        }
        expect(c, ',');
        skip_space(c);
    }
}

static void skip_value(cursor *c, int depth) {
    if (depth > DEPTH) {
        fail(c);
        return;
    }
    switch (peek(c)) {
    case '{':
        skip_members(c, '}', true, depth);
        break;
    case '[':
        skip_members(c, ']', false, depth);
        break;
    case '"':
        skip_string(c);
        break;
    case 't':
        skip_literal(c, "true");
        break;
    case 'f':
        skip_literal(c, "false");
        break;
    case 'n':
        skip_literal(c, "null");
        break;
    default:
        skip_number(c);
    }
}

static const sluis_json NOTHING = {0};

/* The value at the cursor, which moves behind it. */
static sluis_json value_at(cursor *c) {
    const uint8_t *from = c->at;
    skip_value(c, 0);
    return c->at ? (sluis_json){(uint8_t *)from, (size_t)(c->at - from)} : NOTHING;
}

static cursor inside(sluis_json value) {
    return (cursor){value.ptr + 1, value.ptr + value.len};
}

sluis_json sluis_json_parse(sluis_text document) {
    cursor c = {document.ptr, document.ptr + document.len};
    skip_space(&c);
    sluis_json value = value_at(&c);
    skip_space(&c);
    return c.at == c.end ? value : NOTHING;
}

bool sluis_json_is_object(sluis_json value) {
    return value.len > 0 && value.ptr[0] == '{';
}

bool sluis_json_is_array(sluis_json value) {
    return value.len > 0 && value.ptr[0] == '[';
}

sluis_json sluis_json_get(sluis_json object, const char *name) {
    if (!sluis_json_is_object(object)) {
        return NOTHING;
    }
    cursor c = inside(object);
    skip_space(&c);
    while (peek(&c) == '"') {
        sluis_json key = value_at(&c);
        bool found = sluis_is((sluis_text){key.ptr + 1, key.len - 2}, name);
        skip_space(&c);
        expect(&c, ':');
        skip_space(&c);
        sluis_json value = value_at(&c);
        if (found) {
            return value;
        }
        skip_space(&c);
        expect(&c, ',');
        skip_space(&c);
    }
    return NOTHING;
}

sluis_json sluis_json_first(sluis_json array) {
    if (!sluis_json_is_array(array)) {
        return NOTHING;
    }
    cursor c = inside(array);
    skip_space(&c);
    return peek(&c) == ']' ? NOTHING : value_at(&c);
}

sluis_json sluis_json_next(sluis_json array, sluis_json element) {
    cursor c = {element.ptr + element.len, array.ptr + array.len};
    skip_space(&c);
    if (peek(&c) != ',') {
        return NOTHING;
    }
    c.at++;
    skip_space(&c);
    return value_at(&c);
}

static void put_character(sluis_writer *to, int32_t code) {
    uint8_t bytes[4];
    size_t length;
    if (code < 0x80) {
        bytes[0] = (uint8_t)code;
        length = 1;
    } else {
        length = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
        for (size_t i = length - 1; i > 0; i--) {
            bytes[i] = (uint8_t)(0x80 | (code & 0x3F));
            code >>= 6;
        }
        bytes[0] = (uint8_t)((0xF00 >> length) | code);
    }
    sluis_write_raw(to, (sluis_text){bytes, length});
}

bool sluis_json_text(sluis_json value, sluis_text *text) {
    if (value.len < 2 || value.ptr[0] != '"') {
        return false;
    }
    *text = (sluis_text){value.ptr + 1, value.len - 2};
    size_t plain = 0;
    while (plain < text->len && text->ptr[plain] != '\\') {
        plain++;
    }
    if (plain == text->len) {
        return true;
    }
    sluis_writer resolved = {0};
    cursor c = {text->ptr, text->ptr + text->len};
    while (c.at < c.end) {
        if (*c.at == '\\') {
            c.at++;
            put_character(&resolved, escaped(&c));
        } else {
            sluis_write_raw(&resolved, (sluis_text){(uint8_t *)c.at++, 1});
        }
    }
    *text = sluis_written(&resolved);
    return true;
}

/* Decimals. Products are checked by division: a product that may overflow is a function of 128 bits in a guest. */

static bool multiplied(int64_t a, int64_t b, int64_t *product) {
    if (a != 0 && (b > INT64_MAX / (a < 0 ? -a : a) || b < -(INT64_MAX / (a < 0 ? -a : a)))) {
        return false;
    }
    *product = a * b;
    return true;
}

static bool rescaled(sluis_decimal decimal, int scale, int64_t *units) {
    *units = decimal.units;
    for (; decimal.scale < scale; decimal.scale++) {
        if (!multiplied(*units, 10, units)) {
            return false;
        }
    }
    return true;
}

static sluis_decimal shortest(sluis_decimal decimal) {
    while (decimal.scale > 0 && decimal.units % 10 == 0) {
        decimal.units /= 10;
        decimal.scale--;
    }
    return decimal;
}

/* Plain notation, from `at` to an exponent or the end. */
static bool parse_plain(cursor *c, sluis_decimal *decimal) {
    bool negative = peek(c) == '-';
    c->at += negative;
    int digits = 0;
    *decimal = (sluis_decimal){0, 0};
    for (bool point = false;; c->at++) {
        int byte = peek(c);
        if (byte == '.' && !point && digits > 0) {
            point = true;
            if (c->end - c->at < 2 || !is_digit(c->at[1])) {
                return false;
            }
        } else if (is_digit(byte)) {
            digits++;
            if (decimal->units >= 100000000000000000 || (point && decimal->scale == DIGITS)) {
                return false;
            }
            decimal->units = decimal->units * 10 + (byte - '0');
            decimal->scale += point;
        } else {
            break;
        }
    }
    decimal->units = negative ? -decimal->units : decimal->units;
    return digits > 0;
}

static bool shifted(sluis_decimal *decimal, cursor *c) {
    bool negative = peek(c) == '-';
    c->at += negative || peek(c) == '+';
    int exponent = 0;
    for (; is_digit(peek(c)); c->at++) {
        exponent = exponent > 1000 ? exponent : exponent * 10 + (*c->at - '0');
    }
    if (decimal->units == 0) {
        decimal->scale = 0;
        return true;
    }
    *decimal = shortest(*decimal);
    decimal->scale -= negative ? -exponent : exponent;
    if (decimal->scale > DIGITS || decimal->scale < -DIGITS) {
        return false;
    }
    if (decimal->scale < 0) {
        bool fits = rescaled(*decimal, 0, &decimal->units);
        decimal->scale = 0;
        return fits;
    }
    return true;
}

bool sluis_json_decimal(sluis_json value, sluis_decimal *decimal) {
    sluis_text text = value;
    bool quoted = sluis_json_text(value, &text);
    cursor c = {text.ptr, text.ptr + text.len};
    if (!quoted && peek(&c) != '-' && !is_digit(peek(&c))) {
        return false;
    }
    if (!parse_plain(&c, decimal)) {
        return false;
    }
    if (!quoted && (peek(&c) | 0x20) == 'e') {
        c.at++;
        return shifted(decimal, &c);
    }
    return c.at == c.end;
}

bool sluis_plus(sluis_decimal a, sluis_decimal b, sluis_decimal *sum) {
    int scale = a.scale > b.scale ? a.scale : b.scale;
    int64_t x, y;
    if (!rescaled(a, scale, &x) || !rescaled(b, scale, &y)) {
        return false;
    }
    if ((y > 0 && x > INT64_MAX - y) || (y < 0 && x < -INT64_MAX - y)) {
        return false;
    }
    *sum = (sluis_decimal){x + y, scale};
    return true;
}

bool sluis_times(sluis_decimal a, sluis_decimal b, sluis_decimal *product) {
    for (int pass = 0; pass < 2; pass++) {
        int64_t units;
        if (a.scale + b.scale <= DIGITS && multiplied(a.units, b.units, &units)) {
            *product = (sluis_decimal){units, a.scale + b.scale};
            return true;
        }
        a = shortest(a);
        b = shortest(b);
    }
    return false;
}

/* Writing. */

static void make_room(sluis_writer *to, size_t more) {
    if (to->room - to->len < more) {
        to->room = (to->len + more) * 2;
        to->ptr = realloc(to->ptr, to->room);
    }
}

void sluis_write_raw(sluis_writer *to, sluis_text raw) {
    make_room(to, raw.len);
    memcpy(to->ptr + to->len, raw.ptr, raw.len);
    to->len += raw.len;
}

void sluis_write(sluis_writer *to, const char *literal) {
    sluis_write_raw(to, sluis_text_of(literal));
}

static void write_byte(sluis_writer *to, uint8_t byte) {
    make_room(to, 1);
    to->ptr[to->len++] = byte;
}

void sluis_write_compact(sluis_writer *to, sluis_json value) {
    bool inside = false;
    for (size_t i = 0; i < value.len; i++) {
        uint8_t byte = value.ptr[i];
        if (inside || !(byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r')) {
            write_byte(to, byte);
        }
        if (inside && byte == '\\' && i + 1 < value.len) {
            write_byte(to, value.ptr[++i]);
        } else if (byte == '"') {
            inside = !inside;
        }
    }
}

void sluis_write_string(sluis_writer *to, sluis_text text) {
    static const char digits[] = "0123456789abcdef", controls[] = "\b\f\n\r\t", letters[] = "bfnrt";
    write_byte(to, '"');
    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = text.ptr[i];
        if (byte >= 0x20 && byte != '"' && byte != '\\') {
            write_byte(to, byte);
            continue;
        }
        write_byte(to, '\\');
        uint8_t letter = byte >= 0x20 ? byte : 'u';
        for (size_t j = 0; j < sizeof controls - 1; j++) {
            letter = byte == controls[j] ? letters[j] : letter;
        }
        write_byte(to, letter);
        if (letter == 'u') {
            sluis_write(to, "00");
            write_byte(to, digits[byte >> 4]);
            write_byte(to, digits[byte & 15]);
        }
    }
    write_byte(to, '"');
}

void sluis_write_decimal(sluis_writer *to, sluis_decimal decimal) {
    uint8_t text[DIGITS + 4];
    size_t at = sizeof text;
    bool negative = decimal.units < 0;
    uint64_t rest = negative ? -(uint64_t)decimal.units : (uint64_t)decimal.units;
    for (int digit = 0; rest > 0 || digit <= decimal.scale; digit++) {
        if (digit > 0 && digit == decimal.scale) {
            text[--at] = '.';
        }
        text[--at] = (uint8_t)('0' + rest % 10);
        rest /= 10;
    }
    if (negative) {
        text[--at] = '-';
    }
    sluis_write_raw(to, (sluis_text){&text[at], sizeof text - at});
}

sluis_text sluis_written(const sluis_writer *from) {
    return (sluis_text){from->ptr, from->len};
}
