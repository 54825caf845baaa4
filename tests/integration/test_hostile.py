"""Hostile bytes on the traffic port: refused with a 4xx and a closed connection, memory bounded."""
import pathlib
import socket
import unittest

from cluster import Cluster
from process import wait_until


def exchange(port, payload, timeout=15):
    """Sends raw bytes; returns everything until the server closes (or the timeout)."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as client:
        client.sendall(payload)
        received = b""
        try:
            while block := client.recv(65536):
                received += block
        except (ConnectionResetError, socket.timeout):
            pass
        return received


def resident_mb(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


class Hostile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster().__enter__()
        cls.key = cls.cluster.create_key("app")

    @classmethod
    def tearDownClass(cls):
        cls.cluster.__exit__(None, None, None)

    def refused(self, payload):
        answer = exchange(self.cluster.ports["dp0"], payload)
        self.assertRegex(answer[:16], rb"^HTTP/1\.1 4\d\d ", payload[:80])
        self.assertEqual(answer.count(b"HTTP/1.1 "), 1, "one refusal, then a closed connection")

    def test_smuggling_shapes(self):
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {self.key}\r\n".encode()
        smuggled = b"GET /v1/models HTTP/1.1\r\nHost: h\r\n\r\n"
        rows = {
            "length and chunked": head + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled,
            "two lengths": head + b"Content-Length: 0\r\nContent-Length: 40\r\n\r\n" + smuggled,
            "length list": head + b"Content-Length: 0, 40\r\n\r\n" + smuggled,
            "signed length": head + b"Content-Length: +5\r\n\r\nhello" + smuggled,
            "hex chunk": head + b"Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n" + smuggled,
            "signed chunk": head + b"Transfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n" + smuggled,
            "huge chunk": head + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n" + smuggled,
            "odd encoding": head + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + smuggled,
            "folded header": head + b"X-A: b\r\n c\r\nContent-Length: 0\r\n\r\n" + smuggled,
            "space before colon": head + b"Content-Length : 0\r\n\r\n" + smuggled,
            "bare line feed": head.replace(b"\r\n", b"\n") + b"Content-Length: 0\n\n" + smuggled,
            "bare carriage return": head + b"X-A: b\rc\r\nContent-Length: 0\r\n\r\n" + smuggled,
            "NUL in a value": head + b"X-A: b\0c\r\nContent-Length: 0\r\n\r\n" + smuggled,
            "two hosts": head + b"Host: other\r\nContent-Length: 0\r\n\r\n" + smuggled,
            "no host": b"GET /v1/models HTTP/1.1\r\n\r\n" + smuggled,
            "chunked in 1.0": head.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled,
            "compressed body": head + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}" + smuggled,
            "garbage": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n\r\n" + smuggled,
        }
        for name, payload in rows.items():
            with self.subTest(name):
                self.refused(payload)

    def test_oversized_heads_and_bodies(self):
        self.refused(b"GET /v1/models HTTP/1.1\r\nHost: h\r\nX-A: " + b"a" * 70000 + b"\r\n\r\n")
        self.refused(b"GET /v1/models HTTP/1.1\r\nHost: h\r\n" + b"X-A: a\r\n" * 500 + b"\r\n")
        self.refused(f"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {self.key}\r\n"
                     f"Content-Length: {1 << 33}\r\n\r\n".encode() + b"x" * 1000)

    def test_slow_loris_connections_end_and_others_are_served(self):
        port = self.cluster.ports["dp0"]
        before = resident_mb(self.cluster.data["dp0"].pid)
        slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(400)]
        try:
            for client in slow:
                client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nX-A: ")
            self.assertEqual(self.cluster.chat(self.key).status, 200)
            self.assertLess(resident_mb(self.cluster.data["dp0"].pid) - before, 32)
            # Every one is ended by the header deadline (10 s), however it trickles: an answer, then the end.
            answers, ended = {client: b"" for client in slow}, set()

            def all_ended():
                for client in answers.keys() - ended:
                    client.setblocking(False)
                    try:
                        if not answers[client]:
                            client.send(b"a")
                        while part := client.recv(4096):
                            answers[client] += part
                        ended.add(client)
                    except BlockingIOError:
                        pass
                return len(ended) == len(slow)

            wait_until(all_ended, "the end of every slow connection", 20)
            self.assertEqual({answer[:13] for answer in answers.values()}, {b"HTTP/1.1 408 "})
        finally:
            for client in slow:
                client.close()

    def test_an_unauthenticated_body_is_not_read(self):
        with socket.create_connection(("127.0.0.1", self.cluster.ports["dp0"]), timeout=15) as client:
            client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Length: 30000000\r\n\r\n")
            self.assertTrue(client.recv(4096).startswith(b"HTTP/1.1 401"))


if __name__ == "__main__":
    unittest.main()
