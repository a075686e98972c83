/*
 * Which code may be patched, and how its bytes change. Code belongs to a file
 * that the loader has mapped, as it maps them: generated code, and what is
 * mapped otherwise, is left alone.
 */
#include "patch/text.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <linux/membarrier.h>
#include <sys/auxv.h>

#include "base/ehframe.h"
#include "base/mem.h"
#include "base/range.h"
#include "base/sys.h"
#include "calls/calls.h"
#include "trap/backtrace.h"
#include "base/trapsafe.h"

/* ---- which ---- */

#define BANNED 64
#define NEAR   1024 /* bytes around a site within which system calls that were rewritten are looked for */
#define CALLS  64

static struct range banned[BANNED];
static unsigned nbanned;

static struct {
    struct range around;
    struct range calls[CALLS];
    unsigned ncalls;
    struct eh_table functions;
    struct range text;
} now; /* what is asked about, for the callbacks */

extern __typeof__(_dl_find_object) _dl_find_object __attribute__((weak));
extern const char __ehdr_start[] __attribute__((visibility("hidden")));

void text_leave_alone(u64 base, u64 size)
{
    struct range r = {base, size};

    for (unsigned i = 0; i < nbanned; i++)
        if (banned[i].base == base && banned[i].size == size)
            return;
    if (nbanned == BANNED) /* rather too much */
        r = (struct range){0, UINT64_MAX};
    banned[MIN(nbanned, BANNED - 1u)] = r;
    nbanned = MIN(nbanned + 1, (unsigned)BANNED);
}

static bool is_banned(struct range r)
{
    for (unsigned i = 0; i < nbanned; i++)
        if (range_overlaps(banned[i], r))
            return true;
    return false;
}

bool text_loaded(u64 at)
{
    struct dl_find_object object;

    return _dl_find_object && _dl_find_object((void *)at, &object) == 0;
}

/* The segment that is run, by the headers that the loader mapped with the file. */
static bool find_segment(u64 image, u64 at, struct range *segment)
{
    Elf64_Ehdr eh;
    Elf64_Phdr ph;
    u64 bias = image;

    if (!probe_read(&eh, image, sizeof(eh)) || memcmp(eh.e_ident, ELFMAG, SELFMAG) != 0)
        return false;
    for (unsigned i = 0; i < eh.e_phnum; i++) {
        if (!probe_read(&ph, image + eh.e_phoff + i * sizeof(ph), sizeof(ph)))
            return false;
        if (ph.p_type == PT_LOAD && ph.p_offset == 0)
            bias = image - page_down(ph.p_vaddr);
        *segment = (struct range){bias + ph.p_vaddr, ph.p_filesz};
        if (ph.p_type == PT_LOAD && (ph.p_flags & (PF_X | PF_W)) == PF_X && range_has(*segment, at))
            return true;
    }
    return false;
}

/* The loader, we ourselves and what we use are none of the program's. */
static bool ours(const struct dl_find_object *object)
{
    const char *name = NULL;
    char path[256] = "";
    const char *last;

    if (object->dlfo_map_start == (void *)__ehdr_start || (u64)object->dlfo_map_start == getauxval(AT_BASE) ||
        (u64)object->dlfo_map_start == getauxval(AT_SYSINFO_EHDR))
        return true;
    if (!probe_read(&name, (u64)&object->dlfo_link_map->l_name, sizeof(name)) || !name)
        return true;
    for (unsigned i = 0; i < sizeof(path) - 1; i++)
        if (!probe_read(&path[i], (u64)name + i, 1) || !path[i])
            break;
    last = strrchr(path, '/');
    last = last ? last + 1 : path;
    return strncmp(last, "libZydis.", 9) == 0 || strncmp(last, "libZycore.", 10) == 0 || strncmp(last, "libunwind", 9) == 0 ||
           strncmp(last, "ld-linux", 8) == 0;
}

static bool foreign(void *context, u64 at, unsigned n)
{
    struct range r = {at, n};

    (void)context;
    if (!range_contains(now.around, at, n) || now.ncalls > CALLS || is_banned(r))
        return true;
    for (unsigned i = 0; i < now.ncalls; i++)
        if (range_overlaps(now.calls[i], r))
            return true;
    return false;
}

static bool function(void *context, u64 at, struct pun_function *f)
{
    struct eh_function here = eh_function_of(&now.functions, at);

    (void)context;
    if (!here.begin || !range_contains(now.text, here.begin, here.end - here.begin))
        return false;
    *f = (struct pun_function){.begin = here.begin, .end = here.end};
    f->before = eh_function_at(&now.functions, here.index - 1).end;
    f->after = eh_function_at(&now.functions, here.index + 1).begin;
    return true;
}

bool text_find(u64 at, struct pun_text *text)
{
    struct dl_find_object object;
    struct range around = {page_down(at - MIN(at, (u64)NEAR)), 0};

    if (!_dl_find_object || _dl_find_object((void *)at, &object) != 0 || ours(&object) ||
        !find_segment((u64)object.dlfo_map_start, at, &now.text) || is_banned((struct range){at, 1}))
        return false;
    around.base = at - MIN(at, (u64)NEAR);
    around.size = 2 * NEAR;
    now.around = around;
    now.ncalls = calls_sites_in(around, now.calls, CALLS);
    now.functions = eh_table_of(object.dlfo_eh_frame);
    *text = (struct pun_text){.base = now.text.base, .size = now.text.size, .bytes = (const u8 *)now.text.base,
                              .foreign = foreign, .function = function};
    return true;
}

/* ---- how ---- */

static int mem = -1; /* /proc/self/mem of this process, while text changes */
static bool cores;   /* membarrier is at hand */

void text_start(void)
{
    cores = sys(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0) == 0;
}

bool text_open(void)
{
    if (cores)
        mem = (int)sys_open("/proc/self/mem", O_RDWR | O_CLOEXEC, 0);
    return mem >= 0;
}

void text_close(void)
{
    sys_close(mem);
    mem = -1;
}

bool text_put(u64 at, const void *bytes, unsigned n)
{
    return sys(SYS_pwrite64, mem, bytes, (u64)n, at) == (long)n;
}

/* Every core that runs a thread of this process sees what was written. */
static void everybody(void)
{
    sys(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0);
}

/* The order of cpu/pun.h: a thread that comes along meets the old bytes, TEXT_STOP, or the new ones. */
bool text_write(const struct pun_write *writes, unsigned count)
{
    static const u8 stop = TEXT_STOP;

    for (unsigned i = 0; i < count; i++) {
        if (!text_put(writes[i].at, &stop, 1) && i == 0)
            return false; /* the kernel allows no such writes, and will allow none */
        everybody();
    }
    for (unsigned i = 0; i < count; i++)
        if (writes[i].length > 1)
            text_put(writes[i].at + 1, writes[i].bytes + 1, writes[i].length - 1u);
    everybody();
    for (unsigned i = count; i-- > 0;) {
        text_put(writes[i].at, writes[i].bytes, 1);
        everybody();
    }
    return true;
}
