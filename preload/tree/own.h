/* What the rest of the library tells this room. */
#ifndef MMIOSHIM_TREE_OWN_H
#define MMIOSHIM_TREE_OWN_H

#include "base/lock.h"

/* Is this process the owner of our memory, and no vfork child? Asked of who knows (interpose/process.c). */
extern bool (*tree_own)(void);
/* Who takes locks (trap/thread.h). */
extern const struct lock_self *(*tree_self)(void);

#endif
