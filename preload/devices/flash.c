/*
 * flash: a parallel NOR flash with the JEDEC commands, 8 bits wide. Sources: AMD, Am29F010B, Am29F040B and Am29LV065D data
 * sheets ("Command Definitions", "Write Operation Status"); SST, SST39SF010A and SST39VF040 data sheets.
 *
 * A program or erase operation is seen at work for a few reads of its status, so that a driver's polling is exercised and
 * a transcript is the same from run to run, or for its longest time by the clock, for drivers that wait instead of polling.
 *
 * Contents are the bytes of the host end, if there is one: read when they are first needed, written through in service(),
 * before the program's instruction ends.
 */
#include "base/mem.h"
#include "base/types.h"
#include "devices/flash_chips.h"
#include "mmioshim/device.h"

#include "base/trapsafe.h"

#define CHUNK       4096u /* of the host end that is read at once */
#define MOST_CHUNKS (FLASH_MOST / CHUNK)

/* Where a command sequence has got to. */
enum {
    READ, UNLOCK1, UNLOCK2, AUTOSELECT, QUERY, PROGRAM, ERASE, ERASE_UNLOCK1, ERASE_UNLOCK2,
};

enum { IDLE, PROGRAMMING, ERASING }; /* what the chip is doing by itself */

/* Status bits (AMD, "Write Operation Status") */
enum { DQ2 = 0x04, DQ3 = 0x08, DQ5 = 0x20, DQ6 = 0x40, DQ7 = 0x80 };

/* Commands: data of the last cycle */
enum {
    CMD_CHIP_ERASE = 0x10, CMD_SECTOR_ERASE = 0x30, CMD_RESUME = 0x30, CMD_ERASE = 0x80, CMD_AUTOSELECT = 0x90,
    CMD_QUERY = 0x98, CMD_PROGRAM = 0xa0, CMD_SUSPEND = 0xb0, CMD_RESET = 0xf0, CMD_RESET_INTEL = 0xff,
};

/* How many status reads an operation is seen at work; DQ3 says after the first half that no more sectors are taken. */
enum { PROGRAM_READS = 2, ERASE_READS = 8, CHIP_READS = 16 };

struct flash {
    u8 chip;
    u8 mode;
    u8 doing;
    u8 whole;     /* it is the chip that is erased */
    u8 suspended;
    u8 failed;    /* DQ5: the operation never ends, until reset */
    u8 expected;  /* data of the program operation */
    u8 toggle;    /* DQ6 and DQ2 of the next status read */
    u32 reads;    /* status reads that are left */
    u32 erase_reads; /* the same of an erase that is suspended */
    u64 until;    /* clock: the operation ends at the latest */
    u64 erase_until;
    u32 unsaved, unsaved_length; /* what is still to be written through; length 0: nothing */
    u8 erasing[FLASH_SECTORS / 8];
    u8 loaded[MOST_CHUNKS / 8]; /* chunks that are what the host end has */
    u8 inverse[];               /* the complement of the contents: memory that nobody wrote reads erased */
};

static const struct flash_chip *chip_of(const struct mmioshim_device *dev)
{
    const struct flash *f = dev->state;

    return flash_chip(f->chip);
}

/* Address lines above the chip's own are not connected. */
static u32 place(const struct mmioshim_device *dev, u64 offset)
{
    return (u32)offset & (chip_of(dev)->size - 1);
}

static bool bit(const u8 *map, u32 n)
{
    return map[n / 8] >> (n % 8) & 1;
}

static void set_bit(u8 *map, u32 n)
{
    map[n / 8] |= (u8)(1u << (n % 8));
}

/* ---- contents ---- */

static bool has_end(struct mmioshim_device *dev)
{
    return dev->host->disk_size(dev) >= chip_of(dev)->size;
}

/* Brings the chunk of an address; what cannot be read reads erased. */
static void load(struct mmioshim_device *dev, u32 at)
{
    struct flash *f = dev->state;
    u32 chunk = at / CHUNK;
    u8 *bytes = f->inverse + chunk * CHUNK;

    if (bit(f->loaded, chunk))
        return;
    set_bit(f->loaded, chunk);
    if (!has_end(dev))
        return;
    if (dev->host->disk_get(dev, (u64)chunk * CHUNK, bytes, CHUNK) < 0)
        memset(bytes, 0, CHUNK);
    else
        for (u32 i = 0; i < CHUNK; i++)
            bytes[i] ^= 0xff;
}

static u8 array_byte(struct mmioshim_device *dev, u32 at)
{
    load(dev, at);
    return (u8)~((struct flash *)dev->state)->inverse[at];
}

/* Writes through. False: the host end failed. */
static bool save(struct mmioshim_device *dev)
{
    struct flash *f = dev->state;
    u32 at = f->unsaved, left = MIN(f->unsaved_length, chip_of(dev)->size - at);
    u8 bytes[512];

    f->unsaved_length = 0;
    while (left && has_end(dev)) {
        u32 n = MIN(left, (u32)sizeof(bytes));

        for (u32 i = 0; i < n; i++)
            bytes[i] = (u8)~f->inverse[at + i];
        if (dev->host->disk_put(dev, at, bytes, n) < 0)
            return false;
        at += n;
        left -= n;
    }
    return true;
}

/* An operation whose bytes did not reach the host end has failed. */
static void flash_service(struct mmioshim_device *dev)
{
    struct flash *f = dev->state;

    if (!save(dev) && f->doing != IDLE)
        f->failed = 1;
}

/* These bytes are to be written through. */
static void changed(struct mmioshim_device *dev, u32 at, u32 length)
{
    struct flash *f = dev->state;

    flash_service(dev); /* somebody else's, who has not come so far */
    f->unsaved = at;
    f->unsaved_length = length;
    dev->host->soon(dev);
}

static void program_byte(struct mmioshim_device *dev, u32 at, u8 value)
{
    struct flash *f = dev->state;

    f->inverse[at] = (u8)~(array_byte(dev, at) & value); /* programming makes zeroes */
    changed(dev, at, 1);
}

static void erase_bytes(struct mmioshim_device *dev, u32 at, u32 length)
{
    struct flash *f = dev->state;

    memset(f->inverse + at, 0, length);
    for (u32 i = 0; i < length; i += CHUNK)
        set_bit(f->loaded, (at + i) / CHUNK);
    changed(dev, at, length);
}

/* ---- operations ---- */

static u32 sector_of(const struct mmioshim_device *dev, u32 at)
{
    return at / chip_of(dev)->sector % FLASH_SECTORS;
}

static void begin(struct mmioshim_device *dev, u8 what, u32 reads, u64 us)
{
    struct flash *f = dev->state;

    f->doing = what;
    f->whole = reads == CHIP_READS;
    f->reads = reads;
    f->until = dev->host->clock(dev) + us * 1000;
}

/* A host end that may only be read is a chip whose sectors are all protected. */
static bool protected(struct mmioshim_device *dev)
{
    return has_end(dev) && dev->host->disk_readonly(dev);
}

static enum mmioshim_status program(struct mmioshim_device *dev, u32 at, u8 value)
{
    struct flash *f = dev->state;
    bool impossible = value & (u8)~array_byte(dev, at);

    f->mode = READ;
    if (protected(dev) || (f->suspended && bit(f->erasing, sector_of(dev, at))))
        return MMIOSHIM_GUEST_BUG;
    f->expected = value;
    begin(dev, PROGRAMMING, PROGRAM_READS, chip_of(dev)->program_us);
    program_byte(dev, at, value);
    if (!impossible)
        return MMIOSHIM_OK;
    /* "The system must not attempt to change a bit from 0 to 1": DQ5 (AMD); SST's chips end without a word. */
    f->failed = chip_of(dev)->suspends;
    return MMIOSHIM_GUEST_BUG;
}

static enum mmioshim_status erase_sector(struct mmioshim_device *dev, u32 at)
{
    struct flash *f = dev->state;
    const struct flash_chip *chip = chip_of(dev);

    f->mode = READ;
    if (protected(dev))
        return MMIOSHIM_GUEST_BUG;
    if (f->doing != ERASING)
        memset(f->erasing, 0, sizeof(f->erasing));
    set_bit(f->erasing, sector_of(dev, at));
    begin(dev, ERASING, ERASE_READS, (u64)chip->sector_ms * 1000);
    erase_bytes(dev, at & ~(chip->sector - 1), chip->sector);
    return MMIOSHIM_OK;
}

static enum mmioshim_status erase_chip(struct mmioshim_device *dev)
{
    struct flash *f = dev->state;
    const struct flash_chip *chip = chip_of(dev);

    f->mode = READ;
    if (protected(dev))
        return MMIOSHIM_GUEST_BUG;
    memset(f->erasing, 0xff, sizeof(f->erasing));
    begin(dev, ERASING, CHIP_READS, (u64)chip->chip_ms * 1000);
    erase_bytes(dev, 0, chip->size);
    return MMIOSHIM_OK;
}

/* Is an operation under way? */
static bool working(struct mmioshim_device *dev)
{
    const struct flash *f = dev->state;

    return f->doing != IDLE && (f->failed || (f->reads && dev->host->clock(dev) < f->until));
}

static bool busy(struct mmioshim_device *dev)
{
    struct flash *f = dev->state;

    if (f->doing == IDLE)
        return false;
    if (!working(dev))
        f->doing = IDLE;
    return f->doing != IDLE;
}

/* More sectors are taken: the first half of a sector erase's status reads. */
static bool window_open(const struct flash *f)
{
    return f->doing == ERASING && !f->whole && f->reads > ERASE_READS / 2;
}

static void suspend(struct flash *f)
{
    f->suspended = 1;
    f->erase_reads = f->reads;
    f->erase_until = f->until;
    f->doing = IDLE;
}

static void resume(struct flash *f)
{
    f->suspended = 0;
    f->doing = ERASING;
    f->reads = f->erase_reads;
    f->until = f->erase_until;
}

/* ---- writes ---- */

static bool unlocks(const struct mmioshim_device *dev, u32 at, u8 value, bool second)
{
    u16 mask = chip_of(dev)->unlock;

    return value == (second ? 0x55 : 0xaa) && (at & mask) == ((second ? 0x2aaau : 0x5555u) & mask);
}

/* The third cycle. */
static enum mmioshim_status command(struct mmioshim_device *dev, u32 at, u8 value)
{
    struct flash *f = dev->state;
    u16 mask = chip_of(dev)->unlock;

    f->mode = READ;
    if ((at & mask) != (0x5555u & mask))
        return MMIOSHIM_OK;
    if (value == CMD_PROGRAM)
        f->mode = PROGRAM;
    else if (value == CMD_ERASE && !f->suspended)
        f->mode = ERASE;
    else if (value == CMD_AUTOSELECT)
        f->mode = AUTOSELECT;
    return MMIOSHIM_OK;
}

/* The sixth. */
static enum mmioshim_status confirm(struct mmioshim_device *dev, u32 at, u8 value)
{
    struct flash *f = dev->state;
    u16 mask = chip_of(dev)->unlock;

    f->mode = READ;
    if (value == CMD_SECTOR_ERASE)
        return erase_sector(dev, at);
    if (value == CMD_CHIP_ERASE && (at & mask) == (0x5555u & mask))
        return erase_chip(dev);
    return MMIOSHIM_OK;
}

/* Commands while an operation is under way: erase suspend, one more sector, and reset of one that failed. */
static enum mmioshim_status write_busy(struct mmioshim_device *dev, u32 at, u8 value)
{
    struct flash *f = dev->state;

    if (value == CMD_RESET && f->failed) {
        f->doing = IDLE;
        f->failed = 0;
        return MMIOSHIM_OK;
    }
    if (!chip_of(dev)->suspends || f->doing != ERASING || f->failed)
        return MMIOSHIM_GUEST_BUG;
    if (value == CMD_SUSPEND && !f->whole) {
        suspend(f);
        return MMIOSHIM_OK;
    }
    return value == CMD_SECTOR_ERASE && window_open(f) ? erase_sector(dev, at) : MMIOSHIM_GUEST_BUG;
}

/* The first cycle of a command, or one that is a command by itself. */
static enum mmioshim_status first_cycle(struct mmioshim_device *dev, u32 at, u8 value)
{
    struct flash *f = dev->state;
    u8 mode = f->mode;

    f->mode = READ;
    if (unlocks(dev, at, value, false))
        f->mode = UNLOCK1;
    else if (value == CMD_RESUME && f->suspended && mode == READ)
        resume(f);
    else if (value == CMD_QUERY && chip_of(dev)->query)
        f->mode = QUERY;
    else if (value == CMD_SUSPEND && mode == READ)
        return MMIOSHIM_OK; /* nothing is being erased */
    else
        /* What probes of other kinds of chips begin with does no harm; anything else was meant for memory. */
        return value == CMD_RESET || value == CMD_RESET_INTEL || value == CMD_AUTOSELECT || value == CMD_QUERY ||
               value == 0xaa || value == 0x55 ? MMIOSHIM_OK : MMIOSHIM_GUEST_BUG;
    return MMIOSHIM_OK;
}

static enum mmioshim_status write_idle(struct mmioshim_device *dev, u32 at, u8 value)
{
    struct flash *f = dev->state;

    switch (f->mode) {
    case UNLOCK1:
        f->mode = unlocks(dev, at, value, true) ? UNLOCK2 : READ;
        return MMIOSHIM_OK;
    case UNLOCK2:
        return command(dev, at, value);
    case PROGRAM:
        return program(dev, at, value);
    case ERASE:
        f->mode = unlocks(dev, at, value, false) ? ERASE_UNLOCK1 : READ;
        return MMIOSHIM_OK;
    case ERASE_UNLOCK1:
        f->mode = unlocks(dev, at, value, true) ? ERASE_UNLOCK2 : READ;
        return MMIOSHIM_OK;
    case ERASE_UNLOCK2:
        return confirm(dev, at, value);
    default:
        return first_cycle(dev, at, value);
    }
}

static enum mmioshim_status flash_write(struct mmioshim_device *dev, u64 offset, unsigned width, u64 value)
{
    if (width != 1)
        return MMIOSHIM_BAD_WIDTH;
    if (busy(dev))
        return write_busy(dev, place(dev, offset), (u8)value);
    return write_idle(dev, place(dev, offset), (u8)value);
}

/* ---- reads ---- */

static u8 status(struct mmioshim_device *dev, u32 at)
{
    struct flash *f = dev->state;
    bool here = bit(f->erasing, sector_of(dev, at));
    u8 value = f->failed ? DQ5 : 0;

    f->toggle ^= DQ6 | DQ2;
    value |= f->toggle & DQ6;
    if (f->doing == PROGRAMMING) {
        value |= ~f->expected & DQ7;
    } else {
        value |= here ? f->toggle & DQ2 : 0;
        value |= chip_of(dev)->suspends && !window_open(f) ? DQ3 : 0;
    }
    if (f->reads)
        f->reads--;
    return value;
}

/* Of a sector whose erase is suspended: DQ7 = 1, DQ6 stands, DQ2 toggles. */
static u8 suspended_status(struct flash *f)
{
    f->toggle ^= DQ2;
    return DQ7 | (f->toggle & DQ2);
}

/* Autoselect: maker, device, and whether the sector is protected. */
static u8 identity(struct mmioshim_device *dev, u32 at)
{
    switch (at & 0xff) {
    case 0:
        return chip_of(dev)->maker;
    case 1:
        return chip_of(dev)->device;
    case 2:
        return protected(dev);
    default:
        return 0;
    }
}

static enum mmioshim_status flash_read(struct mmioshim_device *dev, u64 offset, unsigned width, u64 *value)
{
    struct flash *f = dev->state;
    u32 at = place(dev, offset);

    *value = 0;
    if (width != 1)
        return MMIOSHIM_BAD_WIDTH;
    if (busy(dev))
        *value = status(dev, at);
    else if (f->mode == AUTOSELECT)
        *value = identity(dev, at);
    else if (f->mode == QUERY)
        *value = flash_chip_query(chip_of(dev), at & 0xff);
    else if (f->suspended && bit(f->erasing, sector_of(dev, at)))
        *value = suspended_status(f);
    else
        *value = array_byte(dev, at);
    return MMIOSHIM_OK;
}

/* ---- life ---- */

static size_t flash_state_for(u64 window_size)
{
    return sizeof(struct flash) + (size_t)MIN(window_size, (u64)FLASH_MOST);
}

/* By name, else by the size of the window. */
static bool choose(struct mmioshim_device *dev, const struct mmioshim_node *node)
{
    u32 length = 0;
    const char *list = dev->host->property(node, "compatible", &length);
    int chip = flash_chip_named(list, length);

    if (chip < 0)
        chip = flash_chip_sized(dev->size);
    ((struct flash *)dev->state)->chip = (u8)chip;
    return chip >= 0;
}

static int flash_create(struct mmioshim_device *dev, const struct mmioshim_node *node, const char **why)
{
    u32 width = 1;

    dev->host->property_u32(node, "bank-width", &width);
    if (width != 1)
        *why = "bank-width is not 1: chips side by side are not modelled";
    else if (!choose(dev, node))
        *why = "no chip has the size of its window (128 KB, 512 KB, 8 MB), and compatible names none";
    else if (dev->size < chip_of(dev)->size)
        *why = "its window is smaller than the chip";
    else
        return 0;
    return -1;
}

static u64 flash_disk_size(const struct mmioshim_device *dev)
{
    return chip_of(dev)->size;
}

/* RESET#, or power-up: reads the array. What an operation under way has done is done. */
static void flash_reset(struct mmioshim_device *dev, enum mmioshim_reset kind)
{
    struct flash *f = dev->state;

    (void)kind;
    f->mode = READ;
    f->doing = IDLE;
    f->suspended = f->failed = f->toggle = 0;
}

/* ---- description ---- */

enum { VIEW_ARRAY = 1, VIEW_ID, VIEW_QUERY, VIEW_STATUS, VIEW_PROGRAM };

static unsigned flash_view(const struct mmioshim_device *dev)
{
    const struct flash *f = dev->state;

    if (working((struct mmioshim_device *)(uintptr_t)dev))
        return VIEW_STATUS;
    switch (f->mode) {
    case AUTOSELECT:
        return VIEW_ID;
    case QUERY:
        return VIEW_QUERY;
    case PROGRAM:
        return VIEW_PROGRAM;
    default:
        return VIEW_ARRAY;
    }
}

/* One register wherever it is met: the log has the address. */
static u64 flash_register_offset(const struct mmioshim_device *dev, u64 offset)
{
    (void)dev;
    (void)offset;
    return 0;
}

static const struct mmioshim_field status_fields[] = {
    {"DQ2", 2, 1}, {"DQ3", 3, 1}, {"DQ5", 5, 1}, {"DQ6", 6, 1}, {"DQ7", 7, 1},
};

static const struct mmioshim_register registers[] = {
    {.name = "ARRAY", .width = 1, .access = MMIOSHIM_RO, .view = VIEW_ARRAY, .doc = "contents, at every offset"},
    {.name = "ID", .width = 1, .access = MMIOSHIM_RO, .view = VIEW_ID,
     .doc = "after autoselect: maker at 0, device at 1, protection of a sector at 2"},
    {.name = "QUERY", .width = 1, .access = MMIOSHIM_RO, .view = VIEW_QUERY, .doc = "after 0x98: the CFI table"},
    {.name = "STATUS", .width = 1, .access = MMIOSHIM_RO, .view = VIEW_STATUS, .flags = MMIOSHIM_REG_VOLATILE,
     MMIOSHIM_FIELDS(status_fields), .doc = "while programming or erasing: DQ6 toggles, DQ7 is inverted, DQ5: it failed"},
    {.name = "PROGRAM", .width = 1, .access = MMIOSHIM_WO, .view = VIEW_PROGRAM, .doc = "the byte to be programmed"},
    {.name = "COMMAND", .width = 1, .access = MMIOSHIM_WO,
     .doc = "0xaa at 0x5555, 0x55 at 0x2aaa, then 0xa0: program, 0x80: erase (0x30, 0x10), 0x90: autoselect; 0xf0: reset"},
};

static const struct mmioshim_property properties[] = {
    {"compatible", "which chip; jedec-flash alone, by size: sst39sf010a, sst39vf040 or am29lv065d"},
    {"bank-width", "bytes of the data bus: 1"},
    {NULL, NULL},
};

static const char *const compatible[] = {
    "sst,sst39sf010a", "sst,sst39vf040", "amd,am29f010b", "amd,am29f040b", "amd,am29lv065d", "jedec-flash", NULL,
};
static const char *const backends[] = {"null", "disk", NULL};

const struct mmioshim_class class_flash = {
    .api = MMIOSHIM_DEVICE_API,
    .name = "flash",
    .label = "FLASH",
    .description = "parallel NOR flash with JEDEC commands, 8 bits wide",
    .compatible = compatible,
    .properties = properties,
    .backends = backends,
    .min_size = 128 << 10,
    .widths = 1,
    .split = true,
    .registers = registers,
    .nregisters = ARRAY_SIZE(registers),
    .version = 1,
    .state_for = flash_state_for,
    .create = flash_create,
    .reset = flash_reset,
    .read = flash_read,
    .write = flash_write,
    .view = flash_view,
    .register_offset = flash_register_offset,
    .service = flash_service,
    .disk_bytes = flash_disk_size,
};
