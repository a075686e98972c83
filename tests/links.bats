#!/usr/bin/env bats
# Symbolic links of the host that lead into the tree, and paths that lead nowhere near it.

setup() {
    load common
    map=$BATS_TEST_TMPDIR/map.dtb
    dtc -q -I dts -O dtb -o "$map" "$ROOT/tests/guests/i_uio.dts"
    cd "$BATS_TEST_TMPDIR"
    ln -s /dev/uio0 uio
    ln -s uio again
    ln -s /sys/class class
    ln -s /dev/mem mem
    ln -s /dev dev
    ln -s /proc proc
    mkdir -p sub
    ln -s ../class/uio sub/uio
    ln -s none dangling
    ln -s loop loop
    echo text > file
    ln -s file plain
}

with_uio() {
    logged MMIOSHIM_MAP="$map" MMIOSHIM_BACKTRACE=0 "$@"
}

@test "shell tools find what links lead to, relative and absolute, at the end and on the way" {
    with_uio sh -c '
        stat -Lc "%F" uio again mem sub/uio; stat -c %F uio; readlink uio again sub/uio; readlink -f again sub/uio/uio0/device "$PWD/dev/uio1"
        test -c again && test -w mem && test -d sub/uio/uio1 && test -L again && test ! -e dev/uio2 && echo tested
        cat class/uio/uio1/name "$PWD/sub/uio/uio0/name" sub/../sub/uio/uio0/maps/map0/size; ls dev/ | grep uio; ls sub/uio
        cd sub/uio && /bin/pwd && cat uio0/name && cd uio1/maps && ls && cd / && cd "$1/class/uio/uio0" && /bin/pwd && cd "$1"
        tr -d "\0" < proc/device-tree/compatible; echo; cat plain; cat dangling loop 2>&1 | sed "s/.*: //"; ls -d sub/../class/.
        ls sub/*/uio[0-9]/name; (echo x > sub/uio/uio0/name) 2>&1 | sed "s/.*: //"; mkdir class/uio/new 2>&1 | sed "s/.*: //"
        rm again && test ! -L again && test -c uio && mv uio moved && test -c moved && ln moved hard && test -L hard' sh "$PWD"
    assert_success
    assert_equal "$stderr" ""
    assert_output - <<END
character special file
character special file
character special file
directory
symbolic link
/dev/uio0
uio
../class/uio
/dev/uio0
/sys/devices/platform/00101000.rtc
/dev/uio1
tested
fpga
rtc
0x0000000000001000
uio0
uio1
uio0
uio1
/sys/class/uio
rtc
map0
map1
/sys/devices/platform/00101000.rtc/uio/uio0
mmioshim,test
text
No such file or directory
Too many levels of symbolic links
sub/../class/.
sub/uio/uio0/name
sub/uio/uio1/name
Permission denied
Operation not permitted
END
}

@test "accesses through links are those of the machine" {
    with_uio sh -c 'dd if=mem bs=4 skip=$((0x40000100 / 4)) count=1 status=none | xxd -p
        exec python3 -c "
import mmap, os
m = memoryview(mmap.mmap(os.open(\"dev/uio1\", os.O_RDWR), 4096)).cast(\"I\")
m[64 + 2] = 5
n = memoryview(mmap.mmap(os.open(\"mem\", os.O_RDWR), 4096, offset=0x40000000)).cast(\"I\")
print(n[64 + 2])"'
    assert_output "$(printf '00000000\n5')"
    assert_equal "$(accesses | sed 's/.*fpga/fpga/')" "$(cat <<'END'
fpga@40000100 +0x0 read4 0x0 #1
fpga@40000100 +0x8 write4 0x5 #2
fpga@40000100 +0x8 read4 0x5 #3
END
)"
}

@test "opening files that are none of ours: flags, modes, errors and descriptors as without the library" {
    cat > all.py <<'END'
import fcntl, os
def tell(*a, **k):
    try:
        f = os.open(*a, **k)
    except OSError as e:
        return e.strerror
    s = os.fstat(f)
    r = f, oct(fcntl.fcntl(f, fcntl.F_GETFL)), fcntl.fcntl(f, fcntl.F_GETFD), oct(s.st_mode), s.st_size
    os.close(f)
    return r
os.umask(0o22)
os.mkfifo("fifo")
d = os.open("sub", os.O_RDONLY)
for i, f in enumerate((0, os.O_RDWR, os.O_WRONLY | os.O_APPEND, os.O_RDWR | os.O_SYNC | os.O_NOATIME, os.O_PATH, os.O_PATH | os.O_RDWR,
                       os.O_DIRECTORY, os.O_NOFOLLOW, os.O_CREAT | os.O_EXCL, os.O_NONBLOCK | os.O_NOCTTY, 3, 0x40000000, os.O_RDWR | os.O_TRUNC)):
    for p in "file", "plain", "sub", "none", "file/x", "dangling", "loop", "", "fifo" if f & os.O_NONBLOCK else "file":
        print(i, p, tell(p, f, 0o7777))
    print(i, tell("../file", f, dir_fd=d), tell("new%d" % i, f | os.O_CREAT | os.O_WRONLY, 0o6666), tell("dangling/x", f), tell("file", f, dir_fd=99))
print(tell(".", os.O_TMPFILE | os.O_RDWR, 0o640), tell("x" * 5000, 0), tell("a/" * 2040, 0), tell("/root/../etc/hostname", os.O_RDONLY)[1:3])
print(sorted(os.listdir()), [os.access(p, m) for p in ("file", "plain", "none", "sub", "loop") for m in (os.F_OK, os.W_OK, os.X_OK)])
END
    rm -rf with without
    for where in with without; do
        mkdir $where
        (cd $where && mkdir sub && ln -s none dangling && ln -s loop loop && echo text > file && ln -s file plain)
    done
    (cd without && python3 ../all.py) > expected
    (cd with && with_uio python3 ../all.py && echo "$output" > ../got)
    diff expected got
    assert_equal "$(wc -l < got)" 132
}

@test "directories that the tree does not touch look as they do without the library" {
    for command in 'find /usr/lib/python3 /etc -ls' 'ls -lR /etc' 'tar cf - -C /usr/share perl5' 'du -a /usr/share/perl5' 'find /usr/share/perl5 -type f -newer /etc/hostname'; do
        with_uio sh -c "$command | cksum"
        assert_equal "$output" "$(sh -c "$command | cksum")"
        assert_equal "$stderr" ""
    done
}
