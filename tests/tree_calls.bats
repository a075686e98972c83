#!/usr/bin/env bats
# System calls on files of the tree: what the kernel answers, we answer.

setup() {
    load common
    map=$BATS_TEST_TMPDIR/map.dtb
    dtc -q -I dts -O dtb -o "$map" "$ROOT/tests/guests/i_uio.dts"
}

calls() {
    run --separate-stderr shim MMIOSHIM_MAP="$map" MMIOSHIM_LOG=none "$GUESTS/i_calls" "$1"
    assert_success
    assert_equal "$stderr" ""
}

@test "a descriptor is read and written as it was opened, at offsets that there are, into memory that there is" {
    map=pc
    calls rights
    assert_output - <<'OUT'
pwrite(r, bytes, 4, 0x10000000): EBADF
pread(w, bytes, 4, 0x10000000): EBADF
pread(path, bytes, 4, 0x10000000): EBADF
pread(r, bytes, 4, -1): EINVAL
pread(fdt, bytes, 4, -1): EINVAL
pread(fdt, bad, 4, 0): EFAULT
pread(port, bad, 1, 0x3f8): EFAULT
pread(port, bad, 0, 0x3f8): 0
preadv(fdt, v, 2, 0): EINVAL
lseek(r, 0, SEEK_END): EINVAL
lseek(port, 0, SEEK_END): EINVAL
lseek(r, 8, SEEK_SET): 8
OUT
}

@test "a number that was asked about before it was anybody's" {
    calls numbers
    assert_output - <<'OUT'
fstat(50, &st): EBADF
read(50, bytes, 1): EBADF
fcntl(name, F_DUPFD, 50): 50
(fstat(50, &st), st.st_size): 4096
openat(70, "mem", O_RDONLY): EBADF
fcntl(dev, F_DUPFD, 70): 70
fstatat(70, "uio0", &st, 0): 0
OUT
}

@test "a process that was killed leaves /proc" {
    calls dead
    assert_output - <<'OUT'
stat(path, &st): 0
stat(mounts, &st): 0
stat(zero, &st): ENOENT
stat(path, &st): ENOENT
open(mounts, O_RDONLY): ENOENT
OUT
}
