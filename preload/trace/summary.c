/* Lines that are written once: the memory map, the dirty pages and the totals, as text and as JSON. */
#include "trace/print.h"

#include "base/mem.h"
#include "trace/parts.h"

#include "base/trapsafe.h"

/* Whole mebibytes, else whole kibibytes, else bytes. */
static void put_size(struct fmt *out, u64 size)
{
    if (size && size % (1u << 20) == 0) {
        fmt_dec(out, size >> 20);
        fmt_str(out, "MB");
    } else if (size && size % 1024 == 0) {
        fmt_dec(out, size >> 10);
        fmt_str(out, "KB");
    } else {
        fmt_dec(out, size);
        fmt_char(out, 'B');
    }
}

static void json_map(struct fmt *out, const char *kind, struct range range, const char *device, const char *compatible)
{
    fmt_str(out, "{\"type\":\"map\",\"kind\":\"");
    fmt_str(out, kind);
    fmt_str(out, "\",\"base\":\"");
    fmt_hex(out, range.base);
    fmt_str(out, "\",\"size\":");
    fmt_dec(out, range.size);
    fmt_str(out, ",\"device\":\"");
    fmt_json(out, device);
    if (compatible && *compatible) {
        fmt_str(out, "\",\"compatible\":\"");
        fmt_json(out, compatible);
        fmt_str(out, "\"}\n");
    } else {
        fmt_str(out, "\",\"compatible\":null}\n");
    }
}

void trace_print_bank(struct fmt *out, const struct trace_bank *bank, bool json)
{
    if (json) {
        json_map(out, "ram", bank->range, bank->name, NULL);
        return;
    }
    fmt_str(out, "[MEM] RAM: ");
    put_size(out, bank->range.size);
    fmt_char(out, ' ');
    part_range(out, bank->range);
    fmt_char(out, ' ');
    fmt_str(out, bank->name);
    fmt_char(out, '\n');
}

void trace_print_window(struct fmt *out, const struct trace_device *device, bool json)
{
    const char *compatible = device->compatible;

    if (json) {
        json_map(out, device->moves ? "pci" : device->port ? "port" : "mmio", device->window, device->name, compatible);
        return;
    }
    fmt_str(out, device->moves ? "[MEM] PCI: " : device->port ? "[MEM] PORTS: " : "[MEM] MMIO: ");
    fmt_str(out, device->label && *device->label ? device->label : "unimplemented");
    fmt_char(out, ' ');
    part_range(out, device->window);
    fmt_char(out, ' ');
    fmt_str(out, device->name);
    if (compatible && *compatible) {
        fmt_char(out, ' ');
        fmt_str(out, compatible);
    }
    fmt_char(out, '\n');
}

void trace_print_exit(struct fmt *out, const struct trace_totals *t, bool json)
{
    fmt_printf(out,
               json ? "{\"type\":\"exit\",\"accesses\":%lu,\"reads\":%lu,\"writes\":%lu,\"lint\":%lu,\"lost\":%lu}\n"
                    : "[EXIT] %lu accesses (%lu reads, %lu writes), %lu lint, %lu lost\n",
               t->accesses, t->reads, t->writes, t->lint, t->lost);
}

/* Room for one more range and for the end of the line, whatever that is. */
static bool room_for_range(const struct fmt *out, const char *note)
{
    return out->cap - out->len > 128 + (note ? strlen(note) : 0);
}

static void dirty_text(struct fmt *out, const struct range *ranges, u64 nranges, const char *note)
{
    u64 i = 0;

    for (; i < nranges && room_for_range(out, note); i++) {
        fmt_str(out, i ? " " : ": ");
        part_range(out, ranges[i]);
    }
    if (i < nranges) {
        fmt_str(out, " and ");
        fmt_dec(out, nranges - i);
        fmt_str(out, " more ranges");
        out->full = true;
    }
    if (note) {
        fmt_str(out, " (");
        fmt_str(out, note);
        fmt_char(out, ')');
    }
    fmt_char(out, '\n');
}

static void dirty_json(struct fmt *out, const struct range *ranges, u64 nranges)
{
    u64 i = 0;

    fmt_str(out, ",\"ranges\":[");
    for (; i < nranges && room_for_range(out, NULL); i++) {
        fmt_str(out, i ? ",\"" : "\"");
        part_range(out, ranges[i]);
        fmt_char(out, '"');
    }
    if (i < nranges)
        out->full = true;
    fmt_str(out, "]}\n");
}

void trace_print_dirty(struct fmt *out, const char *mode, u64 pages, u64 total, const struct range *ranges, u64 nranges,
                       const char *note, bool json)
{
    fmt_str(out, json ? "{\"type\":\"dirty\",\"mode\":\"" : "[DIRTY] ");
    fmt_str(out, mode);
    fmt_str(out, json ? "\",\"pages\":" : ": ");
    fmt_dec(out, pages);
    fmt_str(out, json ? ",\"total\":" : " of ");
    fmt_dec(out, total);
    if (json) {
        dirty_json(out, ranges, nranges);
        return;
    }
    fmt_str(out, " pages");
    dirty_text(out, ranges, nranges, note);
}
