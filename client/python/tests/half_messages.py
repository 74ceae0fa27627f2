"""HTTP/2 by hand: calls whose messages stop half-way, which no gRPC client does."""

import socket
import struct
import time

DATA, HEADERS, RESET, SETTINGS, PING, WINDOW_UPDATE = 0, 1, 3, 4, 6, 8
ACK = 1
END_STREAM, END_HEADERS = 1, 4


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name, value):
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def headers(method):
    fields = [(":method", "POST"), (":scheme", "http"),
              (":path", f"/lossd.v1.LossService/{method}"), (":authority", "x"),
              ("content-type", "application/grpc"), ("te", "trailers")]
    return b"".join(literal(*field) for field in fields)


class HalfMessages:
    """One connection with `count` calls of `method`, each of which sends all but the last 100
    bytes of a message of `size` bytes, as fast as the server's windows allow."""

    def __init__(self, address, method, count, size):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=0.02)
        self.streams = range(1, 2 * count, 2)
        self.size = size
        self.sent = dict.fromkeys(self.streams, 0)
        self.windows = dict.fromkeys([0, *self.streams], 65535)
        self.initial_window = 65535
        self.ended = set()
        self.received = b""
        block = headers(method)
        self.socket.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, b"")
            + b"".join(frame(HEADERS, END_HEADERS, stream, block) for stream in self.streams))

    def pump(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end and len(self.ended) < len(self.streams):
            self.send()
            self.receive()

    def send(self):
        for stream in self.streams:
            left = self.size - 100 - self.sent[stream]
            room = min(16384, left, self.windows[stream], self.windows[0])
            if stream in self.ended or room <= 0:
                continue
            begin = struct.pack(">BI", 0, self.size) if self.sent[stream] == 0 else b""
            payload = begin + bytes(room - len(begin))
            self.socket.settimeout(20)
            self.socket.sendall(frame(DATA, 0, stream, payload))
            self.sent[stream] += room
            self.windows[stream] -= room
            self.windows[0] -= room

    def receive(self):
        self.socket.settimeout(0.002)
        try:
            self.received += self.socket.recv(65536)
        except TimeoutError:
            return
        while len(self.received) >= 9:
            size = int.from_bytes(self.received[:3], "big")
            if len(self.received) < 9 + size:
                return
            kind, flags, stream = struct.unpack(">BBI", self.received[3:9])
            payload = self.received[9:9 + size]
            self.received = self.received[9 + size:]
            self.handle(kind, flags, stream, payload)

    def handle(self, kind, flags, stream, payload):
        if kind == SETTINGS and not flags & ACK:
            for at in range(0, len(payload), 6):
                name, value = struct.unpack(">HI", payload[at:at + 6])
                if name == 4:
                    for one in self.streams:
                        self.windows[one] += value - self.initial_window
                    self.initial_window = value
            self.socket.sendall(frame(SETTINGS, ACK, 0, b""))
        elif kind == PING and not flags & ACK:
            self.socket.sendall(frame(PING, ACK, 0, payload))
        elif kind == WINDOW_UPDATE and stream in self.windows:
            self.windows[stream] += struct.unpack(">I", payload)[0]
        elif kind == RESET or (kind == HEADERS and flags & END_STREAM):
            self.ended.add(stream)
