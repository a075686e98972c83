/* The library's own memory functions, under other names: lengths around every change of method, also with DF set. */
#include <string.h>

#include "base/types.h"

#define memcpy  own_memcpy
#define memmove own_memmove
#define memset  own_memset
#define memcmp  own_memcmp
#define strlen  own_strlen
#define strcmp  own_strcmp
#define strncmp own_strncmp
#define strchr  own_strchr
#define strrchr own_strrchr
#define strstr  own_strstr
#include "../../preload/base/mem.c"
#undef memcpy
#undef memmove
#undef memset
#undef memcmp
#undef strlen
#undef strcmp
#undef strncmp
#undef strchr
#undef strrchr
#undef strstr

#include "unit.h"

#define ROOM 2048

static u8 from[ROOM], to[ROOM], want[ROOM];
static const size_t lengths[] = {0, 1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 64, 255, 256, 257, 300, 511, 512, 513, 1000};

static void fill(void)
{
    for (unsigned i = 0; i < ROOM; i++) {
        from[i] = (u8)(i * 7 + 1);
        to[i] = want[i] = (u8)(i * 3);
    }
}

/* Runs with DF as given; whether it was the same behind it. */
#define WITH(df, statement)                                                                       \
    do {                                                                                          \
        u64 flags;                                                                                \
        if (df)                                                                                   \
            __asm__ volatile("std" : : : "memory");                                               \
        statement;                                                                                \
        __asm__ volatile("lea -128(%%rsp), %%rsp\n\tpushfq\n\tpopq %0\n\tlea 128(%%rsp), %%rsp\n\tcld" \
                         : "=r"(flags) : : "memory");                                             \
        same = same && !(flags & 0x400) == !(df);                                                 \
    } while (0)

static void compare(bool df)
{
    bool same = true;

    for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
        size_t n = lengths[i];

        fill();
        for (size_t k = 0; k < n; k++)
            want[600 + k] = from[500 + k];
        WITH(df, own_memcpy(to + 600, from + 500, n));
        CHECK(memcmp(to, want, ROOM) == 0);
        fill();
        for (size_t k = 0; k < n; k++)
            want[700 + k] = 0xa5;
        WITH(df, own_memset(to + 700, 0xa5, n));
        CHECK(memcmp(to, want, ROOM) == 0);
    }
    CHECK(same);
}

TEST(copies_and_fills)
{
    compare(false);
}

TEST(with_the_direction_flag_set)
{
    compare(true);
}
