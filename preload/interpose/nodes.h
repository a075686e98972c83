/* Descriptors of the tree in system calls. In a call. */
#ifndef MMIOSHIM_INTERPOSE_NODES_H
#define MMIOSHIM_INTERPOSE_NODES_H

#include "interpose/interpose.h"
#include "tree/tree.h"

/* What a descriptor is to read and write. */
enum nodes_io {
    NODES_HOST,   /* not the tree's */
    NODES_KERNEL, /* of the tree, and the kernel's file has what is to be read */
    NODES_MEM,    /* /dev/mem */
    NODES_OURS,   /* nodes_move() */
    NODES_EVENT,  /* nodes_event() */
    NODES_GONE,   /* what it was is no more: *error */
};
enum nodes_io nodes_io(int fd, bool write, u64 offset_known, u64 offset, struct tree_node *node, long *error);
/* Moves bytes between our memory and the node. `here`: at the descriptor's own offset, which moves on. */
long nodes_move(int fd, const struct tree_node *node, void *bytes, u64 n, bool here, u64 offset, bool write);
/* Waits for what the node's event() tells, and writes it into the program's buffers. */
struct iovec;
enum call_answer nodes_event(struct call *call, const struct tree_node *node, const struct iovec *vectors, unsigned count);
/* mmap: where in the machine. CALL_PASS: not of the tree. CALL_DONE: `*error`, or 0, *machine and, as of F_GETFL, *status. */
enum call_answer nodes_map(int fd, u64 offset, u64 length, u64 *machine, int *status, long *error);
/* Descriptors that are about to be closed. */
void nodes_forget(u32 first, u32 last);

#endif
