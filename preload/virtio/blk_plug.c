/* What is said of a disk where it is attached: some of it is for the disk, some for its host end. */
#include "virtio/blk.h"

#include "base/fmt.h"
#include "base/mem.h"

#include "base/trapsafe.h"

/* Kinds of host end that are said by name; everything else is the path of a file. */
static const struct kind {
    const char *name;
    const char *options[2]; /* that are for it; it says itself what is wrong with them */
} kinds[] = {
    {"memory", {"size="}},
    {"nbd", {"export="}},
};

static const struct kind file = {"disk", {NULL}};

static const char *after(const char *option, const char *key)
{
    size_t n = strlen(key);

    return strncmp(option, key, n) == 0 ? option + n : NULL;
}

static const struct kind *kind_of(const char *options)
{
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        const char *rest = after(options, kinds[i].name);

        if (rest && (!*rest || *rest == ',' || *rest == ':'))
            return &kinds[i];
    }
    return &file;
}

static bool for_kind(const struct kind *kind, const char *option)
{
    for (size_t i = 0; i < ARRAY_SIZE(kind->options); i++)
        if (kind->options[i] && after(option, kind->options[i]))
            return true;
    return false;
}

static bool number(const char *text, u32 *value)
{
    u32 n = 0;

    if (!*text)
        return false;
    for (; *text >= '0' && *text <= '9' && n < 100000; text++)
        n = 10 * n + (u32)(*text - '0');
    *value = n;
    return !*text;
}

static int set_option(struct blk *blk, const char *option, const char **why)
{
    const char *id = after(option, "serial="), *size = after(option, "block-size=");

    if (strcmp(option, "readonly") == 0) {
        blk->readonly = 1;
        return 0;
    }
    if (strcmp(option, "mmap") == 0) {
        blk->mapped = 1;
        return 0;
    }
    if (id && strlen(id) <= BLK_ID_BYTES) {
        memset(blk->id, 0, sizeof(blk->id));
        memcpy(blk->id, id, strlen(id));
        return 0;
    }
    if (size && number(size, &blk->block) && blk->block >= BLK_SECTOR && blk->block <= 4096 && !(blk->block & (blk->block - 1)))
        return 0;
    *why = id     ? "a serial has at most 20 bytes"
           : size ? "block-size is 512, 1024, 2048 or 4096"
                  : "blk does not take this option";
    return -1;
}

/* ",option,option=value...": those of the host end go into its specification. */
static int set_options(struct blk *blk, const struct kind *kind, const char *at, struct fmt *end, const char **why)
{
    while (at) {
        char option[288];
        struct fmt o = FMT_INIT(option);
        const char *next = strchr(at + 1, ',');

        fmt_mem(&o, at + 1, next ? (size_t)(next - at - 1) : strlen(at + 1));
        fmt_end(&o);
        *why = "an option is too long";
        if (o.full)
            return -1;
        if (for_kind(kind, option))
            fmt_printf(end, ",%s", option);
        else if (set_option(blk, option, why) < 0)
            return -1;
        at = next;
    }
    return 0;
}

/* "FILE[,option...]" or "KIND[:ARGUMENT][,option...]" */
int blk_plug(struct mmioshim_device *dev, const char *options, const char **why)
{
    struct virtio *v = virtio_of(dev);
    struct blk *blk = blk_of(dev);
    const struct kind *kind = kind_of(options);
    const char *comma = strchr(options, ',');
    size_t n = comma ? (size_t)(comma - options) : strlen(options);
    struct fmt end = FMT_INIT(v->end);

    *blk = (struct blk){.writeback = 1, .block = BLK_SECTOR, .id = "mmioshim"};
    if (kind == &file)
        fmt_str(&end, "disk:");
    fmt_mem(&end, options, n);
    if (set_options(blk, kind, comma, &end, why) < 0)
        return -1;
    if (blk->readonly)
        fmt_str(&end, ",readonly");
    if (blk->mapped)
        fmt_str(&end, ",mmap");
    fmt_end(&end);
    *why = n ? "the path is too long" : "blk needs the path of a file";
    return n && !end.full ? 0 : -1;
}
