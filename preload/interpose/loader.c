/*
 * The dynamic loader. Only dlclose: after it, other code may stand at addresses
 * that call stacks and decoded instructions are remembered by. dlopen is left
 * alone, because it looks at who calls it (RUNPATH, namespace).
 */
#include <dlfcn.h>

#include "cpu/cpu.h"
#include "interpose/interpose.h"
#include "trap/backtrace.h"

EXPORT int dlclose(void *handle)
{
    int ret = REAL(dlclose)(handle);

    if (interpose_machine) {
        cpu_forget();
        backtrace_forget();
    }
    return ret;
}
