/* A font of 5 by 7 pixels for the pictures that the tools draw. */
#ifndef MMIOSHIM_TOOLS_FONT_H
#define MMIOSHIM_TOOLS_FONT_H

#include "base/types.h"

#define FONT_WIDTH  5
#define FONT_HEIGHT 7

/* Seven rows from the top, bit 4 is the leftmost pixel. A box for characters that the font lacks. */
const u8 *font_glyph(char c);

/* Rows by which a glyph is set lower: letters that reach below the line. */
unsigned font_drop(char c);

#endif
