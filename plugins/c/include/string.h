/* What C bindings of the contract need of the standard library; `sluis.c` has it. */
#ifndef SLUIS_STRING_H
#define SLUIS_STRING_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int byte, size_t size);
int memcmp(const void *one, const void *other, size_t size);
size_t strlen(const char *text);

#endif
