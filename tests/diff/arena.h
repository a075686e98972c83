/*
 * The memory that instructions of the test reach. The windows' pages are
 * made ordinary memory for the run that tells what is right, and trap again
 * for the other: so both runs see the same addresses, and every bit of their
 * results can be compared.
 */
#ifndef MMIOSHIM_TESTS_DIFF_ARENA_H
#define MMIOSHIM_TESTS_DIFF_ARENA_H

#include "base/types.h"

/*
 * Ordinary page, window of two pages, ordinary page, hole; hole, window of one page, hole.
 * In the order of addresses; as one array of bytes they are an image.
 */
#define WINDOW 0x40000000u
#define WINDOW_SIZE 0x2000u
#define BELOW  (WINDOW - 0x1000u)
#define ABOVE  (WINDOW + WINDOW_SIZE)
#define LONE   0x48000000u
#define LONE_SIZE 0x1000u

#define IMAGE_BYTES 0x5000u /* below, window, above, lone */

/* Maps what is ordinary and finds where the windows keep their bytes. False with a reason on stdout. */
bool arena_init(void);

/* What both kinds of memory hold at the start of a run. Writes go through arena_put. */
extern u8 arena_image[IMAGE_BYTES];
/* Sets n bytes at an address; what lies in no page of the arena is left out. */
void arena_put(u64 addr, const void *bytes, unsigned n);
/* n bytes of random content around an address. */
void arena_randomise(u64 addr, unsigned n);

/* Can the page above the window be read only while an instruction runs? */
extern bool arena_read_only;

/* The windows become ordinary memory that holds the image. */
void arena_open(void);
/* What an instruction has made of it; the image is put back, and the windows trap. Returns a whole image. */
const u8 *arena_close(void);
/* The same after a run with windows that trap. Valid until the next call. */
const u8 *arena_take(void);
/* Address of a byte of an image, for reports. */
u64 arena_address(unsigned offset);

#endif
