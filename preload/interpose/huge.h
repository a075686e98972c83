/* Mappings of huge pages (memory/huge.h). */
#ifndef MMIOSHIM_INTERPOSE_HUGE_H
#define MMIOSHIM_INTERPOSE_HUGE_H

#include "interpose/interpose.h"

/* mmap of such a file, or anonymous with MAP_HUGETLB: true, and the call is answered. In a call. */
bool huge_mmap(struct call *call);
/* Whole pages are about to be unmapped: would that leave a part of a huge page? In a call. */
bool huge_torn(struct range range);
/* In the child of fork: what was private is a copy now. */
void huge_after_fork(void);

#endif
