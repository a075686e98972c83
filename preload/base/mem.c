/* Built with -fno-builtin, so that no loop here is turned into a call to itself. */
#include "base/mem.h"

#include "base/types.h"

typedef u64 word __attribute__((may_alias, aligned(1)));
typedef u32 half __attribute__((may_alias, aligned(1)));
typedef u16 quarter __attribute__((may_alias, aligned(1)));

/* Two overlapping moves cover every length from a size to twice that size. */
static void copy_small(u8 *d, const u8 *s, size_t n)
{
    if (n >= 8) {
        u64 last = *(const word *)(s + n - 8);

        *(word *)d = *(const word *)s;
        *(word *)(d + n - 8) = last;
    } else if (n >= 4) {
        u32 last = *(const half *)(s + n - 4);

        *(half *)d = *(const half *)s;
        *(half *)(d + n - 4) = last;
    } else if (n >= 2) {
        u16 last = *(const quarter *)(s + n - 2);

        *(quarter *)d = *(const quarter *)s;
        *(quarter *)(d + n - 2) = last;
    } else if (n) {
        *d = *s;
    }
}

/*
 * At a patched site this runs with the program's DF, and only what repeats looks at it. The push must not meet the red
 * zone; no popf (base/flags.inc).
 */
static inline u64 forward(void)
{
    u64 flags;

    __asm__ volatile("lea -128(%%rsp), %%rsp\n\tpushfq\n\tpopq %0\n\tlea 128(%%rsp), %%rsp" : "=r"(flags) : : "memory");
    if (unlikely(flags & 0x400))
        __asm__ volatile("cld");
    return flags;
}

static inline void as_before(u64 flags)
{
    if (unlikely(flags & 0x400))
        __asm__ volatile("std");
}

void *memcpy(void *restrict dst, const void *restrict src, size_t n)
{
    u8 *d = dst;
    const u8 *s = src;

    if (n > 256) {
        u64 flags = forward();

        __asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
        as_before(flags);
        return dst;
    }
    for (; n > 16; n -= 8, d += 8, s += 8)
        *(word *)d = *(const word *)s;
    copy_small(d, s, n);
    return dst;
}

void *memmove(void *dst, const void *src, size_t n)
{
    u8 *d = dst;
    const u8 *s = src;

    if ((uintptr_t)d - (uintptr_t)s >= n)
        return memcpy(dst, src, n);
    while (n--)
        d[n] = s[n];
    return dst;
}

void *memset(void *dst, int byte, size_t n)
{
    u64 pattern = (u8)byte * (u64)0x0101010101010101;
    u8 *d = dst;

    /* A repeated store takes long to begin: not for the small structures of every trap. */
    if (n > 512) {
        u64 flags = forward();

        __asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(byte) : "memory");
        as_before(flags);
        return dst;
    }
    for (; n >= 8; n -= 8, d += 8)
        *(word *)d = pattern;
    for (; n; n--)
        *d++ = (u8)byte;
    return dst;
}

int memcmp(const void *a, const void *b, size_t n)
{
    const u8 *x = a;
    const u8 *y = b;

    for (; n--; x++, y++)
        if (*x != *y)
            return *x - *y;
    return 0;
}

size_t strlen(const char *s)
{
    size_t n = 0;

    while (s[n])
        n++;
    return n;
}

int strcmp(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return (u8)*a - (u8)*b;
}

int strncmp(const char *a, const char *b, size_t n)
{
    for (; n; n--, a++, b++)
        if (*a != *b || !*a)
            return (u8)*a - (u8)*b;
    return 0;
}

char *strchr(const char *s, int c)
{
    for (; *s != (char)c; s++)
        if (!*s)
            return NULL;
    return (char *)(uintptr_t)s;
}

char *strrchr(const char *s, int c)
{
    const char *found = NULL;

    do
        if (*s == (char)c)
            found = s;
    while (*s++);
    return (char *)(uintptr_t)found;
}

char *strstr(const char *haystack, const char *needle)
{
    size_t n = strlen(needle);

    for (; strncmp(haystack, needle, n) != 0; haystack++)
        if (!*haystack)
            return NULL;
    return (char *)(uintptr_t)haystack;
}
