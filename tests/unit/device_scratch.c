/* mmioshim,scratch is RAM: at every width and alignment, with a byte array as the model. */
#include "device_mock.h"

#include <sys/mman.h>

static struct mock m;

TEST(reads_what_was_written)
{
    u8 model[256] = {0};
    unsigned accesses = 0;

    CHECK(mock_create(&m, &class_scratch, sizeof(model), NULL) == NULL);
    for (unsigned width = 1; width <= 8; width++)
        for (unsigned offset = 0; offset + width <= sizeof(model); offset++) {
            u64 value = 0x0123456789abcdefu * (offset + 1), want = 0;

            wr(&m, offset, width, value);
            memcpy(model + offset, &value, width);
            memcpy(&want, model + offset, width);
            CHECK_EQ(rd(&m, offset, width), want);
            accesses += 2;
        }
    CHECK(memcmp(class_scratch.storage(&m.dev, 0, sizeof(model)), model, sizeof(model)) == 0);
    CHECK_EQ(accesses, 2 * (256 * 8 - 28));
}

TEST(storage_covers_the_window_and_no_more)
{
    CHECK(mock_create(&m, &class_scratch, 100, NULL) == NULL);
    CHECK(m.state_size >= 100);
    CHECK(class_scratch.storage(&m.dev, 0, 100) == m.dev.state);
    CHECK(class_scratch.storage(&m.dev, 36, 64) == (char *)m.dev.state + 36);
    CHECK(class_scratch.storage(&m.dev, 37, 64) == NULL);
    CHECK(class_scratch.storage(&m.dev, 100, 1) == NULL);
    CHECK(class_scratch.storage(&m.dev, UINT64_MAX, 2) == NULL);
    CHECK(class_scratch.storage(&m.dev, 1, UINT64_MAX) == NULL);
    CHECK_EQ(wr_status(&m, 99, 2, 0), MMIOSHIM_NO_REGISTER);
    CHECK_EQ(class_scratch.widths, 0);
}

TEST(reset)
{
    CHECK(mock_create(&m, &class_scratch, 64, NULL) == NULL);
    wr(&m, 8, 8, 0x1122334455667788);
    class_scratch.reset(&m.dev, MMIOSHIM_RESET_WARM);
    CHECK_EQ(rd(&m, 8, 8), 0x1122334455667788);
    class_scratch.reset(&m.dev, MMIOSHIM_RESET_COLD);
    CHECK_EQ(rd(&m, 8, 8), 0);
}

TEST(state_size_cannot_wrap)
{
    CHECK(class_scratch.state_for(UINT64_MAX) >= UINT64_MAX - 15);
    CHECK_EQ(class_scratch.state_for(1), 16);
    CHECK_EQ(class_scratch.state_for(8), 16);
    CHECK_EQ(class_scratch.state_for(4096), 4104);
}

/* A window of gigabytes must not be written through when the machine starts. */
TEST(first_reset_touches_no_byte)
{
    u8 *state = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct mmioshim_device dev = {.class = &class_scratch, .host = &mock_host, .state = state, .size = 4096};

    CHECK_EQ(mprotect(state, 4096, PROT_READ), 0);
    class_scratch.reset(&dev, MMIOSHIM_RESET_COLD);
    CHECK_EQ(mprotect(state, 4096, PROT_READ | PROT_WRITE), 0);
    state[5] = 1;
    class_scratch.reset(&dev, MMIOSHIM_RESET_COLD);
    CHECK_EQ(state[5], 0);
}
