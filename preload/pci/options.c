/* The options of a function: "vendor=0x1234,bar0=4K,bar2=1M:64:prefetch,msix=4". */
#include "base/mem.h"
#include "config/options.h"
#include "devices/classes.h"
#include "pci/models.h"
#include "pci/msix.h"

#define IO_MOST 256u /* bytes of an I/O BAR: PCI Local Bus 3.0, 6.2.5.1 */

static bool power_of_two(u64 n)
{
    return n && !(n & (n - 1));
}

/* "64:prefetch" behind the size of a BAR */
static bool read_kind(struct pci_bar *bar, const char *kind)
{
    char word[16];
    struct fmt f = FMT_INIT(word);

    while (list_next(&kind, ':', &f)) {
        if (strcmp(word, "io") == 0)
            bar->io = true;
        else if (strcmp(word, "64") == 0)
            bar->wide = true;
        else if (strcmp(word, "prefetch") == 0)
            bar->prefetchable = true;
        else if (strcmp(word, "32") != 0)
            return false;
    }
    return !bar->io || (!bar->wide && !bar->prefetchable);
}

static bool fits(const struct pci_bar *bar)
{
    if (!power_of_two(bar->size))
        return false;
    if (bar->io)
        return bar->size >= 4 && bar->size <= IO_MOST;
    return bar->size >= 16 && bar->size <= (bar->wide ? (u64)1 << 40 : (u64)1 << 31);
}

static int read_bar(struct pci_bar *bar, const char *value, const char **why)
{
    char size[32];
    struct fmt f = FMT_INIT(size);
    const char *kind = value;

    *why = "bad BAR; allowed: SIZE[:32|:64|:io][:prefetch], regs";
    *bar = (struct pci_bar){.class = (u16)class_number(&class_scratch)};
    if (strcmp(value, "regs") == 0) {
        *bar = (struct pci_bar){.size = PAGE_SIZE, .class = (u16)class_number(&class_pci_testdev)};
        return 0;
    }
    if (!list_next(&kind, ':', &f) || f.full || !parse_u64(size, &bar->size) || !read_kind(bar, kind))
        return -1;
    *why = "bad size of a BAR; allowed: a power of two, 4 to 256 for io, 16 and more for memory, up to 2G without 64";
    return fits(bar) ? 0 : -1;
}

/* "bar0" */
static bool is_bar(const char *name, const char *with, unsigned *number)
{
    size_t n = strlen(with);

    if (strncmp(name, with, n) != 0 || name[n] < '0' || name[n] > '5' || name[n + 1])
        return false;
    *number = (unsigned)(name[n] - '0');
    return true;
}

static int bar_option(struct pci_function *f, const char *name, const char *value, const char **why)
{
    unsigned n;

    if (is_bar(name, "bar", &n) && !f->bridge)
        return read_bar(&f->bars[n], value, why);
    if (is_bar(name, "vfbar", &n) && !f->bridge)
        return read_bar(&f->vf_bars[n], value, why) < 0 || f->vf_bars[n].io ? -1 : 0;
    if (strcmp(name, "rom") == 0) {
        if (read_bar(&f->bars[PCI_ROM], value, why) < 0)
            return -1;
        *why = "bad size of a ROM; allowed: a power of two from 2K to 16M";
        return f->bars[PCI_ROM].size >= 2048 && f->bars[PCI_ROM].size <= 16u << 20 && !f->bars[PCI_ROM].io ? 0 : -1;
    }
    *why = "unknown option";
    return 1;
}

/* Numbers, and how large they may be. */
static int number_option(struct pci_function *f, const char *name, u64 value, const char **why)
{
    const struct {
        const char *name;
        u64 most;
        u16 *field;
    } numbers[] = {
        {"vendor", 0xfffe, &f->vendor}, {"device", 0xffff, &f->id}, {"subvendor", 0xffff, &f->subvendor},
        {"subsystem", 0xffff, &f->subsystem}, {"msix", PCI_VECTORS, &f->msix}, {"vfs", 64, &f->vfs},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++)
        if (strcmp(name, numbers[i].name) == 0) {
            *numbers[i].field = (u16)value;
            *why = "number out of range";
            return value <= numbers[i].most ? 0 : -1;
        }
    *why = "number out of range; allowed: class to 0xffffff, revision to 255, msi 1, 2, 4, 8, 16 or 32, bus 1 to 255";
    if (strcmp(name, "class") == 0)
        f->class = (u32)value;
    else if (strcmp(name, "revision") == 0)
        f->revision = (u8)value;
    else if (strcmp(name, "msi") == 0)
        f->msi = (u8)value;
    else if (strcmp(name, "bus") == 0 && f->bridge)
        f->secondary = (u8)value; /* what is below it says the rest: pci/attach.c */
    else
        return 1;
    if (strcmp(name, "class") == 0)
        return value <= 0xffffff ? 0 : -1;
    if (strcmp(name, "msi") == 0)
        return power_of_two(value) && value <= 32 ? 0 : -1;
    return value <= 255 && (value || strcmp(name, "bus") != 0) ? 0 : -1;
}

static int one_option(struct pci_function *f, char *option, const char **why)
{
    char *equals = strchr(option, '=');
    u64 value;
    int done;

    if (!equals) {
        *why = "unknown option; allowed: `mmioshim devices` lists them";
        if (strcmp(option, "express") != 0)
            return -1;
        f->express = true;
        return 0;
    }
    *equals = 0;
    done = pci_models[f->model]->own_bars ? bar_option(f, option, equals + 1, why) : 1;
    if (done <= 0)
        return done;
    *why = "not a number";
    if (!parse_u64(equals + 1, &value))
        return -1;
    done = number_option(f, option, value, why);
    if (done > 0)
        *why = "unknown option; allowed: `mmioshim devices` lists them";
    return done ? -1 : 0;
}

/* A BAR of 64 bits takes the next one. */
static bool taken(const struct pci_function *f, unsigned i)
{
    return f->bars[i].size || (i && f->bars[i - 1].wide);
}

static int check_bars(const struct pci_bar *bars, const char **why)
{
    *why = "a BAR of 64 bits takes the next one, too";
    for (unsigned i = 0; i < PCI_ROM; i++)
        if (bars[i].wide && (i == PCI_ROM - 1 || bars[i + 1].size))
            return -1;
    return 0;
}

/* The vectors' table gets the first BAR that is free. */
static int place_table(struct pci_function *f, const char **why)
{
    unsigned i = 0;

    if (!f->msix || f->bars[f->msix_bar].class == class_number(&class_pci_msix))
        return 0;
    while (i < PCI_ROM && taken(f, i))
        i++;
    *why = "no BAR is left for the table of msix";
    if (i == PCI_ROM)
        return -1;
    f->msix_bar = (u8)i;
    f->bars[i] = (struct pci_bar){.size = msix_size(f->msix), .class = (u16)class_number(&class_pci_msix)};
    return 0;
}

int pci_function_options(struct pci_function *f, const char *text, const char **why)
{
    const struct pci_model *model = pci_models[f->model];
    char option[128];
    struct fmt piece = FMT_INIT(option);

    if (model->setup && model->setup(f, text, why) < 0)
        return -1;
    while (!model->slot && list_next(&text, ',', &piece))
        if (one_option(f, option, why) < 0)
            return -1;
    if (check_bars(f->bars, why) < 0 || check_bars(f->vf_bars, why) < 0)
        return -1;
    if (f->vfs)
        f->express = true;
    return place_table(f, why);
}
