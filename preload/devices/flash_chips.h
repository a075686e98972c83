/*
 * What tells the chips of the flash model apart. Constant tables: any context.
 */
#ifndef MMIOSHIM_DEVICES_FLASH_CHIPS_H
#define MMIOSHIM_DEVICES_FLASH_CHIPS_H

#include "base/types.h"

#define FLASH_MOST    (8u << 20) /* bytes of the largest chip */
#define FLASH_SECTORS 128u       /* of the chip that has most */

struct flash_chip {
    const char *compatible;
    u32 size, sector; /* bytes, powers of two */
    u8 maker, device;
    u8 suspends; /* AMD: erase suspend, several sectors at once, DQ3 and DQ5 */
    u8 query;    /* CFI */
    u16 unlock;  /* bits of the unlock addresses that are decoded */
    u32 program_us, sector_ms, chip_ms; /* longest times */
};

/* By number; any number names one. */
const struct flash_chip *flash_chip(unsigned number);
/* Number of the first chip that a list of strings (a property "compatible", NULL: none) names, or that has a size; -1: none. */
int flash_chip_named(const char *list, u32 length);
int flash_chip_sized(u64 size);
/* A byte of the chip's query table (CFI). */
u8 flash_chip_query(const struct flash_chip *chip, u32 at);

#endif
