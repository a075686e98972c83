/*
 * What kinds of function there are, from functions.def: one file each, or a
 * table of what they are made of. Constant tables; ordinary context.
 */
#ifndef MMIOSHIM_PCI_MODELS_H
#define MMIOSHIM_PCI_MODELS_H

#include "config/pci.h"
#include "mmioshim/device.h"

#define PCI_COMPATIBLE "mmioshim,pci-" /* and a model's name: a node below the host */
#define PCI_OPTIONS    "mmioshim,options" /* its property, as what follows the name in MMIOSHIM_ATTACH */

struct pci_space_writer; /* pci/build.h */

/* A BAR, and the device model behind it. */
struct pci_model_bar {
    const struct mmioshim_class *class;
    u64 size;
    bool io, wide, prefetchable;
};

struct pci_model {
    const char *name;        /* "testdev" */
    const char *description; /* one line */
    const struct mmioshim_property *options; /* NULL-terminated names */
    u16 vendor, device;
    u32 class; /* base class, sub-class, interface */
    bool bridge;
    bool express; /* a PCI Express function: 4096 bytes of configuration space */
    bool own_bars; /* options give it BARs of any size */
    bool bare;     /* no capabilities and no interrupt */
    bool slot;     /* what follows the name is plugged into the device behind its BARs */
    u16 msix;
    struct pci_model_bar bars[PCI_BARS];
    /* Fills what hangs on the options; text: as in PCI_OPTIONS. 0, or -1 with *why. May be NULL. */
    int (*setup)(struct pci_function *function, const char *text, const char **why);
    /* Capabilities beside those that every function has. May be NULL. */
    void (*capabilities)(const struct pci_function *function, struct pci_space_writer *space);
    /* Is this, rather than a model's name, one of its parts ("blk:FILE")? May be NULL. */
    bool (*claims)(const char *text);
};

#define MODEL(model) extern const struct pci_model model;
#include "pci/functions.def"
#undef MODEL

extern const struct pci_model *const pci_models[];
extern const u32 pci_model_count;

/* Of "testdev,bar0=4K": its index, and *rest = what follows the name and a comma or colon. -1: there is none. */
int pci_model_find(const char *text, const char **rest);
/* Of a node's compatible string. -1: it is none of ours. */
int pci_model_compatible(const char *compatible);
/* The names, for messages: "; allowed: testdev, ..." */
void pci_model_list(struct fmt *out);

/*
 * Reads the options of a function whose model is set: ids, BARs, vectors. 0, or -1 with *why: what is wrong and what is
 * allowed.
 */
int pci_function_options(struct pci_function *function, const char *text, const char **why);

#endif
