/*
 * One event of the machine, binary. Every format is a printer over it, live
 * and afterwards. Plain data: no pointers, no process-local addresses but pc
 * and the ids, which the reader resolves through struct trace_names.
 */
#ifndef MMIOSHIM_TRACE_RECORD_H
#define MMIOSHIM_TRACE_RECORD_H

#include "base/types.h"

#define TRACE_VERSION 1u

enum trace_type {
    TRACE_MMIO = 1,
    TRACE_PORT,
    TRACE_LINT,
    TRACE_DMA,
    TRACE_IRQ,
    TRACE_MARK,
    TRACE_FAULT,
    TRACE_REPEAT,
};

enum { TRACE_READ = 0, TRACE_WRITE = 1 };

enum {
    TRACE_UNASSIGNED = 1, /* nobody models the place: the value is what MMIOSHIM_UNASSIGNED says */
    TRACE_FAILED = 2,     /* DMA that was refused */
    TRACE_PRIVATE_PC = 4, /* pc lies in code that belongs to no file */
    TRACE_MESSAGE = 8,    /* IRQ that is a message of a PCI function: addr is its number */
};

#define TRACE_NONE      0xffffu /* no device, no register */
#define TRACE_MAX_WIDTH 64u     /* bytes of value */
#define TRACE_TEXT      224u

struct trace_record {
    u16 size; /* bytes of this record that count: up to and including text */
    u8 type;  /* enum trace_type */
    u8 op;    /* TRACE_READ, TRACE_WRITE */
    u8 flags;
    u8 insn_len;
    u16 device;   /* index into the machine's devices, TRACE_NONE */
    u16 reg;      /* index into the registers of its class, TRACE_NONE */
    u16 element;  /* of an array of registers */
    u32 width;    /* bytes; DMA: length */
    u32 pid, tid; /* real ones */
    u16 pid_ordinal, tid_ordinal; /* 1, 2, ... in order of first appearance in the machine */
    u32 stack;    /* id of the call stack, 0 = none */
    u64 seq;      /* machine order, from 1; LINT: the number of the access that it is about */
    u64 time;     /* CLOCK_REALTIME in nanoseconds */
    u64 addr;     /* the machine's physical address, or port number; IRQ: line in addr, level in width */
    u64 offset;   /* addr minus the base of the device's window */
    u64 pc;       /* address of the accessing instruction in its process */
    u8 insn[16];
    u8 value[TRACE_MAX_WIDTH]; /* little-endian; REPEAT: the count in the first 8 bytes */
    char text[TRACE_TEXT];     /* LINT: "rule\0text"; MARK: text; FAULT: diagnosis; terminated */
};

#endif
