#include <dlfcn.h>
#include <stdlib.h>

#include "cpu/plan.h"

#define LIBRARY "libZydis.so.4.0"

static void *library;

static void *symbol(const char *name)
{
    return dlsym(library, name);
}

int cpu_init(struct fmt *error)
{
    const char *what = NULL;

    library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        fmt_printf(error, "cannot open the instruction decoder: %s (Debian package libzydis4.0)", dlerror());
        return -1;
    }
    if (!decoder_bind(symbol, &what)) {
        fmt_printf(error, "%s does not fit: %s", LIBRARY, what);
        return -1;
    }
    xstate_init();
    stack_init();
    if (!cache_init() || stub_init() < 0) {
        fmt_str(error, "no executable memory for re-executed instructions (memfd_create or mmap failed)");
        return -1;
    }
    return 0;
}

void cpu_after_fork(void)
{
    stub_after_fork();
}
