/* loops.S: code for an emulator, and the same as a function. */
#ifndef BENCH_LOOPS_H
#define BENCH_LOOPS_H

#include <stdint.h>

extern const uint8_t peer_work_code[], peer_work_end[], peer_register_code[], peer_register_end[];

/* table: 4096 words. */
uint32_t peer_work(uint32_t *table, uint32_t count);

#endif
