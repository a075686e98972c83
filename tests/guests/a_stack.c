/*
 * Twelve calls deep: main, f1 ... f12, and one store in f12. Every call is
 * followed by something, so that none becomes a jump.
 */
#include <stdint.h>

static volatile int after;

__attribute__((noinline)) static void f12(void)
{
    __asm__ volatile("movb $0x5a, 0x10000007" : : : "memory");
    after++;
}

#define LEVEL(name, next) \
    __attribute__((noinline)) static void name(void) \
    { \
        next(); \
        after++; \
    }
LEVEL(f11, f12)
LEVEL(f10, f11)
LEVEL(f9, f10)
LEVEL(f8, f9)
LEVEL(f7, f8)
LEVEL(f6, f7)
LEVEL(f5, f6)
LEVEL(f4, f5)
LEVEL(f3, f4)
LEVEL(f2, f3)
LEVEL(f1, f2)

int main(void)
{
    f1();
    f1();
    return after != 24;
}
