#include "libc_init.h"

#include <dlfcn.h>
#include <link.h>
#include <stdlib.h>

typedef void (*constructor)(int, char **, char **);

void libc_init(int argc, char **argv, char **envp)
{
    struct link_map *map = NULL;
    const constructor *array = NULL;
    size_t bytes = 0;
    Dl_info info;

    if (!dladdr1((void *)abort, &info, (void **)&map, RTLD_DL_LINKMAP) || !map)
        return;
    for (const ElfW(Dyn) *d = map->l_ld; d->d_tag != DT_NULL; d++) {
        if (d->d_tag == DT_INIT_ARRAY)
            array = (const constructor *)(map->l_addr + d->d_un.d_ptr);
        else if (d->d_tag == DT_INIT_ARRAYSZ)
            bytes = d->d_un.d_val;
    }
    for (size_t i = 0; array && i < bytes / sizeof(*array); i++)
        array[i](argc, argv, envp);
}
