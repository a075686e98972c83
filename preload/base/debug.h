/*
 * Debug messages: domains with a level each, from MMIOSHIM_DEBUG. A message is
 * one line on descriptor 2, written by one raw system call. Any context, also
 * the trap path.
 */
#ifndef MMIOSHIM_BASE_DEBUG_H
#define MMIOSHIM_BASE_DEBUG_H

#include "base/fmt.h"
#include "base/types.h"

/* DOMAIN(id, word, what its messages are about) */
#define DEBUG_DOMAINS(DOMAIN) \
    DOMAIN(TRAP, "trap", "faults and what becomes of them") \
    DOMAIN(CPU, "cpu", "instructions: decoding, stubs, patched sites") \
    DOMAIN(MAP, "map", "reading the machine description") \
    DOMAIN(MEM, "mem", "RAM, windows, aliases") \
    DOMAIN(DIRTY, "dirty", "dirty pages") \
    DOMAIN(BUS, "bus", "routing of accesses, interrupt lines, DMA") \
    DOMAIN(DEV, "dev", "device models and their host ends") \
    DOMAIN(VIRTIO, "virtio", "virtio transport and queues") \
    DOMAIN(LOG, "log", "writing the transcript") \
    DOMAIN(PROC, "proc", "start, fork, exec, exit, joining a machine") \
    DOMAIN(FD, "fd", "tracked descriptors") \
    DOMAIN(SIG, "sig", "signal dispositions, masks, deferral") \
    DOMAIN(SYS, "sys", "system calls of the program: sites, rewriting")

enum debug_domain {
#define DOMAIN(id, word, about) DEBUG_##id,
    DEBUG_DOMAINS(DOMAIN)
#undef DOMAIN
    DEBUG_COUNT
};

#define DEBUG_MAX_LEVEL 9
#define DEBUG_TEXT      256 /* bytes of a line; longer ones end in "..." */

extern u8 debug_levels[DEBUG_COUNT]; /* 0 = silent */
extern const char *const debug_words[DEBUG_COUNT];

/*
 * "trap:2,virtio": domains and levels 0 to 9, comma-separated; no level is 1;
 * "all" is every domain, later pieces override earlier ones. debug_parse sets the levels, debug_check only looks.
 * 0, or -1 with what is wrong and what is allowed appended to `error`, and no level changed.
 */
int debug_parse(const char *text, struct fmt *error);
int debug_check(const char *text, struct fmt *error);

/* For the macro below. */
void debug_begin(struct fmt *line, enum debug_domain domain);
void debug_end(struct fmt *line);

/* debug(TRAP, 2, "format of fmt_printf", ...): arguments are evaluated only when the domain is on at that level. */
#define debug(domain, level, ...) \
    do { \
        if (unlikely(debug_levels[DEBUG_##domain] >= (level))) { \
            char debug_buf_[DEBUG_TEXT]; \
            struct fmt debug_line_ = {.buf = debug_buf_, .cap = sizeof(debug_buf_) - 4}; \
            debug_begin(&debug_line_, DEBUG_##domain); \
            fmt_printf(&debug_line_, __VA_ARGS__); \
            debug_end(&debug_line_); \
        } \
    } while (0)

#endif
