/* What libfdt asks of libc beyond base/mem.h. Ours, so that no interposed function runs before libc is initialised. */
#include <string.h>

#include "base/types.h"

void *memchr(const void *s, int byte, size_t n)
{
    const u8 *p = s;

    for (; n--; p++)
        if (*p == (u8)byte)
            return (void *)(uintptr_t)p;
    return NULL;
}

size_t strnlen(const char *s, size_t max)
{
    size_t n = 0;

    while (n < max && s[n])
        n++;
    return n;
}
