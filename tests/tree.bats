#!/usr/bin/env bats
# The machine's files: found by path and descriptor in every way that programs use, and nothing of the host's shines through.

setup() {
    load common
    map=$BATS_TEST_TMPDIR/map.dtb
    dtc -q -I dts -O dtb -o "$map" "$ROOT/tests/guests/i_uio.dts"
}

@test "the device tree is there, whole: dtc reads it back" {
    for name in device-tree sys; do
        path=/proc/device-tree
        [ $name = sys ] && path=/sys/firmware/devicetree/base
        run --separate-stderr shim MMIOSHIM_MAP="$map" MMIOSHIM_LOG=none dtc -q -I fs -O dts -s $path
        assert_success
        assert_output "$(dtc -q -I dtb -O dts -s "$map")"
    done
    run --separate-stderr shim MMIOSHIM_MAP="$map" MMIOSHIM_LOG=none cmp /sys/firmware/fdt "$map"
    assert_success
    assert_equal "$stderr" ""
}

@test "shell tools walk, list, copy and test it" {
    cat > "$BATS_TEST_TMPDIR/all.sh" <<'END'
cd /proc/device-tree/soc/rtc@101000 && pwd -P && ls -a | tr '\n' ' ' && /bin/pwd
cat ../../soc/./compatible | tr '\0' '\n'; cd ..; tr -d '\0' < fpga@40000100/linux,uio-name; echo; /bin/pwd
(cd /; ls -d proc/device-tree/soc/*@*)
cd ../../../../..; /bin/pwd; stat -c '%F %a %s' /dev/mem /proc/device-tree /proc/device-tree/ sys/firmware/fdt /dev/uio0
readlink /proc/device-tree; readlink -f /proc/device-tree/soc/../chosen/../soc/rtc@101000/reg
test -e /dev/uio2; echo $?; test -c /dev/uio1 -a -w /dev/uio1 -a -d /sys/class/uio -a -L /sys/class/uio/uio0; echo $?
find /sys/class/uio/uio1/ -type f | sort | tr '\n' ' '; find /dev -name 'uio*' | sort | tr '\n' ' '; echo
dd if=/sys/firmware/fdt bs=4 count=1 2>&- | xxd -p; head -c 4 < /sys/firmware/fdt | od -An -tx1
cp /sys/class/uio/uio1/maps/map1/size "$TMP/copy" && cat "$TMP/copy"; wc -c < /sys/class/uio/uio1/name
mkdir /sys/class/uio/x 2>&1; rm -f /dev/uio0 2>&1; (echo > /sys/class/uio/uio9) 2>&1 | sed "s/.*: //"; mv /sys/class/uio/uio0/name /tmp 2>&1; ln -s x /sys/class/uio/y 2>&1
touch /dev/uio0; echo $?; rmdir /sys/class/uio 2>&1; cat /sys/class/uio 2>&1; ls /sys/class/uio/uio0/name/x 2>&1
END
    run --separate-stderr shim MMIOSHIM_MAP="$map" MMIOSHIM_LOG=none TMP="$BATS_TEST_TMPDIR" sh "$BATS_TEST_TMPDIR/all.sh"
    assert_output - < "$ROOT/tests/cases/tree/shell.out"
}

@test "python: os, pathlib, glob, descriptors of directories, the working directory over fork and exec" {
    cat > "$BATS_TEST_TMPDIR/all.py" <<'END'
import glob, os, pathlib, shutil, subprocess, sys, tempfile
base = pathlib.Path("/sys/firmware/devicetree/base")
print(sorted(p.name for p in base.iterdir() if p.is_dir()), (base / "soc/rtc@101000/reg").read_bytes().hex())
print(sorted(glob.glob("/sys/class/uio/*/name")), [open(p).read() for p in sorted(glob.glob("/sys/class/uio/*/maps/*/addr"))])
print(sum(len(f) for _, _, f in os.walk(base)), sum(len(d) for _, d, _ in os.walk(base)))
fd = os.open("/proc/device-tree/soc", os.O_RDONLY | os.O_DIRECTORY)
with os.scandir(fd) as entries:
    print(sorted((e.name, e.is_dir(), e.is_symlink(), e.inode() == e.stat().st_ino) for e in entries)[2:4])
reg = os.open("rtc@101000/../rtc@101000/reg", os.O_RDONLY, dir_fd=fd)
print(os.pread(reg, 4, 4).hex(), os.lseek(reg, 0, os.SEEK_END), os.fstat(reg).st_size, os.read(reg, 1))
print(os.readlink("/proc/self/fd/%d" % reg), os.stat("reg", dir_fd=os.open("rtc@101000", os.O_PATH, dir_fd=fd)).st_size)
os.fchdir(fd)
print(os.getcwd(), os.listdir()[:2], os.path.realpath("."), os.readlink("/proc/self/cwd"))
if not os.fork():
    print(os.getcwd(), len(os.listdir("rtc@101000")), flush=True)
    os.execlp("sh", "sh", "-c", "/bin/pwd; tr -d '\\0' < rtc@101000/name; echo; cd ../../../../..; /bin/pwd; /bin/ls -d sys/class/uio")
os.wait()
print(subprocess.run(["/bin/pwd"], cwd="/sys/class/uio", capture_output=True, text=True).stdout, end="")
print(subprocess.run(["/bin/pwd"], cwd="/usr", capture_output=True, text=True).stdout, end="")
print(subprocess.run(["cat", "/proc/self/fd/%d" % reg, "name"], pass_fds=[reg], capture_output=True).stdout)
os.chdir("/usr")
print(os.getcwd(), os.path.exists("lib"), os.path.exists("../sys/class/uio/uio1"), os.path.exists("../sys/class/uio/uio2"))
os.dup2(os.open("/sys/class/uio/uio1/name", os.O_RDONLY), 0)
print(sys.stdin.readline(), end="")
print([n in os.listdir("/dev") for n in ("mem", "uio0", "uio1", "uio2", "null", "kmem")], len(os.listdir("/dev")) == len(set(os.listdir("/dev"))))
for f in (lambda: os.open("/dev/uio0", os.O_CREAT | os.O_EXCL), lambda: os.open("/sys/class/uio/uio1", os.O_RDWR), lambda: os.open("/sys/class/uio/uio1/name/x", 0),
          lambda: os.open("/sys/class/uio/uio1", os.O_RDONLY | os.O_NOFOLLOW), lambda: os.readlink("/dev/mem"), lambda: os.listdir("/dev/mem"),
          lambda: os.unlink("/sys/class/uio/uio1"), lambda: os.mkdir("/sys/class/uio/new"), lambda: os.rename("/usr/lib", "/sys/class/uio/lib"),
          lambda: os.chdir("/dev/mem"), lambda: os.getxattr("/dev/mem", "user.x"), lambda: os.link("/dev/mem", "/tmp/mem")):
    try: print(f())
    except OSError as e: print(e.strerror)
END
    run --separate-stderr shim MMIOSHIM_MAP="$map" MMIOSHIM_LOG=none python3 "$BATS_TEST_TMPDIR/all.py"
    assert_equal "$stderr" ""
    assert_output - < "$ROOT/tests/cases/tree/python.out"
}

@test "UIO: attributes, maps, events by epoll and read, in the child as well" {
    logged MMIOSHIM_MAP="$map" MMIOSHIM_BACKTRACE=0 timeout 60 python3 "$ROOT/tests/guests/i_uio.py"
    assert_equal "$stderr" ""
    assert_output done
    assert_count 2 '^\[IRQ\] rtc@101000 11 raised$'
    assert_count 1 'fpga@40000100 \+0x4 write4 0x11223344'
    assert_count 1 'fpga@40000100:1 \+0x2ff8 write8 0x5566'
    assert_count 2 'rtc@101000 CLEAR_INTERRUPT write4'
    assert_ended
}

@test "nothing of the host's shines through where the tree is" {
    run --separate-stderr shim MMIOSHIM_LOG=none sh -c 'ls /sys/class/uio | wc -l; ls /sys/firmware/devicetree /dev/uio0 2>&1; ls -d /dev/mem'
    assert_output "$(printf "0\nls: cannot access '/dev/uio0': No such file or directory\n/sys/firmware/devicetree:\nbase\n/dev/mem")"
}

@test "sysfs has no link that leads nowhere: not to devices of the host that are hidden, by name or in a listing" {
    run --separate-stderr shim MMIOSHIM_LOG=none sh -c '
        find /sys/class /sys/bus /sys/block /sys/dev -xtype l; ls /sys/class/net | grep -cx lo; ls -d /sys/class/net/lo /sys/devices/pci*'
    assert_output "$(printf '1\n/sys/class/net/lo')"
    for link in $(find /sys/class/net /sys/block /sys/bus/pci/devices -type l); do
        case $(readlink "$link") in *devices/pci*) ;; *) continue ;; esac
        run --separate-stderr shim MMIOSHIM_LOG=none sh -c 'ls -d "$1" || readlink "$1"; ls "${1%/*}" | grep -cxF "${1##*/}"' sh "$link"
        assert_output 0
    done
}

@test "an overlay lays files over any path, and adds to directories" {
    over=$BATS_TEST_TMPDIR/over
    mkdir -p "$over/proc" "$over/etc/board" "$over/opt/only/sub" "$over/sys/class/uio"
    echo "model: board X" > "$over/proc/cpuinfo"
    echo hostly > "$over/etc/hostname"
    echo B > "$over/etc/board/rev"
    echo deep > "$over/opt/only/sub/file"
    ln -s ../sub/file "$over/opt/only/sub/link"
    ln -s /proc/cpuinfo "$over/etc/cpu"
    echo more > "$over/sys/class/uio/extra"
    cp /bin/echo "$over/opt/only/say"
    cat > "$BATS_TEST_TMPDIR/all.sh" <<'END'
cat /proc/cpuinfo /etc/hostname /etc/board/rev /opt/only/sub/file /opt/only/sub/link /etc/cpu
ls /opt/only /opt/only/sub /sys/class/uio; ls /etc | grep -c '^hostname$'; ls /etc | grep -c '^passwd$'; ls -d /opt/o*
cd /opt/only/sub; /bin/pwd; cat file ../../../etc/hostname; cd ..; /bin/pwd; readlink -f sub/link; stat -c '%s %F' sub/file
head -1 /etc/passwd | cut -c1-4; find /opt/only | sort; /opt/only/say hello; ./say you
echo new > sub/new; cat /opt/only/sub/new; rm sub/new; ls sub
END
    run --separate-stderr shim MMIOSHIM_OVERLAY="$over" MMIOSHIM_LOG=none sh "$BATS_TEST_TMPDIR/all.sh"
    assert_equal "$stderr" ""
    assert_output - < "$ROOT/tests/cases/tree/overlay.out"
    run --separate-stderr "$CMD" run --overlay "$over" --log none cat /etc/board/rev
    assert_output B
    run --separate-stderr shim MMIOSHIM_OVERLAY="$over/etc/hostname" /bin/true
    assert_failure 125
    assert_equal "$stderr" "mmioshim: MMIOSHIM_OVERLAY=$over/etc/hostname: ENOTDIR (not a directory); allowed: a directory"
}

@test "a program that restricts its calls makes no others: those that look for links" {
    cat > "$BATS_TEST_TMPDIR/box.c" <<'END'
#include <dirent.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#define KILL(nr) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)
int main(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        KILL(SYS_readlink), KILL(SYS_readlinkat), KILL(SYS_getcwd), KILL(SYS_faccessat), KILL(SYS_stat), KILL(SYS_lstat),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};
    struct stat st;
    DIR *d;
    int n = 0;

    chdir("/dev");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        return 77;
    n += open("/dev/null", O_RDWR) >= 0;
    n += open("null", O_RDWR) >= 0;
    n += open("/proc/self/status", O_RDONLY) >= 0;
    n += fstatat(AT_FDCWD, "/dev/zero", &st, 0) == 0;
    n += chdir("/proc") == 0;
    n += open("../usr/x", O_RDONLY) < 0;
    n += (d = opendir("/usr")) != NULL && readdir(d);
    n += fstatat(dirfd(d), "lib", &st, 0) == 0;
    printf("%d\n", n);
}
END
    gcc -o "$BATS_TEST_TMPDIR/box" "$BATS_TEST_TMPDIR/box.c"
    run --separate-stderr "$BATS_TEST_TMPDIR/box"
    assert_output 8
    run --separate-stderr shim MMIOSHIM_LOG=none "$BATS_TEST_TMPDIR/box"
    assert_success
    assert_output 8
}
