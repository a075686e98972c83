/*
 * The kernel interfaces of dirty tracking that Debian 12's headers lack.
 * Source: Linux 6.7, include/uapi/linux/fs.h (PAGEMAP_SCAN) and userfaultfd.h.
 */
#ifndef MMIOSHIM_MEMORY_PMSCAN_H
#define MMIOSHIM_MEMORY_PMSCAN_H

#include <linux/ioctl.h>

#include "base/types.h"

struct pm_region {
    u64 start, end, categories;
};

struct pm_scan {
    u64 size, flags;
    u64 start, end, walk_end;
    u64 vec, vec_len, max_pages;
    u64 category_inverted, category_mask, category_anyof_mask, return_mask;
};

#define PM_SCAN              _IOWR('f', 16, struct pm_scan)
#define PM_SCAN_WP_MATCH     1u /* write-protect what is reported */
#define PM_SCAN_CHECK_ASYNC  2u /* fail where asynchronous write protection is not armed */
#define PM_PAGE_WPALLOWED    1u /* asynchronous write protection is armed there */
#define PM_PAGE_WRITTEN      2u
#define UFFD_WP_SHMEM        (1u << 12)
#define UFFD_WP_UNPOPULATED  (1u << 13)
#define UFFD_WP_ASYNC        (1u << 15)
#define UFFD_FLAG_USER_ONLY  1u

#endif
