#include "memory/load.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/errname.h"
#include "base/mem.h"
#include "base/sys.h"
#include "config/options.h"
#include "trace/dirtyfile.h"

static int complain(struct fmt *error, const char *piece, const char *what)
{
    fmt_printf(error, "MMIOSHIM_LOAD=%s: %s", piece, what);
    return -1;
}

static int outside(const struct machine *m, const char *piece, struct fmt *error)
{
    complain(error, piece, "lies outside RAM; allowed:");
    for (u32 i = 0; i < m->desc->nbanks; i++)
        fmt_printf(error, " %lx-%lx", m->desc->banks[i].range.base, range_last(m->desc->banks[i].range));
    return -1;
}

/* Copies one file; fd is open. */
static int load_file(const struct machine *m, int fd, const char *piece, u64 addr, struct fmt *error)
{
    static char buf[65536];
    u64 offset = 0, last = 0;
    long n;

    while ((n = sys_read(fd, buf, sizeof(buf))) > 0) {
        if (!machine_ram_offset(m->desc, addr, &offset) || !machine_ram_offset(m->desc, addr + (u64)n - 1, &last) ||
            last - offset != (u64)n - 1)
            return outside(m, piece, error);
        if (sys(SYS_pwrite64, m->ram_fd, buf, n, offset) != n)
            return complain(error, piece, "cannot be written into RAM");
        addr += (u64)n;
    }
    return n < 0 ? complain(error, piece, errname(n)) : 0;
}

static int load_piece(const struct machine *m, char *piece, struct fmt *error)
{
    char *at = strrchr(piece, '@');
    u64 addr, offset;
    long fd;
    int ret;

    if (!at || !parse_u64(at + 1, &addr))
        return complain(error, piece, "not understood; allowed: FILE@ADDRESS");
    if (!machine_ram_offset(m->desc, addr, &offset))
        return outside(m, piece, error);
    *at = 0;
    fd = sys_open(piece, O_RDONLY | O_CLOEXEC, 0);
    *at = '@';
    if (fd < 0)
        return complain(error, piece, errname(fd));
    ret = load_file(m, (int)fd, piece, addr, error);
    sys_close((int)fd);
    return ret;
}

int ram_load(const struct machine *machine, const char *spec, struct fmt *error)
{
    static char piece[4096];

    for (;;) {
        struct fmt f = FMT_INIT(piece);

        if (!list_next(&spec, ';', &f))
            return 0;
        fmt_end(&f);
        if (load_piece(machine, piece, error) < 0)
            return -1;
    }
}

static long sink(void *context, const void *bytes, size_t n)
{
    return sys_write_all(*(int *)context, bytes, n);
}

long dirty_save(const struct machine *machine, const char *path)
{
    const struct machine_desc *desc = machine->desc;
    struct trace_bank banks[MACHINE_BANKS];
    const u8 *bitmaps[MACHINE_BANKS];
    static char temporary[4096 + 32];
    struct fmt f = FMT_INIT(temporary);
    long ret, fd;
    int out;

    for (u32 i = 0; i < desc->nbanks; i++) {
        banks[i] = (struct trace_bank){desc->banks[i].name, desc->banks[i].range};
        bitmaps[i] = (const u8 *)arena_dirty(machine->arena) + machine_dirty_start(desc, i) / 8;
    }
    fmt_printf(&f, "%s.%d.tmp", path, sys_getpid());
    fd = sys_open(fmt_end(&f), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return fd;
    out = (int)fd;
    ret = dirtyfile_write(banks, bitmaps, desc->nbanks, sink, &out);
    sys_close(out);
    if (ret == 0)
        ret = sys(SYS_rename, temporary, path);
    if (ret < 0)
        sys(SYS_unlink, temporary);
    return ret;
}
