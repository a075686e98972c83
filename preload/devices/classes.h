/*
 * The device models that are built in, from devices.def. Constant tables: any
 * context unless said otherwise.
 */
#ifndef MMIOSHIM_DEVICES_CLASSES_H
#define MMIOSHIM_DEVICES_CLASSES_H

#include "base/types.h"
#include "mmioshim/device.h"

struct machine_desc;
struct machine_window;

#define DEVICE(class) extern const struct mmioshim_class class;
#include "devices/devices.def"
#undef DEVICE

/* A class's number (for shared state, where pointers mean nothing) is its index here. */
extern const struct mmioshim_class *const device_classes[];
extern const u32 device_class_count;

/* The model that has this device-tree string, or NULL. */
const struct mmioshim_class *class_by_compatible(const char *compatible);
/* By class name or compatible string, for command lines; NULL: none. */
const struct mmioshim_class *class_by_name(const char *name);
/*
 * The model of a window: the node's compatible strings are tried in their
 * order (most specific first, Devicetree Specification 2.3.1); class_unimplemented
 * when none is modelled. Ordinary context.
 */
const struct mmioshim_class *class_for_window(const struct machine_desc *desc, const struct machine_window *window);
/* Bytes of state of a device of this class that sees so many bytes of window. */
static inline u64 class_state_size(const struct mmioshim_class *class, u64 size)
{
    return class->state_for ? class->state_for(size) : class->state_size;
}

/* Number of a class; that of class_unimplemented for a class that is not in the table. */
u32 class_number(const struct mmioshim_class *class);
/* The class that has a number; class_unimplemented when there is none (a number read from shared memory or a file). */
const struct mmioshim_class *class_by_number(u32 number);

#endif
