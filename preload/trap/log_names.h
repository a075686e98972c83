/* What a record only names, as this process knows it, for the printers. Call stacks: under the log's lock. */
#ifndef MMIOSHIM_TRAP_LOG_NAMES_H
#define MMIOSHIM_TRAP_LOG_NAMES_H

#include "bus/bus.h"
#include "trace/print.h"

struct trace_names log_names(const struct bus *bus);

#endif
