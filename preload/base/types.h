/*
 * Fixed-width types and the few macros that every room uses.
 * Freestanding: includes nothing that needs a C library.
 */
#ifndef MMIOSHIM_BASE_TYPES_H
#define MMIOSHIM_BASE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t i8;
typedef int16_t i16;
typedef int32_t i32;
typedef int64_t i64;

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define likely(x)     __builtin_expect(!!(x), 1)
#define unlikely(x)   __builtin_expect(!!(x), 0)
#define MIN(a, b)     ((a) < (b) ? (a) : (b))
#define MAX(a, b)     ((a) > (b) ? (a) : (b))

#define PAGE_SHIFT 12
#define PAGE_SIZE  ((u64)1 << PAGE_SHIFT)
#define PAGE_MASK  (~(PAGE_SIZE - 1))

/* Rounds down or up to a page; page_up saturates at the last page boundary. */
static inline u64 page_down(u64 value)
{
    return value & PAGE_MASK;
}

static inline u64 page_up(u64 value)
{
    return value > PAGE_MASK ? PAGE_MASK : (value + PAGE_SIZE - 1) & PAGE_MASK;
}

#endif
