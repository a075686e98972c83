/* What generated functions, and the programs that run them, share. */
#ifndef STRESS_H
#define STRESS_H

#include <stdint.h>

typedef float f4 __attribute__((vector_size(16)));
typedef uint32_t u4 __attribute__((vector_size(16)));

/* Memory that one function works on, in a window or not: fields of every width, some of them crossing 4 and 8 bytes. */
struct block {
    uint8_t b[16];
    uint16_t h[8];
    uint32_t w[8];
    uint64_t q[6];
    float f[4];
    double d[4];
    f4 vf[2];
    u4 vu[4];
    struct pair {
        uint32_t a;
        uint64_t b;
        uint16_t c;
    } pair[3];
    struct bits {
        uint32_t low : 3, odd : 7, wide : 17, top : 5;
        uint64_t far : 37, high : 27;
    } bits;
    struct __attribute__((packed)) packed {
        uint8_t a;
        uint32_t b;
        uint16_t c;
        uint64_t d;
    } packed;
    long double x;
    uint8_t rest[64];
};

#define BLOCK 512
_Static_assert(sizeof(struct block) <= BLOCK, "a block is too large");

/* Returns its result and adds to *n the accesses to *b it made, where that number can be known from the source. */
typedef uint64_t body_fn(volatile struct block *b, uint64_t x, uint64_t *n);

struct function {
    const char *name;
    body_fn *window, *plain; /* one and the same, except where addresses are constants */
    uint8_t exact;           /* *n is exact */
    uint8_t steady;          /* unwind tables are right at each instruction: the stack pointer moves as compilers move it */
    uint8_t pointers;        /* it calls what it reads from the block, which must be what it wrote there: an address */
    uint8_t fixed;           /* `window` works on FIXED_BLOCK, whatever it is given */
};

#define WINDOW 0x40000000ul
#define WINDOW_SIZE 0x10000ul
#define BLOCKS (WINDOW_SIZE / BLOCK)
#define FIXED_BLOCK ((volatile struct block *)WINDOW) /* block 0: for functions with constant addresses alone */

/* What a generated file defines. */
extern const struct function functions[];
extern const unsigned function_count;

#endif
