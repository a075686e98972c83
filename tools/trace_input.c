#include "trace_input.h"

#include <string.h>

#include "trace/ringfile.h"

int trace_input_open(struct trace_input *in, const u8 *data, size_t size, struct fmt *error)
{
    u64 magic = 0;
    size_t i = 0;

    memset(in, 0, sizeof(*in));
    in->damage = (struct fmt)FMT_INIT(in->damage_text);
    memcpy(&magic, data, MIN(size, sizeof(magic)));
    while (i < size && (data[i] == '\n' || data[i] == ' '))
        i++;
    if (magic == RING_MAGIC) {
        in->format = TRACE_RING;
        return ring_input_open(in, data, size, error);
    }
    in->format = i < size && data[i] == '{' ? TRACE_JSON_LINES : TRACE_TEXT_LINES;
    return line_input_open(in, data, size, error);
}

void trace_input_close(struct trace_input *in)
{
    if (in->format == TRACE_RING)
        ring_input_close(in);
    else
        line_input_close(in);
}
