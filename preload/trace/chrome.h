/*
 * Trace events as ui.perfetto.dev and chrome://tracing read them (Trace Event Format): pieces of the one JSON object
 * that a file is. Pure, any context: commas and brackets are the caller's.
 */
#ifndef MMIOSHIM_TRACE_CHROME_H
#define MMIOSHIM_TRACE_CHROME_H

#include "trace/print.h"

/* Devices are the threads of a process that no system has: more than the largest number of a process (PID_MAX_LIMIT). */
#define CHROME_MACHINE 4194305u

/* Where events begin: ts counts from here, because a double holds no nanoseconds since 1970. */
struct chrome_track {
    u64 start; /* nanoseconds since 1970 */
    u32 pid, tid;
};

/* One event. frame: number of its innermost stack frame, 0: none. */
void chrome_event(struct fmt *out, const struct trace_record *record, const struct trace_names *names, u64 start, u64 frame);
/* Is it shown on the track of its device? */
bool chrome_on_device(const struct trace_record *record, const struct trace_names *names);
/* "process_name" or "thread_name" */
void chrome_name(struct fmt *out, const char *what, u32 pid, u32 tid, const char *name);
/* A flow's start (ph s) or finish (ph f). */
void chrome_flow(struct fmt *out, char ph, u64 id, u64 time, const struct chrome_track *track);
void chrome_counter(struct fmt *out, const char *name, const char *key, u64 value, u64 time, u64 start);
/* "3":{"category":"driver","name":"uart_putc+0x1c","parent":"2"}; parent 0: none. */
void chrome_frame(struct fmt *out, u64 id, const char *frame, u64 parent);

#endif
