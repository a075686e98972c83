#!/bin/sh
# Who may include whom (preload/README.md, "Rooms"). A room may include itself, mmioshim/, and what its line names.
set -u
cd "$(dirname "$0")/../.."
bad=0

allow() {
    room=$1
    shift
    for file in "preload/$room"/*.[chS]; do
        [ -e "$file" ] || continue
        for include in $(sed -n 's/^#include "\([^"]*\)".*/\1/p' "$file"); do
            ok=no
            for allowed in "$room" "$@"; do
                case $include in "$allowed"/* | "$allowed") ok=yes ;; esac
            done
            if [ $ok = no ]; then
                echo "$file includes $include: $room may include: $room $*"
                bad=1
            fi
        done
    done
}

allow base
allow config base mmioshim trace/print.h pci/describe.h
allow trace base mmioshim
allow cpu base
allow backends base
allow memory base config mmioshim trace devices/classes.h
allow bus base config memory mmioshim trace backends devices/classes.h
allow pci base bus config memory mmioshim devices/classes.h
allow devices base mmioshim config/machine.h
allow virtio base mmioshim pci/build.h pci/models.h pci/msix.h
allow calls base cpu/cpu.h patch/patch.h trap/signals.h trap/stepping.h trap/thread.h
allow patch base cpu memory/ram.h calls/calls.h trap/backtrace.h trap/log.h trap/near.h trap/signals.h trap/thread.h trap/trap.h
allow trap base calls/calls.h patch/patch.h config trace memory cpu bus mmioshim
allow tree base config memory bus pci/pci.h mmioshim
allow interpose base config memory bus tree mmioshim calls patch/patch.h trap/backtrace.h trap/probe.h trap/resume.h trap/signals.h trap/thread.h trap/trap.h trap/log.h cpu/cpu.h

# What ordinary processes run too knows no signal, and no trap.
if grep -ln '<signal.h>\|<ucontext.h>' preload/bus/*.[ch] preload/pci/*.[ch] preload/devices/*.[ch] preload/virtio/*.[ch] preload/cpu/decode.c; then
    echo "bus, devices, virtio and the decoder know no signal"
    bad=1
fi
# Only decode.c and its formatter know Zydis; only the trap's unwind files know libunwind.
for file in $(grep -l '<Zydis' -r preload); do
    case $file in preload/cpu/*) ;; *) echo "$file includes Zydis" && bad=1 ;; esac
done
for file in $(grep -l '<libunwind' -r preload); do
    case $file in preload/trap/unwind*) ;; *) echo "$file includes libunwind" && bad=1 ;; esac
done
# Only interpose/ defines libc names; tools reach neither the trap nor the wrappers.
if grep -n '^EXPORT' $(ls preload/*.c preload/*/*.c | grep -v '^preload/interpose/'); then
    echo "only preload/interpose/ exports"
    bad=1
fi
if grep -n '#include "\(trap\|interpose\)/' tools/*.[ch]; then
    echo "tools include neither trap/ nor interpose/"
    bad=1
fi
exit $bad
