/* Pages as pixels: each bank is a panel, read like text, line by line from its first page. */
#include <errno.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dirty_view.h"
#include "font.h"
#include "tool.h"

#define WIDTH       512u
#define MARGIN      8u
#define LINE        20u   /* height of a line of text */
#define TALL_ENOUGH 192u  /* blocks of pages grow until a panel would be higher than this */
#define MAX_ROWS    1024u /* a pixel stands for several pages in banks that would need more */
#define MAX_BLOCK   16u

struct colour {
    u8 r, g, b;
};

static const struct colour paper = {255, 255, 255}, ink = {33, 37, 41}, pale_ink = {108, 117, 125},
                           clean = {222, 226, 230}, dirty_low = {250, 150, 75}, dirty_high = {217, 72, 15};

struct canvas {
    u32 width, height;
    struct colour *pixels;
};

static void fill(struct canvas *c, u32 x, u32 y, u32 width, u32 height, struct colour colour)
{
    for (u32 row = y; row < y + height && row < c->height; row++)
        for (u32 column = x; column < x + width && column < c->width; column++)
            c->pixels[(size_t)row * c->width + column] = colour;
}

static void draw_glyph(struct canvas *c, u32 x, u32 y, u32 scale, const u8 *rows, struct colour colour)
{
    for (u32 row = 0; row < FONT_HEIGHT; row++)
        for (u32 column = 0; column < FONT_WIDTH; column++)
            if (rows[row] >> (FONT_WIDTH - 1 - column) & 1)
                fill(c, x + column * scale, y + row * scale, scale, scale, colour);
}

static u32 text_width(const char *text, u32 scale)
{
    return (u32)strlen(text) * (FONT_WIDTH + 1) * scale;
}

/* Twice the font's size where that fits. */
static void draw_text(struct canvas *c, u32 x, u32 y, const char *text, struct colour colour)
{
    u32 scale = x + text_width(text, 2) <= c->width ? 2 : 1;

    for (; *text; text++, x += (FONT_WIDTH + 1) * scale)
        draw_glyph(c, x, y + font_drop(*text) * scale, scale, font_glyph(*text), colour);
}

/* How a bank is laid out: a page is a block of pixels, or a pixel is several pages. */
struct panel {
    u32 block;      /* width and height of a block in pixels */
    u64 per_pixel;  /* pages that a block stands for */
    u32 columns, rows;
};

static u64 divide_up(u64 n, u64 by)
{
    return n / by + (n % by != 0);
}

static struct panel lay_out(const struct dirtyfile_bank *bank)
{
    struct panel p = {.block = MAX_BLOCK, .per_pixel = 1};

    while (p.block > 1 && divide_up(bank->pages, WIDTH / p.block) * p.block > TALL_ENOUGH)
        p.block /= 2;
    p.columns = WIDTH / p.block;
    while (divide_up(divide_up(bank->pages, p.per_pixel), p.columns) > MAX_ROWS)
        p.per_pixel *= 2;
    p.rows = (u32)divide_up(divide_up(bank->pages, p.per_pixel), p.columns);
    return p;
}

/* Name and addresses, then the counts, then the panel. */
static u32 panel_height(const struct panel *p)
{
    return MARGIN + 2 * LINE + p->rows * p->block + MARGIN;
}

static u8 blend(u8 low, u8 high, u64 part, u64 whole)
{
    return (u8)((double)low + ((double)high - (double)low) * (double)part / (double)whole);
}

/* One page of many is seen at once: the scale of colours starts well away from "clean". */
static struct colour shade(u64 written, u64 pages)
{
    if (written == 0)
        return clean;
    return (struct colour){blend(dirty_low.r, dirty_high.r, written, pages),
                           blend(dirty_low.g, dirty_high.g, written, pages),
                           blend(dirty_low.b, dirty_high.b, written, pages)};
}

static u64 count_pages(const u8 *bitmap, u64 first, u64 n)
{
    u64 count = 0;

    for (u64 page = first; page < first + n; page++)
        count += bitmap[page / 8] >> (page % 8) & 1;
    return count;
}

static void draw_pages(struct canvas *c, u32 y, const struct dirtyfile_bank *bank, const struct panel *p)
{
    u32 gap = p->block >= 4 ? 1 : 0; /* blocks that are large enough are told apart */
    u64 first = 0;

    for (u32 at = 0; first < bank->pages; at++) {
        u64 pages = MIN(p->per_pixel, bank->pages - first);
        struct colour colour = shade(count_pages(bank->bitmap, first, pages), pages);

        fill(c, at % p->columns * p->block, y + at / p->columns * p->block, p->block - gap, p->block - gap, colour);
        first += pages;
    }
}

static char *counts_text(const struct dirtyfile_bank *bank)
{
    double percent = 100.0 * (double)bank->dirty / (double)bank->pages;

    if (bank->dirty && percent < 0.1)
        return tool_format("%lu of %lu pages (<0.1%%)", bank->dirty, bank->pages);
    return tool_format("%lu of %lu pages (%.1f%%)", bank->dirty, bank->pages, percent);
}

static void draw_bank(struct canvas *c, u32 y, const struct dirtyfile_bank *bank, const struct panel *p)
{
    char *title = tool_format("%s 0x%lx-0x%lx", bank->bank.name, bank->bank.range.base, range_last(bank->bank.range));
    char *counts = counts_text(bank);

    draw_text(c, MARGIN, y + MARGIN, title, ink);
    draw_text(c, MARGIN, y + MARGIN + LINE, counts, pale_ink);
    draw_pages(c, y + MARGIN + 2 * LINE, bank, p);
    free(title);
    free(counts);
}

static void draw_legend(struct canvas *c, u32 y, u64 per_pixel)
{
    char *scale = per_pixel > 1 ? tool_format("1 pixel = %lu pages", per_pixel) : NULL;

    fill(c, MARGIN, y, 14, 14, dirty_high);
    draw_text(c, MARGIN + 20, y, "written", ink);
    fill(c, 136, y, 14, 14, clean);
    draw_text(c, 156, y, "not written", ink);
    if (scale)
        draw_text(c, c->width - MARGIN - MIN(text_width(scale, 1), c->width - MARGIN), y + 4, scale, pale_ink);
    free(scale);
}

static int save(const struct canvas *c, const char *path)
{
    png_image image = {.version = PNG_IMAGE_VERSION, .width = c->width, .height = c->height, .format = PNG_FORMAT_RGB};
    int good;

    if (strcmp(path, "-") == 0)
        good = png_image_write_to_stdio(&image, stdout, 0, c->pixels, 0, NULL);
    else
        good = png_image_write_to_file(&image, path, 0, c->pixels, 0, NULL);
    if (!good)
        tool_error("%s: %s", path, image.message);
    png_image_free(&image);
    return good ? 0 : -1;
}

int dirty_draw(const struct dirtyfile *file, const char *path)
{
    static struct panel panels[DIRTYFILE_BANKS];
    struct canvas c = {.width = WIDTH, .height = LINE + MARGIN};
    u64 per_pixel = 1;
    u32 y = 0;
    int ret;

    for (u32 i = 0; i < file->nbanks; i++) {
        panels[i] = lay_out(&file->banks[i]);
        c.height += panel_height(&panels[i]);
        per_pixel = MAX(per_pixel, panels[i].per_pixel);
    }
    c.pixels = tool_alloc((size_t)c.width * c.height * sizeof(struct colour));
    fill(&c, 0, 0, c.width, c.height, paper);
    for (u32 i = 0; i < file->nbanks; i++) {
        draw_bank(&c, y, &file->banks[i], &panels[i]);
        y += panel_height(&panels[i]);
    }
    draw_legend(&c, y + MARGIN / 2, per_pixel);
    ret = save(&c, path);
    free(c.pixels);
    return ret;
}
