#include "bus/bus.h"

#include "base/fds.h"
#include "base/mem.h"
#include "bus/host.h"
#include "base/trapsafe.h"

bool bus_take_requests(struct bus_requests *taken)
{
    if (likely(!bus_requested()))
        return false;
    *taken = bus_requests;
    bus_requests = (struct bus_requests){0};
    return true;
}

void bus_lock(struct bus_device *device, const struct lock_self *self)
{
    lock_take(&device->shared->lock, self);
}

void bus_unlock(struct bus_device *device, const struct lock_self *self)
{
    lock_release_biased(&device->shared->lock, self);
}

void bus_leave_taken(struct bus_device *device, struct lock_self *self)
{
    if (unlikely(!self->lane && !self->laneless && lock_ripe(&device->shared->lock, self)))
        lane_claim(self);
    bus_unlock(device, self);
}

bool bus_nobody(const struct bus *bus, void *data, unsigned width)
{
    memset(data, bus->unassigned == UNASSIGNED_ZERO ? 0 : 0xff, width);
    return bus->unassigned != UNASSIGNED_FAULT;
}

static void lint(struct bus_note *note, const char *rule, const char *text)
{
    struct fmt f = FMT_INIT(note->text);

    if (note->rule)
        return;
    note->rule = rule;
    fmt_str(&f, text);
    fmt_end(&f);
}

/* Aligned accesses of up to 8 bytes are indivisible, as on memory. */
static void copy_storage(void *to, const void *from, unsigned width)
{
    switch (width) {
    case 1:
        *(volatile u8 *)to = *(const volatile u8 *)from;
        break;
    case 2:
        __builtin_memcpy(to, from, 2);
        break;
    case 4:
        __builtin_memcpy(to, from, 4);
        break;
    case 8:
        __builtin_memcpy(to, from, 8);
        break;
    default:
        memcpy(to, from, width);
    }
}

static bool takes_width(const struct mmioshim_class *class, unsigned width)
{
    return width <= 8 && (width & (width - 1)) == 0 && (!class->widths || (class->widths & width));
}

static enum mmioshim_status access_once(struct bus_device *d, u64 offset, u8 *data, unsigned width, bool write)
{
    const struct mmioshim_class *class = d->dev.class;
    enum mmioshim_status status;
    u64 value = 0;

    if (write) {
        memcpy(&value, data, width);
        return class->write(&d->dev, offset, width, value);
    }
    status = class->read(&d->dev, offset, width, &value);
    if (status != MMIOSHIM_WAIT)
        memcpy(data, &value, width);
    return status;
}

/* Largest width below `width` that the class takes, 0: none. */
static unsigned next_width(const struct mmioshim_class *class, unsigned width)
{
    for (unsigned w = 8; w; w /= 2)
        if (w < width && takes_width(class, w))
            return w;
    return 0;
}

/* A register that is narrower, or wider, than the access. */
static void lint_width(struct bus_device *d, unsigned width, struct bus_note *note)
{
    const struct mmioshim_class *class = d->dev.class;
    struct fmt f = FMT_INIT(note->text);
    const struct mmioshim_register *r;

    if (note->reg == TRACE_NONE || note->rule)
        return;
    r = &class->registers[note->reg];
    if (width == r->width)
        return;
    note->rule = width > r->width ? "wide-access" : "narrow-access";
    fmt_printf(&f, "register takes %u-byte accesses", (unsigned)r->width);
    fmt_end(&f);
}

struct pieces {
    struct bus *bus;
    struct bus_device *d;
    struct bus_note *note;
    bool write, moved;
    bool ok; /* some piece met a register */
};

static enum mmioshim_status access_pieces(struct pieces *p, u64 offset, u8 *data, unsigned width);

/* A status that ends the matter for these bytes. */
static void settle(struct pieces *p, enum mmioshim_status status, u8 *data, unsigned width)
{
    switch (status) {
    case MMIOSHIM_NO_REGISTER:
        if (!p->write && !bus_nobody(p->bus, data, width))
            p->note->fault = true;
        if (p->bus->unassigned == UNASSIGNED_FAULT)
            p->note->fault = true;
        break;
    case MMIOSHIM_BAD_WIDTH:
        if (!p->write)
            memset(data, 0xff, width);
        p->ok = true;
        break;
    case MMIOSHIM_READ_ONLY:
        lint(p->note, "read-only", "register cannot be written");
        p->ok = true;
        break;
    case MMIOSHIM_WRITE_ONLY:
        lint(p->note, "write-only", "register cannot be read");
        p->ok = true;
        break;
    case MMIOSHIM_GUEST_BUG:
        lint(p->note, "guest-bug", "not what the hardware allows here");
        p->ok = true;
        break;
    case MMIOSHIM_OK:
    case MMIOSHIM_WAIT:
        p->ok = true;
        break;
    }
    p->moved = true;
}

static enum mmioshim_status split(struct pieces *p, u64 offset, u8 *data, unsigned width)
{
    unsigned w = next_width(p->d->dev.class, width);

    if (!w) {
        settle(p, MMIOSHIM_BAD_WIDTH, data, width);
        return MMIOSHIM_OK;
    }
    for (unsigned done = 0; done < width; done += w) {
        unsigned n = MIN(w, width - done);
        enum mmioshim_status status = access_pieces(p, offset + done, data + done, n);

        if (status == MMIOSHIM_WAIT && !p->moved)
            return status;
        /* Half of the access is done, so it cannot begin again: wait here for the host end. */
        while (status == MMIOSHIM_WAIT) {
            bus_wait(p->d, 100);
            status = access_pieces(p, offset + done, data + done, n);
        }
    }
    return MMIOSHIM_OK;
}

/* The device was asked for these bytes as a whole. */
static enum mmioshim_status answered(struct pieces *p, u64 offset, u8 *data, unsigned width, enum mmioshim_status status)
{
    if (status == MMIOSHIM_BAD_WIDTH)
        lint_width(p->d, width, p->note);
    if (status == MMIOSHIM_BAD_WIDTH && p->d->dev.class->split)
        return split(p, offset, data, width);
    if (status != MMIOSHIM_WAIT)
        settle(p, status, data, width);
    return status == MMIOSHIM_WAIT ? status : MMIOSHIM_OK;
}

static enum mmioshim_status access_pieces(struct pieces *p, u64 offset, u8 *data, unsigned width)
{
    enum mmioshim_status status = MMIOSHIM_BAD_WIDTH;

    if (takes_width(p->d->dev.class, width))
        status = access_once(p->d, offset, data, width, p->write);
    return answered(p, offset, data, width, status);
}

void bus_register(struct bus_device *d, u64 offset, bool write, struct bus_note *note)
{
    const struct mmioshim_class *class = d->dev.class;
    u64 at = class->register_offset ? class->register_offset(&d->dev, offset) : offset;

    note->reg = trace_find_register(class->registers, class->nregisters, at, class->view ? class->view(&d->dev) : 0,
                                    write, &note->element);
}

/* The text stays as it is: there is none without a rule. */
static void note_nothing(struct bus_note *note)
{
    note->reg = TRACE_NONE;
    note->element = 0;
    note->unassigned = note->fault = false;
    note->rule = NULL;
}

static void finish(const struct pieces *p, enum mmioshim_status status)
{
    if (status != MMIOSHIM_WAIT)
        p->note->unassigned = !p->ok;
    if (p->note->unassigned)
        p->note->rule = NULL;
}

enum mmioshim_status bus_access(struct bus *bus, struct bus_device *device, u64 offset, void *data, unsigned width,
                                bool write, struct bus_note *note)
{
    const struct mmioshim_class *class = device->dev.class;
    struct pieces p = {bus, device, note, write, false, false};
    enum mmioshim_status status;
    void *storage;

    note_nothing(note);
    if (class->storage && (storage = class->storage(&device->dev, offset, width))) {
        if (write)
            copy_storage(storage, data, width);
        else
            copy_storage(data, storage, width);
        return MMIOSHIM_OK;
    }
    bus_register(device, offset, write, note);
    status = access_pieces(&p, offset, data, width);
    finish(&p, status);
    return status;
}

enum mmioshim_status bus_answered(struct bus *bus, struct bus_device *device, u64 offset, void *data, unsigned width,
                                  bool write, enum mmioshim_status status, struct bus_note *note)
{
    struct pieces p = {bus, device, note, write, false, false};

    note_nothing(note);
    bus_register(device, offset, write, note);
    status = answered(&p, offset, data, width, status);
    finish(&p, status);
    return status;
}

struct backend *bus_end_at(struct bus_device *device, u32 end)
{
    struct backend *b = end ? &device->more[end - 1] : &device->backend;

    if (b->use[0])
        b->in = fds_get(b->use[0]);
    if (b->use[1])
        b->out = fds_get(b->use[1]);
    return b;
}

void bus_wait(struct bus_device *device, int timeout_ms)
{
    struct backend *b = bus_end_at(device, MIN(device->full, MAX(device->nends, 1u) - 1));

    if (b->ops && b->ops->poll)
        b->ops->poll(b, BACKEND_OUT, timeout_ms);
}

void bus_serve(struct bus *bus, u32 device, const struct lock_self *self)
{
    struct bus_device *d = &bus->devices[device];

    bus_lock(d, self);
    if (d->dev.class->service)
        d->dev.class->service(&d->dev);
    bus_unlock(d, self);
}

void bus_serve_due(struct bus *bus, const struct lock_self *self)
{
    int i;

    while ((i = clock_next_due(bus->machine->arena)) >= 0)
        bus_serve(bus, (u32)i, self);
}

/* Where BARs are is part of what is reset. */
void bus_reset(struct bus *bus, const struct lock_self *self)
{
    for (u32 i = 0; i < bus->ndevices; i++) {
        struct bus_device *d = &bus->devices[i];

        bus_lock(d, self);
        if (d->dev.class->reset)
            d->dev.class->reset(&d->dev, MMIOSHIM_RESET_COLD);
        bus_unlock(d, self);
    }
    __atomic_fetch_add(&bus->machine->arena->map_version, 1, __ATOMIC_RELEASE);
}
