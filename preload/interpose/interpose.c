#include "interpose/interpose.h"

#include <dlfcn.h>
#include <errno.h>

const struct machine *interpose_machine;
const struct view *interpose_view;

void *interpose_find(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

void interpose_start(const struct machine *machine, const struct view *view)
{
    interpose_view = view;
    __atomic_store_n(&interpose_machine, machine, __ATOMIC_RELEASE);
}

long interpose_result(long ret)
{
    if (ret < 0 && ret > -4096) {
        errno = (int)-ret;
        return -1;
    }
    return ret;
}
