#!/usr/bin/env bats
# virtio-net: a real driver (examples/virtio-net.c) and what its card is connected to.

setup() {
    load common
    cd "$BATS_TEST_TMPDIR"
    DRIVER=$ROOT/examples/virtio-net
}

attach() {
    export MMIOSHIM_ATTACH=virtio_mmio@10001000=net:$1
}

# driver ARGUMENT...: under the library, without a transcript
driver() {
    shim MMIOSHIM_LOG=none timeout 60 "$DRIVER" "$@"
}

@test "the example's accesses, transfers and interrupts, one by one" {
    attach loopback
    logged "$DRIVER"
    assert_success
    assert_output $'52:54:00:12:34:56: the link is up\n60 bytes, type 88b5: frame 0\n60 bytes, type 88b5: frame 1\n60 bytes, type 88b5: frame 2'
    [ -z "${REBASE:-}" ] || cp "$log" "$ROOT/examples/virtio-net.expect"
    diff -u <(stacks "$ROOT/examples/virtio-net.expect") <(stacks)
    assert_count 63 '^\[MMIO\]'
    assert_count 12 '^\[DMA\]'
    assert_count 3 '^\[DMA\] virtio_mmio@10001000 read 0x[0-9a-f]+\+60$'
    assert_count 3 '^\[DMA\] virtio_mmio@10001000 write 0x[0-9a-f]+\+60$'
    assert_count 1 '^\[IRQ\] virtio_mmio@10001000 1 raised$'
    assert_count 1 '^\[IRQ\] virtio_mmio@10001000 1 lowered$'
    assert_count 1 ' CLAIM\[0\] read4 0x1 #'
    assert_count 1 ' status read2 0x1 LINK_UP #'
    assert_count 1 '^\[EXIT\] 63 accesses \(21 reads, 42 writes\), 0 lint, 0 lost$'
}

@test "another MAC, and no card: the driver says so" {
    attach loopback,mac=02:00:00:00:00:2a
    run --separate-stderr driver
    assert_success
    assert_line --index 0 '02:00:00:00:00:2a: the link is up'
    export MMIOSHIM_ATTACH=virtio_mmio@10001000=rng
    run --separate-stderr driver
    assert_failure 1
    assert_equal "$stderr" "virtio-net: no network card"
}

@test "what is captured: tcpdump reads it, from two processes of one machine" {
    attach pcap,out=sent.pcap
    run --separate-stderr shim MMIOSHIM_LOG=none DRIVER="$DRIVER" sh -c '"$DRIVER" send 40 && cd / && "$DRIVER" send 2'
    assert_success
    tcpdump -e -n -X -r sent.pcap > seen 2> /dev/null
    assert_count 42 '52:54:00:12:34:56 > ff:ff:ff:ff:ff:ff, ethertype Unknown \(0x88b5\), length 60:' seen
    assert_count 42 '0x0000: +6672 616d 6520 3' seen # "frame "
    assert_count 2 'frame\.1\.\.' seen
    assert_count 1 'frame\.39\.' seen
    attach pcap,in=sent.pcap
    run --separate-stderr driver receive 42
    assert_success
    assert_equal "${#lines[@]}" 42
    assert_line --index 39 '60 bytes, type 88b5: frame 39'
    assert_line --index 41 '60 bytes, type 88b5: frame 1'
}

# peer KIND ARGUMENT...: tests/net_peer.py in the background; what it prints is in said, finished() waits for it
peer() {
    python3 -B "$ROOT/tests/net_peer.py" "$@" > said 2> complaint 3>&- &
    peer_pid=$!
}

finished() {
    wait "$peer_pid" || fail "$(cat complaint)"
}

@test "stream: a client, and a server in QEMU's framing" {
    peer stream sock listen answer=300
    await sock
    attach stream,path=sock
    logged timeout 60 "$DRIVER" ping 300
    finished
    assert_success
    assert_output "300 answers"
    assert_count 300 '^\[DMA\] virtio_mmio@10001000 read 0x[0-9a-f]+\+60$'
    assert_count 300 '^\[DMA\] virtio_mmio@10001000 write 0x[0-9a-f]+\+60$'
    assert_ended
}

@test "stream: a server; the link is up when somebody comes, and down when he goes" {
    peer stream sock connect bytes=one raw=00000000 raw="000007d0$(printf '00%.0s' $(seq 2000))" give=two again give=three
    attach stream,path=sock,server
    logged timeout 60 "$DRIVER" receive 3
    finished
    assert_success
    assert_output $'60 bytes, type 88b5: one\n60 bytes, type 88b5: two\n60 bytes, type 88b5: three'
    assert_ended
    [ ! -e sock ]
    # Nobody is there: the driver waits. Then somebody is.
    attach stream,path=sock,server
    (
        await "$BATS_TEST_TMPDIR/sock"
        for _ in $(seq 3000); do grep -q ' status read2 0x0 #' log2 2> /dev/null && break || sleep 0.01; done
        exec python3 -B "$ROOT/tests/net_peer.py" stream sock connect take=2 > said 2> complaint
    ) 3>&- &
    peer_pid=$!
    run --separate-stderr shim MMIOSHIM_LOG="$BATS_TEST_TMPDIR/log2" timeout 60 "$DRIVER" send 2
    finished
    assert_success
    assert_equal "$(cat said)" $'frame 0\nframe 1'
    assert_count 1 ' status read2 0x0 #' log2
    assert_count 1 ' status read2 0x1 LINK_UP #' log2
    assert_count 1 ' InterruptStatus read4 0x2 CONFIG #' log2
}

@test "stream: who does not read holds nobody up, and gets all of it" {
    peer stream sock listen take=3000
    await sock
    attach stream,path=sock
    kill -STOP "$peer_pid"
    (
        sleep 0.5
        kill -CONT "$peer_pid"
    ) 3>&- &
    run --separate-stderr driver send 3000
    assert_success
    finished
    assert_equal "$(wc -l < said)" 3000
    assert_equal "$(tail -n 1 said)" "frame 2999"
    assert_equal "$(sort -u said | wc -l)" 3000
}

@test "stream: processes of one machine have one connection; nonsense ends it; so does the death of the worker, or of its guard" {
    peer stream sock listen take=3 take=2 await=go give=a take=1 raw=ffffffff00 eof again give=b take=1 killed take=1 guard take=1
    await sock
    attach stream,path=sock
    run --separate-stderr shim MMIOSHIM_LOG=none DRIVER="$DRIVER" timeout 60 bash -c \
        '"$DRIVER" send 3 && "$DRIVER" send 2 && touch go && "$DRIVER" echo 2 && until grep -q killed said; do sleep 0.01; done && "$DRIVER" send 1 &&
         until grep -q guard said; do sleep 0.01; done && "$DRIVER" send 1'
    finished
    assert_success
    assert_equal "$(cat said)" $'frame 0\nframe 1\nframe 2\nframe 0\nframe 1\na\nb\nkilled\nframe 0\nmmioshim-guard\nframe 0'
    assert_output "2 echoes"
}

@test "dgram: one frame a datagram, also to a peer that comes and goes" {
    peer dgram there here answer=200
    await there
    attach dgram,local=here,remote=there
    run --separate-stderr driver ping 200
    finished
    assert_success
    assert_output "200 answers"
    [ ! -e here ]
    run --separate-stderr driver send 40 # to nobody
    assert_success
    rm there
    peer dgram there here take=200
    await there
    kill -STOP "$peer_pid" # ten datagrams wait for him (net.unix.max_dgram_qlen), the others in the driver's queue
    (
        sleep 0.3
        kill -CONT "$peer_pid"
    ) 3>&- &
    run --separate-stderr driver send 200
    assert_success
    finished
    assert_equal "$(sort -u said | wc -l)" 200
}

@test "two machines: they are connected by a stream, and by datagrams" {
    for ends in "stream,path=sock,server stream,path=sock" "dgram,local=a,remote=b dgram,local=b,remote=a"; do
        set -- $ends
        attach "$1,mac=02:00:00:00:00:05"
        driver echo 100 > echoed 3>&- &
        pid=$!
        await "$(sed 's/.*\(path\|local\)=\([a-z]*\).*/\2/' <<< "$1")"
        attach "$2"
        run --separate-stderr driver ping 100
        wait $pid
        assert_success
        assert_output "100 answers"
        assert_equal "$(cat echoed)" "100 echoes"
    done
}

@test "tap: an interface of the host, in a network of its own" {
    cat > inside <<'END'
set -e
MMIOSHIM_ATTACH=virtio_mmio@10001000=net:tap,ifname=shim0 LD_PRELOAD=$LIB MMIOSHIM_LOG=none timeout 60 "$DRIVER" echo 100000 &
pid=$!
for _ in $(seq 1000); do ip link set shim0 up 2> /dev/null && break || sleep 0.01; done
python3 - <<'PYTHON'
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88b5))
s.bind(('shim0', 0x88b5))
s.settimeout(0.2)
me, answers, tries = s.getsockname()[4], 0, 0
while answers < 20 and tries < 200:  # the driver may not be there yet
    tries += 1
    s.send(b'\xff' * 6 + me + b'\x88\xb5' + b'number %d'.ljust(46) % answers)
    try:
        data = s.recv(2000)
    except socket.timeout:
        continue
    assert data[:14] == me + bytes.fromhex('525400123456') + b'\x88\xb5' and data[14:20] == b'number', data
    answers += 1
print(answers, 'answers')
PYTHON
kill $pid
wait $pid || true
END
    export LIB DRIVER
    run --separate-stderr unshare -rn bash inside
    assert_success
    assert_output "20 answers"
    attach tap,ifname=shim0
    run --separate-stderr unshare -r setpriv --bounding-set=-all --inh-caps=-all env LD_PRELOAD="$LIB" true
    assert_refused 'tap: cannot have interface shim0: E(PERM|ACCES)' 'CAP_NET_ADMIN'
}

@test "host ends that cannot be: one line, and what is allowed" {
    touch file
    long=$(printf 'x%.0s' $(seq 200))
    for wrong in stream stream,server stream,path= stream,path=file stream,path=$long stream,path=/nowhere/s,server \
        stream,path=s,serve dgram,local=a dgram,remote=a dgram,local=file,remote=b dgram,local=a,remote=file tap tap,ifname= \
        tap,ifname=abcdefghijklmnop tap,ifname=a/b tap,ifname=a%d loopback,path=x pcap,ifname=x; do
        attach "$wrong"
        run --separate-stderr shim true
        assert_refused '^mmioshim: MMIOSHIM_ATTACH=virtio_mmio@10001000='
    done
    peer stream sock listen take=1
    await sock
    attach stream,path=sock,server
    run --separate-stderr shim true
    assert_refused 'stream: cannot use .*/sock: somebody is there already'
    kill "$peer_pid" || true # the look at it may have been a connection that ended
    wait "$peer_pid" || true
    run --separate-stderr shim true # he is gone, and left his socket behind
    assert_success
}
