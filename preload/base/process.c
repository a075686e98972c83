#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fmt.h"
#include "base/mem.h"
#include "base/sys.h"
#include "base/trapsafe.h"

struct stat_line {
    char state;
    u64 parent;
    u64 threads;
    u64 start; /* clock ticks after boot */
};

static u64 read_number(const char *p)
{
    u64 value = 0;

    while (*p >= '0' && *p <= '9')
        value = value * 10 + (u64)(*p++ - '0');
    return value;
}

/* Fields 3, 4, 20 and 22 of proc(5)'s stat: the name in parentheses may itself hold parentheses. */
static bool read_stat(u32 pid, struct stat_line *line)
{
    char path[32];
    char text[1024];
    struct fmt f = FMT_INIT(path);
    const char *p;
    long n;

    fmt_str(&f, "/proc/");
    fmt_dec(&f, pid);
    fmt_str(&f, "/stat");
    n = sys_read_file(fmt_end(&f), text, sizeof(text) - 1);
    if (n <= 0)
        return false;
    text[n] = 0;
    p = strrchr(text, ')');
    if (!p || p[1] != ' ')
        return false;
    line->state = p[2];
    p += 2;
    for (int field = 3; field < 22; field++) {
        p = strchr(p, ' ');
        if (!p)
            return false;
        p++;
        if (field + 1 == 4)
            line->parent = read_number(p);
        if (field + 1 == 20)
            line->threads = read_number(p);
    }
    line->start = read_number(p);
    return true;
}

u64 process_start(u32 pid)
{
    struct stat_line line = {0};

    return read_stat(pid, &line) ? line.start : 0;
}

u32 process_parent(u32 pid)
{
    struct stat_line line = {0};

    return read_stat(pid, &line) ? (u32)line.parent : 0;
}

bool process_alive(u32 pid, u64 start)
{
    struct stat_line line = {0};

    if (!read_stat(pid, &line))
        return sys(SYS_kill, pid, 0) != -ESRCH;
    /* The first thread may have ended by pthread_exit, and the process lives on. */
    return ((line.state != 'Z' && line.state != 'X') || line.threads > 1) && (start == 0 || line.start == start);
}

static u64 namespace; /* 0: not looked up yet */

u64 process_namespace(void)
{
    struct stat st = {0};
    long fd;

    if (namespace)
        return namespace;
    fd = sys_open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC, 0);
    namespace = fd >= 0 && sys_fstat((int)fd, &st) == 0 ? st.st_ino : 1;
    if (fd >= 0)
        sys_close((int)fd);
    return namespace;
}

void process_after_fork(void)
{
    namespace = 0;
}

bool process_traced(void)
{
    char text[1024];
    long n = sys_read_file("/proc/self/status", text, sizeof(text) - 1);
    const char *line;

    if (n <= 0)
        return true;
    text[n] = 0;
    line = strstr(text, "TracerPid:");
    return !line || line[10] != '\t' || line[11] != '0';
}
