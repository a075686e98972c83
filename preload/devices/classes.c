#include "devices/classes.h"

#include "base/mem.h"
#include "config/machine.h"

const struct mmioshim_class *const device_classes[] = {
#define DEVICE(class) &class,
#include "devices/devices.def"
#undef DEVICE
};
const u32 device_class_count = ARRAY_SIZE(device_classes);

const struct mmioshim_class *class_by_compatible(const char *compatible)
{
    for (u32 i = 0; i < device_class_count; i++)
        for (const char *const *s = device_classes[i]->compatible; *s; s++)
            if (strcmp(*s, compatible) == 0)
                return device_classes[i];
    return NULL;
}

const struct mmioshim_class *class_by_name(const char *name)
{
    for (u32 i = 0; i < device_class_count; i++)
        if (strcmp(device_classes[i]->name, name) == 0)
            return device_classes[i];
    return class_by_compatible(name);
}

/* A property's strings one after another; a last one without its terminator is no string. */
static const struct mmioshim_class *class_in_list(const char *list, u32 length)
{
    const char *start = list;

    for (u32 i = 0; i < length; i++) {
        const struct mmioshim_class *class;

        if (list[i])
            continue;
        class = class_by_compatible(start);
        if (class)
            return class;
        start = list + i + 1;
    }
    return NULL;
}

const struct mmioshim_class *class_for_window(const struct machine_desc *desc, const struct machine_window *window)
{
    struct mmioshim_node node = {.desc = desc, .node = window->node};
    const struct mmioshim_class *class = NULL;
    u32 length = 0;
    const char *list;

    if (window->class)
        return class_by_number(window->class - 1u);
    list = node_property(&node, "compatible", &length);

    if (list)
        class = class_in_list(list, length);
    return class ? class : &class_unimplemented;
}

u32 class_number(const struct mmioshim_class *class)
{
    for (u32 i = 0; i < device_class_count; i++)
        if (device_classes[i] == class)
            return i;
    return 0;
}

const struct mmioshim_class *class_by_number(u32 number)
{
    return device_classes[number < device_class_count ? number : 0];
}
