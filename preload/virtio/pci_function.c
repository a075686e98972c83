/*
 * A virtio device as a PCI function: ids, BARs, and the capabilities that say where its structures are. Source: VIRTIO
 * 1.2, 4.1.2 and 4.1.4.
 */
#include "pci/build.h"
#include "pci/models.h"
#include "pci/msix.h"
#include "virtio/pci.h"
#include "virtio/virtio.h"

#define BAR      4u
#define MSIX_BAR 1u

/* Of the types of 5: what systems show of them. */
static u32 class_of(u16 type)
{
    static const u32 classes[] = {[VIRTIO_ID_NET] = 0x020000, [VIRTIO_ID_BLOCK] = 0x010000, [VIRTIO_ID_CONSOLE] = 0x078000};

    return type < ARRAY_SIZE(classes) && classes[type] ? classes[type] : 0x00ff00;
}

/* 4.1.2.1: device ids; "any PCI Revision ID value", 1 or higher; a subsystem id of 0x40 or higher. */
static int function_setup(struct pci_function *f, const char *text, const char **why)
{
    const struct virtio_type *type = virtio_type_named(text);

    *why = "no such virtio device; allowed: what `mmioshim devices virtio_pci` lists";
    if (!type)
        return -1;
    f->id = (u16)(0x1040 + type->id);
    f->class = class_of(type->id);
    f->revision = 1;
    f->subvendor = f->vendor;
    f->subsystem = 0x1100;
    f->msix = (u16)(type->nqueues + 1);
    f->bars[MSIX_BAR].size = msix_size(f->msix);
    return 0;
}

/* struct virtio_pci_cap, 4.1.4 */
static u16 structure(struct pci_space_writer *space, u8 kind, u32 offset, u32 length, unsigned bytes)
{
    u16 at = pci_add_capability(space, PCI_CAP_VENDOR, bytes);

    pci_put(space, at + 2u, 1, bytes, 0, 0);
    pci_put(space, at + 3u, 1, kind, 0, 0);
    pci_put(space, at + 4u, 1, BAR, 0, 0);
    pci_put(space, at + 8u, 4, offset, 0, 0);
    pci_put(space, at + 12u, 4, length, 0, 0);
    return at;
}

static void function_capabilities(const struct pci_function *f, struct pci_space_writer *space)
{
    u32 queues = f->msix - 1u;
    u16 at;

    structure(space, 1, VIRTIO_PCI_COMMON, VIRTIO_PCI_COMMON_SIZE, 16);
    at = structure(space, 2, VIRTIO_PCI_NOTIFY, queues * VIRTIO_PCI_NOTIFY_STEP, 20);
    pci_put(space, at + 16u, 4, VIRTIO_PCI_NOTIFY_STEP, 0, 0);
    structure(space, 3, VIRTIO_PCI_ISR, VIRTIO_PCI_ISR_SIZE, 16);
    if (f->id != 0x1040 + VIRTIO_ID_RNG)
        structure(space, 4, VIRTIO_PCI_DEVICE, VIRTIO_PCI_NOTIFY - VIRTIO_PCI_DEVICE, 16);
    /* 4.1.4.9: a window into the BARs. Its last word is what the other three say (pci/decode.c). */
    at = structure(space, 5, 0, 0, 20);
    pci_put(space, at + 4u, 1, 0, 0xff, 0);
    pci_put(space, at + 8u, 4, 0, UINT32_MAX, 0);
    pci_put(space, at + 12u, 4, 0, UINT32_MAX, 0);
    space->state->window = at;
}

static bool function_claims(const char *text)
{
    return virtio_type_named(text) != NULL;
}

const struct pci_model pci_virtio = {
    .name = "virtio",
    .description = "a virtio device, version 1: virtio-blk:FILE and the like, as in a virtio_mmio slot",
    .vendor = 0x1af4,
    .device = 0x1040,
    .class = 0x00ff00,
    .slot = true,
    .msix = 1,
    .bars = {
        [MSIX_BAR] = {.class = &class_pci_msix, .size = 4096},
        [BAR] = {.class = &class_virtio_pci, .size = VIRTIO_PCI_BAR_SIZE, .wide = true, .prefetchable = true},
    },
    .setup = function_setup,
    .capabilities = function_capabilities,
    .claims = function_claims,
};
