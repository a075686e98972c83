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

@test "a path goes on only from directories, and dots at its end are not removed" {
    calls walk
    assert_output - <<'OUT'
stat("/dev/nonexistent/../mem", &st): ENOENT
stat("/dev/null/../mem", &st): ENOTDIR
stat("/dev/fd/../fd/../../../dev/mem", &st): 0
stat("/dev/mem/../null", &st): ENOTDIR
stat("/dev/mem/.", &st): ENOTDIR
stat("/dev/mem/", &st): ENOTDIR
stat("/sys/class/uio/uio0/./../../uio/.", &st): 0
openat(open("/dev/uio0", O_PATH), ".", O_PATH): ENOTDIR
mkdir("/dev/hugepages/a//", 0700): 0
mkdir("/dev/hugepages/a/", 0700): EEXIST
mkdir("/dev/hugepages/b/c", 0700): ENOENT
rmdir("/dev/hugepages/a/."): EINVAL
rmdir("/dev/hugepages/a/.."): ENOTEMPTY
unlink("/dev/hugepages/."): EISDIR
open("/dev/hugepages/f/", O_CREAT | O_RDWR, 0600): EISDIR
open("/dev/hugepages", O_TMPFILE | O_RDWR, 0600): EOPNOTSUPP
open("/dev/mem", O_TMPFILE | O_RDWR, 0600): ENOTDIR
chdir("/dev/hugepages/a"): 0
rmdir("/dev/hugepages/a/"): 0
open("x", O_CREAT | O_RDWR, 0600): ENOENT
stat("/dev/hugepages/a", &st): ENOENT
OUT
}

@test "openat2 goes where it may, and not further" {
    calls within
    assert_output - <<'OUT'
open_by(dev, "mem", O_RDONLY, RESOLVE_BENEATH): 0
open_by(dev, "/dev/mem", O_RDONLY, RESOLVE_BENEATH): EXDEV
open_by(dev, "../dev/mem", O_RDONLY, RESOLVE_BENEATH): EXDEV
open_by(usr, "../dev/mem", O_RDONLY, RESOLVE_BENEATH): EXDEV
open_by(uio, "uio0/name", O_RDONLY, RESOLVE_BENEATH): EXDEV
open_by(uio, "./../uio", O_RDONLY, RESOLVE_BENEATH): EXDEV
open_by(dev, "/mem", O_RDONLY, RESOLVE_IN_ROOT): 0
open_by(dev, "../../mem", O_RDONLY, RESOLVE_IN_ROOT): 0
open_by(dev, "/dev/mem", O_RDONLY, RESOLVE_IN_ROOT): ENOENT
open_by(usr, "/dev/mem", O_RDONLY, RESOLVE_IN_ROOT): ENOENT
open_by(usr, "../../dev/mem", O_RDONLY, RESOLVE_IN_ROOT): ENOENT
open_by(AT_FDCWD, "/sys/class/uio/uio0/name", O_RDONLY, RESOLVE_NO_SYMLINKS): ELOOP
open_by(uio, "uio0", O_PATH | O_NOFOLLOW, RESOLVE_NO_SYMLINKS): 0
open_by(AT_FDCWD, fd, O_RDONLY, 0): 0
open_by(AT_FDCWD, fd, O_RDONLY, RESOLVE_NO_MAGICLINKS): ELOOP
open_by(AT_FDCWD, "/dev/mem", O_RDONLY, RESOLVE_NO_XDEV): EXDEV
open_by(dev, "mem", O_RDONLY, RESOLVE_NO_XDEV): 0
open_by(uio, "../../../dev/mem", O_RDONLY, RESOLVE_NO_XDEV): EXDEV
open_by(AT_FDCWD, "/dev/mem", O_RDONLY, 1 << 20): EINVAL
open_by(AT_FDCWD, "/dev/mem", 1ull << 40, 0): EINVAL
syscall(SYS_openat2, AT_FDCWD, "/dev/mem", &how, sizeof(how)): E2BIG
syscall(SYS_openat2, AT_FDCWD, "/dev/mem", &how, sizeof(how)): 0
OUT
}

@test "what the kernel would move by itself does not miss the node" {
    cd "$BATS_TEST_TMPDIR"
    calls moved
    assert_output - <<'OUT'
write(text, "1 2\n", 4): 4
lseek(text, 0, SEEK_SET): 0
pipe(pipes): 0
write(pipes[1], "1 2\n", 4): 4
sendfile(bind, text, NULL, 4): EINVAL
copy_file_range(text, NULL, bind, NULL, 4, 0): EINVAL
splice(pipes[0], NULL, bind, NULL, 4, 0): EINVAL
write(bind, "1 2\n", 4): 4
sendfile(out, mem, NULL, 4): EINVAL
sendfile(out, name, NULL, 4096): 4
sendfile(out, text, NULL, 4096): 4
OUT
}

@test "flags that there are not, blocks of huge pages, the target of a link that is open" {
    calls said
    assert_output - <<'OUT'
fstatat(AT_FDCWD, "/dev/mem", &st, 0x40000): EINVAL
statx(AT_FDCWD, "/dev/mem", 0x40000, STATX_BASIC_STATS, &x): EINVAL
statx(AT_FDCWD, "/dev/mem", AT_STATX_SYNC_TYPE, STATX_BASIC_STATS, &x): EINVAL
statx(AT_FDCWD, "/dev/mem", 0, STATX__RESERVED, &x): EINVAL
statx(AT_FDCWD, "/dev/mem", AT_STATX_DONT_SYNC, STATX_BASIC_STATS, &x): 0
syscall(SYS_faccessat2, AT_FDCWD, "/dev/mem", R_OK, 0x40000): EINVAL
syscall(SYS_faccessat2, AT_FDCWD, "/dev/mem", R_OK, AT_EACCESS): 0
unlinkat(AT_FDCWD, "/dev/mem", 0x40000): EINVAL
unlinkat(AT_FDCWD, "/dev/mem", 0): EPERM
readlinkat(link, "", bytes, sizeof(bytes)) > 8: 1
readlinkat(huge, "", bytes, sizeof(bytes)): ENOENT
fallocate(huge, 0, 0, 4 << 20): 0
statx(huge, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &x): 0
x.stx_blocks: 8192
unlink("/dev/hugepages/f"): 0
OUT
}

@test "attributes are opened for what they are for, by root too" {
    calls modes
    assert_output - <<'OUT'
open("/sys/class/uio/uio0/name", O_RDWR): EACCES
open("/sys/class/uio/uio0/name", O_WRONLY | O_TRUNC): EACCES
open("/sys/class/uio/uio0/name", O_RDONLY): 0
open("/sys/class/uio/uio0/name", O_PATH | O_RDWR): 0
open("/sys/bus/pci/drivers/uio_pci_generic/new_id", O_RDONLY): EACCES
open("/sys/bus/pci/drivers/uio_pci_generic/new_id", O_RDWR): EACCES
open("/sys/bus/pci/drivers/uio_pci_generic/new_id", O_WRONLY): 0
open("/sys/class/uio", O_PATH | O_RDWR | O_DIRECTORY): 0
open("/sys/class/uio", O_RDWR): EISDIR
OUT
}

@test "a directory that is merged stays at its end, whatever others are read" {
    calls ends
    assert_output - <<'OUT'
count_uio(dir): 0
again: 200
count_uio(dir): 0
count_uio(dir): 1
count_uio(dir): 0
count_uio(dir): 1
syscall(SYS_getdents64, dirfd(dir), bytes, 16): 0
lseek(dirfd(dir), 0, SEEK_SET): 0
syscall(SYS_getdents64, dirfd(dir), bytes, 16): EINVAL
OUT
}

@test "the working directory in the tree, by all its names" {
    calls here
    assert_output - <<'OUT'
chdir("/sys/class/uio"): 0
stat(".", &self): 0
stat("/proc/self/cwd", &st) || st.st_ino != self.st_ino: 0
stat("/proc/self/cwd/uio0", &st): 0
stat("/proc/self/cwd/../uio/uio1", &st): 0
lstat("/proc/self/cwd", &st) || !S_ISLNK(st.st_mode): 0
fstatat(AT_FDCWD, "", &st, AT_EMPTY_PATH) || st.st_ino != self.st_ino: 0
statx(AT_FDCWD, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &x) || x.stx_ino != self.st_ino: 0
syscall(SYS_getdents64, open(".", O_PATH), bytes, 100): EBADF
chdir("/usr"): 0
stat("/proc/self/cwd/lib", &st): 0
OUT
}

@test "/dev/uio0 may do what it was opened for" {
    calls uio
    assert_output - <<'OUT'
fcntl(r, F_GETFL) & (O_ACCMODE | O_NONBLOCK): 2048
fcntl(w, F_GETFL) & (O_ACCMODE | O_NONBLOCK): 1
fcntl(rw, F_GETFL) & (O_ACCMODE | O_NONBLOCK): 2
write(r, "\1\0\0\0", 4): EBADF
write(copy, "\1\0\0\0", 4): EBADF
write(rw, "\1\0\0\0", 4): 4
write(w, "\1\0\0\0", 4): 4
read(w, bytes, 4): EBADF
read(r, bytes, 4): EAGAIN
read(r, bytes, 3): EINVAL
mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, r, 0) == MAP_FAILED ? -1 : 0: EACCES
mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, rw, 0) == MAP_FAILED ? -1 : 0: 0
mmap(NULL, 4096, PROT_READ, MAP_SHARED, r, 0) == MAP_FAILED ? -1 : 0: 0
mmap(NULL, 4096, PROT_READ, MAP_SHARED, w, 0) == MAP_FAILED ? -1 : 0: EACCES
WEXITSTATUS(status): 1
OUT
}

@test "paths that lead to nothing of the tree lead where they lead without us" {
    for seed in a b; do
        python3 "$ROOT/tests/guests/i_walks.py" $seed < /dev/null > "$BATS_TEST_TMPDIR/without"
        shim MMIOSHIM_LOG=none python3 "$ROOT/tests/guests/i_walks.py" $seed < /dev/null > "$BATS_TEST_TMPDIR/with"
        assert_equal "$(wc -l < "$BATS_TEST_TMPDIR/with")" 1501
        run diff "$BATS_TEST_TMPDIR/without" "$BATS_TEST_TMPDIR/with"
        assert_output ""
    done
}
