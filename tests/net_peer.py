"""
The other side of a network card: frames over Unix sockets as QEMU's documentation of -netdev stream and -netdev dgram has
them, written without a look at ours.

net_peer.py stream PATH listen|connect STEP...: each step in turn; connect waits until somebody listens
  answer=N   answers N frames: addresses changed, text as it was
  take=N     takes N frames and prints their text
  give=TEXT  sends a frame; bytes=TEXT: the same, one byte at a time; raw=HEX: just these bytes
  eof        waits until the connection is closed
  again      closes the connection and makes another one; killed: the same, but it is the other side that is killed; guard: its parent is
  await=FILE until it is there
net_peer.py dgram LOCAL REMOTE STEP...: answer, take, give and await
"""
import os
import signal
import socket
import struct
import sys
import time

OURS = bytes.fromhex('020000000001')


def frame(text, to=b'\xff' * 6):
    return to + OURS + b'\x88\xb5' + text.encode().ljust(46, b'\0')


class Stream:
    def __init__(self, path, how):
        self.path, self.listener, self.connection = path, None, None
        if how == 'listen':
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(path + '.new')
            self.listener.listen()
            os.rename(path + '.new', path)
        self.begin()

    def begin(self):
        if self.listener:
            self.connection, _ = self.listener.accept()
        while not self.connection:
            trial = socket.socket(socket.AF_UNIX)
            try:
                trial.connect(self.path)
                self.connection = trial
            except OSError:
                time.sleep(0.01)
        self.connection.settimeout(60)

    def exactly(self, n):
        data = b''
        while len(data) < n:
            more = self.connection.recv(n - len(data))
            assert more, 'the connection ended'
            data += more
        return data

    def take(self):
        return self.exactly(struct.unpack('>I', self.exactly(4))[0])

    def give(self, data):
        self.raw(struct.pack('>I', len(data)) + data)

    def raw(self, data):
        self.connection.sendall(data)

    def eof(self):
        assert self.connection.recv(1) == b''

    def again(self):
        self.connection.close()
        self.connection = None
        self.begin()

    def worker(self):
        return struct.unpack('3i', self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]

    def killed(self):
        os.kill(self.worker(), signal.SIGKILL)
        print('killed', flush=True)
        self.again()

    def guard(self):
        with open('/proc/%d/status' % self.worker()) as status:
            parent = next(int(line.split()[1]) for line in status if line.startswith('PPid:'))
        with open('/proc/%d/comm' % parent) as comm:
            name = comm.read().strip()
        os.kill(parent, signal.SIGKILL)
        self.eof()
        print(name, flush=True)
        self.again()


class Datagram:
    def __init__(self, local, remote):
        self.remote = remote
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(local)
        self.socket.settimeout(60)

    def take(self):
        return self.socket.recv(65536)

    def give(self, data):
        while True:
            try:
                return self.socket.sendto(data, self.remote)
            except OSError:
                time.sleep(0.01)


def text_of(data):
    assert len(data) >= 60 and data[12:14] == b'\x88\xb5', data
    return data[14:].rstrip(b'\0').decode()


def main(kind, first, second, *steps):
    signal.alarm(90)  # whatever happens, nobody waits for ever
    peer = Stream(first, second) if kind == 'stream' else Datagram(first, second)
    for step in steps:
        what, _, value = step.partition('=')
        if what == 'answer':
            for _ in range(int(value)):
                data = peer.take()
                peer.give(data[6:12] + OURS + data[12:])
        elif what == 'take':
            for _ in range(int(value)):
                print(text_of(peer.take()), flush=True)
        elif what == 'give':
            peer.give(frame(value))
        elif what == 'bytes':
            data = frame(value)
            for byte in struct.pack('>I', len(data)) + data:
                peer.raw(bytes([byte]))
                time.sleep(0.0005)
        elif what == 'await':
            while not os.path.exists(value):
                time.sleep(0.01)
        elif what == 'raw':
            peer.raw(bytes.fromhex(value))
        else:
            getattr(peer, what)()


main(*sys.argv[1:])
