#include "pci/models.h"

#include "base/mem.h"

const struct pci_model *const pci_models[] = {
#define MODEL(model) &model,
#include "pci/functions.def"
#undef MODEL
};
const u32 pci_model_count = ARRAY_SIZE(pci_models);

static int by_name(const char *name, size_t n)
{
    for (u32 i = 0; i < pci_model_count; i++)
        if (strlen(pci_models[i]->name) == n && strncmp(pci_models[i]->name, name, n) == 0)
            return (int)i;
    return -1;
}

/* "virtio-blk:FILE" and "blk:FILE" name what is plugged into a model. */
static int by_part(const char *text, const char **rest)
{
    for (u32 i = 0; i < pci_model_count; i++) {
        const struct pci_model *m = pci_models[i];
        size_t n = strlen(m->name);

        *rest = strncmp(text, m->name, n) == 0 && text[n] == '-' ? text + n + 1 : text;
        if (m->claims && m->claims(*rest))
            return (int)i;
    }
    return -1;
}

int pci_model_find(const char *text, const char **rest)
{
    size_t n = 0;
    int model;

    while (text[n] && text[n] != ',' && text[n] != ':')
        n++;
    model = by_name(text, n);
    if (model < 0)
        return by_part(text, rest);
    *rest = text + n + (text[n] != 0);
    return model;
}

int pci_model_compatible(const char *compatible)
{
    size_t n = sizeof(PCI_COMPATIBLE) - 1;

    return strncmp(compatible, PCI_COMPATIBLE, n) == 0 ? by_name(compatible + n, strlen(compatible + n)) : -1;
}

void pci_model_list(struct fmt *out)
{
    fmt_str(out, "; allowed:");
    for (u32 i = 0; i < pci_model_count; i++)
        fmt_printf(out, "%s %s", i ? "," : "", pci_models[i]->name);
}
