#!/usr/bin/env bats
# Host ends of a UART with somebody real on the other side.

setup() {
    load common
    cd "$BATS_TEST_TMPDIR"
    UART=$GUESTS/g_uart
}

teardown() {
    [ -z "${pid:-}" ] || kill -9 "$pid" 2> /dev/null || true
}

# start END PROGRAM [ARGUMENT...]: in the background, $pid
start() {
    local end=$1

    shift
    shim_exec MMIOSHIM_ATTACH="uart@10000000=$end" MMIOSHIM_LOG="$BATS_TEST_TMPDIR/log" MMIOSHIM_BACKTRACE=0 \
        timeout -s KILL 60 "$@" > out 2> err < /dev/null 3>&- &
    pid=$!
    log=$BATS_TEST_TMPDIR/log
}

# client COMMAND: what it prints is sent; what comes back until the other side has nothing more to say
client() {
    bash -c "$1" | timeout 20 socat -t 20 - UNIX-CONNECT:sk
}

@test "socket: a client of ours, and the server that the program is" {
    start socket:sk,server "$UART" 1
    await sk
    # Nobody was there when it said its prompt, or somebody was.
    run bash -c 'printf "a question\n" | timeout 20 socat -t 20 - UNIX-CONNECT:sk'
    wait $pid
    [ "${output#>}" = "A QUESTION" ] || fail "$output"
    [ ! -e sk ]
    assert_equal "$(cat out err)" ""
    assert_count 11 ' RBR read1 '
    assert_count 12 ' THR write1 '
    assert_ended
}

@test "socket: clients leave and come back, in the middle of a line" {
    start socket:sk,server "$UART" 2
    await sk
    python3 - <<'END'
import socket
def client():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(20)
    s.connect('sk')
    return s
def hear(s, n):
    got = b''
    while len(got) < n:
        more = s.recv(n - len(got))
        assert more, got
        got += more
    return got
one = client()
one.send(b'begi')
assert hear(one, 4).lstrip(b'>') in (b'BEGI', b'BEG')
one.close()
two = client()
two.send(b'n!\n')
# What was said while nobody was there is lost.
text = b''
while not text.endswith(b'N!\n>'):
    text += hear(two, 1)
assert text in (b'N!\n>', b'IN!\n>'), text
two.send(b'end\n')
assert hear(two, 4) == b'END\n'
END
    wait $pid
    [ ! -e sk ]
    assert_count 11 ' RBR read1 '
    assert_ended
}

@test "socket: input interrupts a program that sleeps, whoever sends it" {
    start socket:sk,server "$GUESTS/g_irq" receive 9
    await sk
    for word in abc def ghi; do
        printf '%s' $word | timeout 20 socat -t 0 - UNIX-CONNECT:sk
        for _ in $(seq 1000); do
            grep -q "${word:2}" out && break
            sleep 0.01
        done
    done
    wait $pid
    assert_equal "$(cat out)" "$(printf 'abcdefghi\nspurious 0')"
    assert_count 9 ' RBR read1 '
    assert_ended
}

@test "socket: one connection for all processes of the machine" {
    start socket:sk,server sh -c '
        until [ $(busybox devmem 0x10000005 8) = 0x61 ]; do sleep 0.02; done
        busybox devmem 0x10000000 8 > got; busybox devmem 0x10000000 8 0x41; cd /; (busybox devmem 0x10000000 8 0x42)
        exec busybox devmem 0x10000000 8 0x43'
    await sk
    run bash -c 'printf z | timeout 20 socat -t 20 - UNIX-CONNECT:sk'
    assert_output ABC
    wait $pid
    assert_equal "$(cat got)" 0x7A
    assert_count 3 ' THR write1 '
    [ ! -e sk ]
}

@test "socket: a client of another's server" {
    timeout 60 socat UNIX-LISTEN:sk SYSTEM:'echo hello; read answer; echo "$answer" > heard' 3>&- &
    peer=$!
    await sk
    start socket:sk "$UART" 1
    wait $peer
    wait $pid
    assert_equal "$(cat heard)" ">HELLO"
    [ -z "$(cat err)" ]
}

@test "socket: a name that is left behind, one that is taken, a server that is not there" {
    python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("sk")'
    start socket:sk,server "$UART" 1
    for _ in $(seq 500); do
        printf 'x\n' | timeout 20 socat -t 20 - UNIX-CONNECT:sk > answer 2> /dev/null && break
        sleep 0.01
    done
    wait $pid
    grep -q X answer
    printf x > file
    for wrong in socket socket: socket:none socket:file socket:file,server socket:sk,serve "socket:$(printf '%0150d' 1)"; do
        run --separate-stderr shim MMIOSHIM_ATTACH="uart@10000000=$wrong" true
        assert_refused '^mmioshim: MMIOSHIM_ATTACH=uart@10000000='
    done
    assert_equal "$(cat file)" x
}

@test "socket: a peer that does not read holds up the program, and one that dies does not" {
    start socket:sk,server sh -c "until [ \$(busybox devmem 0x10000005 8) = 0x61 ]; do sleep 0.02; done
        exec $GUESTS/g_irq print \$(printf '%03000d' 1)"
    await sk
    python3 - <<'END'
import socket
s = socket.socket(socket.AF_UNIX)
s.connect('sk')
s.settimeout(20)
s.send(b'!')
assert s.recv(1)
END
    wait $pid
    assert_equal "$(tail -n 1 out)" "runs 3001 claims 3001 spurious 0 cause 11 own 1"
}

@test "file: what a UART says goes out, what it hears comes in, across processes" {
    printf 'first\nsecond\n' > typed
    start file:said,in=typed "$UART" 2
    wait $pid
    assert_equal "$(cat said)" $'>FIRST\n>SECOND'
    start file:said,append,in=typed sh -c "cd /; $UART 1"
    wait $pid
    assert_equal "$(cat said)" $'>FIRST\n>SECOND\n>FIRST'
    printf 'abcdefghi' > typed
    start file:said,in=typed "$GUESTS/g_irq" receive 9
    wait $pid
    assert_equal "$(cat out)" "$(printf 'abcdefghi\nspurious 0')"
    run --separate-stderr shim MMIOSHIM_ATTACH='uart@10000000=file:said,in=missing' true
    assert_refused missing
}

@test "pty: a terminal program on its other side" {
    start pty,link=tty "$UART" 2
    await tty
    # It types a line when it has seen the prompt before it.
    {
        for line in hello world; do
            for _ in $(seq 1000); do
                [ "$(tr -cd '>' < screen | wc -c)" = "$((++seen))" ] && break || seen=$((seen - 1))
                sleep 0.01
            done
            printf '%s\n' $line
        done
        sleep 0.3
    } 2> /dev/null | timeout 30 socat -t 5 - ./tty,raw,echo=0 > screen || true
    wait $pid
    assert_equal "$(cat screen)" $'>HELLO\n>WORLD'
    assert_count 12 ' RBR read1 '
    [ ! -e tty ]
}

@test "virtio console: two ports, each with its own other side, which comes and goes" {
    export MMIOSHIM_ATTACH="virtio_mmio@10001000=console:pty,link=tty+port:org.example.agent=socket:agent,server"
    shim_exec MMIOSHIM_LOG=none timeout -s KILL 60 "$GUESTS/g_virtio_ports" > out 2> err < /dev/null 3>&- &
    pid=$!
    await agent
    await tty
    python3 - <<'END'
import os, socket, time
def agent():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(20)
    s.connect('agent')
    return s
def until(text, count):
    for _ in range(2000):
        if open('err').read().count(text) == count:
            return
        time.sleep(0.01)
    raise SystemExit('not said %d times: %s: %s' % (count, text, open('err').read()))
until('port 1 is org.example.agent\n', 1)
assert 'port 1: open' not in open('err').read()
s = agent()
until('port 1: open\n', 1)
tty = os.open('tty', os.O_RDWR | os.O_NOCTTY)
os.write(tty, b'terminal\n')
s.send(b'agent')
assert s.recv(5) == b'AGENT'
got = b''
while len(got) < 9:
    got += os.read(tty, 9 - len(got))
assert got == b'TERMINAL\n', got
s.close()
until('port 1: closed\n', 1)
s = agent()
until('port 1: open\n', 2)
s.send(b'bye')
assert s.recv(3) == b'BYE'
END
    wait $pid
    grep -v ^mmioshim: err > told
    assert_equal "$(cat told)" "port 0
port 1
port 0 is a console
port 0: open
port 1 is org.example.agent
port 1: open
port 1: closed
port 1: open"
    [ ! -e agent ] && [ ! -e tty ]
}

@test "virtio console: a peer that does not read for a while holds up nobody, and misses nothing" {
    export MMIOSHIM_ATTACH="virtio_mmio@10001000=console:socket:sk,server"
    shim_exec MMIOSHIM_LOG=none timeout -s KILL 60 sh -c 'until [ -e go ]; do sleep 0.02; done
        exec "$0" "$(printf %060000d 1)" 1 10' "$GUESTS/g_virtio_console" > out 2> err < /dev/null 3>&- &
    pid=$!
    await sk
    python3 - <<'END'
import socket, time
s = socket.socket(socket.AF_UNIX)
s.settimeout(20)
s.connect('sk')
open('go', 'w').close()
time.sleep(0.3)
got = b''
while len(got) < 600000:
    got += s.recv(600000 - len(got))
assert got == b'%060000d' % 1 * 10
s.send(b'and now?\n')
assert s.recv(100, socket.MSG_WAITALL) == b'AND NOW?\n'
END
    wait $pid
    # Such a program can be interrupted.
    rm -f go
    shim_exec MMIOSHIM_LOG=none sh -c 'until [ -e go ]; do sleep 0.02; done
        exec "$0" "$(printf %060000d 1)" 1 10' "$GUESTS/g_virtio_console" > out 2> err < /dev/null 3>&- &
    pid=$!
    await sk
    python3 - "$pid" <<'END'
import os, signal, socket, sys, time
s = socket.socket(socket.AF_UNIX)
s.connect('sk')
open('go', 'w').close()
s.settimeout(20)
assert s.recv(1)
os.kill(int(sys.argv[1]), signal.SIGTERM)
END
    run wait $pid
    wait $pid || status=$?
    assert_equal "$status" 143
}

@test "virtio console: the terminal's size, from the terminal that the program runs on" {
    python3 - "$LIB" "$POKE" <<'END'
import fcntl, os, pty, struct, subprocess, sys, termios
master, slave = pty.openpty()
fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', 43, 132, 0, 0))
modes = termios.tcgetattr(slave), fcntl.fcntl(slave, fcntl.F_GETFL)
environment = dict(os.environ, LD_PRELOAD=sys.argv[1], MMIOSHIM_LOG='none', MMIOSHIM_ATTACH='virtio_mmio@10001000=console:stdio')
subprocess.run([sys.argv[2], 'r2:0x10001100', 'r2:0x10001102'], stdin=slave, stdout=slave, env=environment, check=True)
assert os.read(master, 100).split() == [b'0x84', b'0x2b']
assert modes == (termios.tcgetattr(slave), fcntl.fcntl(slave, fcntl.F_GETFL))
END
}
