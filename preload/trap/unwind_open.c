/*
 * Opening libunwind. Its remote interface (libunwind-x86_64.so.8) lets us
 * supply memory, registers and tables. RTLD_LOCAL, because its dependency
 * libunwind.so.8 exports _Unwind_* and backtrace, which would take the place
 * of the program's own exception unwinder.
 *
 * One thing stands in the way of using it in a signal handler: its small
 * allocator brackets each operation with sigprocmask and a pthread mutex.
 * Both names may be the program's (or ours: interposed), and a mutex that
 * another thread holds at a fork stays locked in the child. So its import
 * slots for these are pointed at functions of our own, right after loading.
 */
#include "trap/unwind.h"

#include <elf.h>
#include <gnu/libc-version.h>
#include <link.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#include "base/mem.h"
#include "base/sys.h"
#include "trap/unwind_lib.h"

#define LIBRARY "libunwind-x86_64.so.8"
#define PREFIX  "_Ux86_64_"

struct unwind_lib unwind_lib;

/* Weak: older C libraries do not have it, and then there are no stacks. */
extern __typeof__(_dl_find_object) _dl_find_object __attribute__((weak));

struct imports {
    const ElfW(Sym) *symbols;
    const char *names;
    const ElfW(Rela) *plt, *rela;
    size_t nplt, nrela;
};

static void read_dynamic(const struct link_map *map, struct imports *in)
{
    for (const ElfW(Dyn) *d = map->l_ld; d->d_tag != DT_NULL; d++) {
        const void *p = (const void *)d->d_un.d_ptr; /* ld.so has relocated it */

        switch (d->d_tag) {
        case DT_SYMTAB: in->symbols = p; break;
        case DT_STRTAB: in->names = p; break;
        case DT_JMPREL: in->plt = p; break;
        case DT_PLTRELSZ: in->nplt = d->d_un.d_val / sizeof(*in->plt); break;
        case DT_RELA: in->rela = p; break;
        case DT_RELASZ: in->nrela = d->d_un.d_val / sizeof(*in->rela); break;
        }
    }
}

static void *replacement(const char *name)
{
    for (unsigned i = 0; i < unwind_nimports; i++)
        if (strcmp(unwind_imports[i].name, name) == 0)
            return unwind_imports[i].function;
    return NULL;
}

static void redirect(const struct link_map *map, const struct imports *in, const ElfW(Rela) *rela, size_t n)
{
    for (; n--; rela++) {
        u32 type = ELF64_R_TYPE(rela->r_info);
        void *function;

        if (type != R_X86_64_JUMP_SLOT && type != R_X86_64_GLOB_DAT)
            continue;
        function = replacement(in->names + in->symbols[ELF64_R_SYM(rela->r_info)].st_name);
        if (function)
            *(void **)(map->l_addr + rela->r_offset) = function;
    }
}

/* The part of a module that ld.so made read-only after relocation (PT_GNU_RELRO), in whole pages. */
static struct range relro(const struct link_map *map, u64 image)
{
    const ElfW(Ehdr) *ehdr = (const ElfW(Ehdr) *)image;
    const ElfW(Phdr) *phdr = (const ElfW(Phdr) *)(image + ehdr->e_phoff);
    struct range r = {0, 0};

    for (unsigned i = 0; i < ehdr->e_phnum; i++) {
        u64 start = page_down(map->l_addr + phdr[i].p_vaddr);
        u64 end = page_down(map->l_addr + phdr[i].p_vaddr + phdr[i].p_memsz);

        if (phdr[i].p_type == PT_GNU_RELRO && end > start)
            r = (struct range){start, end - start};
    }
    return r;
}

static int redirect_imports(const struct link_map *map, struct fmt *error)
{
    struct imports in = {0};
    struct dl_find_object object;
    struct range r;
    long ret;

    if (unwind_lib.find_object(map->l_ld, &object) != 0)
        return fmt_str(error, LIBRARY " is not in the loader's list"), -1;
    read_dynamic(map, &in);
    r = relro(map, (u64)object.dlfo_map_start);
    ret = r.size ? sys_mprotect((void *)r.base, r.size, PROT_READ | PROT_WRITE) : 0;
    if (ret < 0)
        return fmt_printf(error, LIBRARY " cannot be prepared: mprotect error %d", (int)-ret), -1;
    redirect(map, &in, in.plt, in.nplt);
    redirect(map, &in, in.rela, in.nrela);
    if (r.size)
        sys_mprotect((void *)r.base, r.size, PROT_READ);
    return 0;
}

static int resolve(void *library, const char *name, void *slot, struct fmt *error)
{
    void *symbol = dlsym(library, name);

    if (!symbol)
        return fmt_printf(error, LIBRARY " has no %s", name), -1;
    memcpy(slot, &symbol, sizeof(symbol));
    return 0;
}

static struct range object_of(const void *address)
{
    struct dl_find_object object;
    struct range none = {0, 0};
    char first;

    if (unwind_lib.find_object((void *)(uintptr_t)address, &object) != 0)
        return none;
    /* The program itself has an empty name: there is no library to leave out of its stacks. */
    first = object.dlfo_link_map->l_name[0];
    if (!first)
        return none;
    return (struct range){(u64)object.dlfo_map_start, (u64)object.dlfo_map_end - (u64)object.dlfo_map_start};
}

int unwind_open(struct fmt *error)
{
    struct unwind_lib *lib = &unwind_lib;
    __typeof__(unw_create_addr_space) *create;
    __typeof__(unw_set_caching_policy) *set_policy;
    struct link_map *map;
    unw_addr_space_t space;
    struct layout warm;
    void *library;

    lib->find_object = _dl_find_object;
    if (!lib->find_object)
        return fmt_printf(error, "glibc %s is too old for call stacks: 2.35 is needed", gnu_get_libc_version()), -1;
    library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return fmt_str(error, dlerror()), -1;
    if (dlinfo(library, RTLD_DI_LINKMAP, &map) != 0 || redirect_imports(map, error) < 0 ||
        resolve(library, PREFIX "create_addr_space", &create, error) < 0 ||
        resolve(library, PREFIX "set_caching_policy", &set_policy, error) < 0 ||
        resolve(library, PREFIX "init_remote", &lib->init_remote, error) < 0 ||
        resolve(library, PREFIX "step", &lib->step, error) < 0 ||
        resolve(library, PREFIX "get_reg", &lib->get_reg, error) < 0 ||
        resolve(library, PREFIX "is_signal_frame", &lib->is_signal_frame, error) < 0 ||
        resolve(library, PREFIX "dwarf_search_unwind_table", &lib->search_table, error) < 0)
        return -1;
    space = create(&unwind_accessors, 0);
    if (!space)
        return fmt_str(error, "libunwind: no memory"), -1;
    set_policy(space, UNW_CACHE_NONE); /* no cache, no lock of its */
    lib->self = object_of(&unwind_lib);
    lib->libc = object_of(dlsym(RTLD_DEFAULT, "gnu_get_libc_version"));
    lib->entry = getauxval(AT_ENTRY);
    lib->space = space;
    unwind_layout((u64)(uintptr_t)__builtin_return_address(0) - 1, &warm);
    return 0;
}
