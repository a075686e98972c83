/*
 * The chips of the flash model. Sources: AMD, Am29F010B, Am29F040B and Am29LV065D data sheets; SST, SST39SF010A and
 * SST39VF040 data sheets; JEDEC, JESD68.01 for the query (CFI).
 */
#include "devices/flash_chips.h"

#include "base/mem.h"

#include "base/trapsafe.h"

/* By size alone the first is meant. */
static const struct flash_chip chips[] = {
    {"sst,sst39sf010a", 128 << 10, 4 << 10, 0xbf, 0xb5, false, false, 0x7fff, 20, 25, 100},
    {"sst,sst39vf040", 512 << 10, 4 << 10, 0xbf, 0xd7, false, false, 0x7fff, 20, 25, 100},
    {"amd,am29lv065d", 8 << 20, 64 << 10, 0x01, 0x93, true, true, 0, 300, 16000, 256000},
    {"amd,am29f010b", 128 << 10, 16 << 10, 0x01, 0x20, true, false, 0x7ff, 300, 8000, 64000},
    {"amd,am29f040b", 512 << 10, 64 << 10, 0x01, 0xa4, true, false, 0x7ff, 300, 8000, 64000},
};

const struct flash_chip *flash_chip(unsigned number)
{
    return &chips[number % ARRAY_SIZE(chips)];
}

/* Does a list of strings hold this one? A last string without its terminator is none. */
static bool in_list(const char *list, u32 length, const char *wanted)
{
    u32 size = (u32)strlen(wanted) + 1;

    while (list && length >= size) {
        u32 skip = 0;

        if (memcmp(list, wanted, size) == 0)
            return true;
        while (skip < length && list[skip])
            skip++;
        if (skip == length)
            return false;
        list += skip + 1;
        length -= skip + 1;
    }
    return false;
}

int flash_chip_named(const char *list, u32 length)
{
    for (unsigned i = 0; i < ARRAY_SIZE(chips); i++)
        if (in_list(list, length, chips[i].compatible))
            return (int)i;
    return -1;
}

int flash_chip_sized(u64 size)
{
    for (unsigned i = 0; i < ARRAY_SIZE(chips); i++)
        if (chips[i].size == size)
            return (int)i;
    return -1;
}

/* JESD68.01, table 1; for one region of equal sectors. */
u8 flash_chip_query(const struct flash_chip *chip, u32 at)
{
    static const u8 fixed[] = {
        'Q', 'R', 'Y', 2, 0, 0x40, 0, 0, 0, 0, 0, /* 0x10: AMD command set, its table at 0x40, no other */
        0x27, 0x36, 0, 0,                         /* 0x1b: 2.7 to 3.6 V, no Vpp */
        4, 0, 10, 0, 5, 0, 4, 0,                  /* 0x1f: 16 us, 1 s; at most 2^5 and 2^4 times as long */
    };
    u32 sectors = chip->size / chip->sector - 1;

    if (at >= 0x10 && at < 0x10 + sizeof(fixed))
        return fixed[at - 0x10];
    switch (at) {
    case 0x27:
        return (u8)__builtin_ctz(chip->size);
    case 0x2c:
        return 1; /* region: */
    case 0x2d:
        return (u8)sectors;
    case 0x2e:
        return (u8)(sectors >> 8);
    case 0x2f:
        return (u8)(chip->sector / 256);
    case 0x30:
        return (u8)(chip->sector / 256 >> 8);
    case 0x40:
        return 'P';
    case 0x41:
        return 'R';
    case 0x42:
        return 'I';
    case 0x43:
        return '1';
    case 0x44:
        return '3';
    case 0x46:
        return 2; /* erase suspend, to read and to program */
    default:
        return 0;
    }
}
