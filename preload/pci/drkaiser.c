/*
 * The PC-Waechter of Dr. Kaiser: a card with a parallel flash of 128 KB behind BAR 2, as flash programmers know it. No data
 * sheet is public: ids, BAR and the word at 0x50 that enables writing are those of flashrom's driver. The word is there,
 * and writing is always enabled.
 */
#include "devices/classes.h"
#include "pci/build.h"
#include "pci/models.h"

#define ENABLE 0x50u

static void drkaiser_capabilities(const struct pci_function *f, struct pci_space_writer *space)
{
    (void)f;
    pci_put(space, ENABLE, 2, 0, UINT16_MAX, 0);
}

static const struct mmioshim_property options[] = {
    {"disk:FILE[,readonly]", "contents of the flash, 128 KB; none: it is erased"},
    {NULL, NULL},
};

const struct pci_model pci_drkaiser = {
    .name = "drkaiser",
    .description = "a card with a parallel flash of 128 KB behind BAR 2",
    .options = options,
    .vendor = 0x1803,
    .device = 0x5057,
    .class = 0xff0000,
    .slot = true,
    .bars = {[2] = {.class = &class_flash, .size = 128 << 10}},
    .capabilities = drkaiser_capabilities,
};
