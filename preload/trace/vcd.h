/*
 * Value change dump (IEEE 1364-2005, 18.2), for wave viewers. Pure, any context: the caller knows which variables
 * there are, and what they held last.
 */
#ifndef MMIOSHIM_TRACE_VCD_H
#define MMIOSHIM_TRACE_VCD_H

#include "trace/print.h"

/* Identifier code number n, from 0. */
void vcd_code(struct fmt *out, u64 n);
/* A name of letters, digits and underscores: "uart@10000000" becomes uart_10000000. */
void vcd_name(struct fmt *out, const char *name);
/* "$var reg 8 ! LCR [7:0] $end"; one bit: "$var wire 1 " rd $end". element: appended to the name, -1: none. */
void vcd_variable(struct fmt *out, const char *name, int element, unsigned bits, u64 code);
/* "#1200" */
void vcd_time(struct fmt *out, u64 nanoseconds);
/* One value. known: false is x. */
void vcd_value(struct fmt *out, unsigned bits, bool known, u64 value, u64 code);

#endif
