/* Client requests (mmioshim/client.h): what a program that wants to cooperate may ask. Ordinary context. */
#include "base/mem.h"
#include "interpose/interpose.h"
#include "memory/dirty.h"
#include "trap/log.h"

int mmioshim_active(void);
void mmioshim_mark(const char *text);
int mmioshim_dirty_test(const void *addr);
void mmioshim_dirty_clear(void);

EXPORT int mmioshim_active(void)
{
    return interpose_machine != NULL;
}

EXPORT void mmioshim_mark(const char *text)
{
    struct trace_record rec;
    u64 mask;

    if (!interpose_machine || !text)
        return;
    memset(&rec, 0, sizeof(rec));
    rec.type = TRACE_MARK;
    rec.device = TRACE_NONE;
    rec.reg = TRACE_NONE;
    signals_mask(&mask);
    log_event(thread_self(), &rec, text);
    signals_restore(&mask);
}

EXPORT int mmioshim_dirty_test(const void *addr)
{
    u64 mask;
    int ret;

    if (!interpose_machine)
        return -1;
    signals_mask(&mask);
    ret = dirty_test((u64)addr);
    signals_restore(&mask);
    return ret;
}

EXPORT void mmioshim_dirty_clear(void)
{
    u64 mask;

    if (!interpose_machine)
        return;
    signals_mask(&mask);
    dirty_clear();
    signals_restore(&mask);
}
