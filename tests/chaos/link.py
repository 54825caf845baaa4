"""A TCP link between two processes that can be cut: a relay on loopback, one of its own for each pair."""
import asyncio
import socket
import struct
import threading

CUTS = ("silence", "reset", "deaf", "mute")


class Link:
    """Relays connections to 127.0.0.1:`target`. Started at once; close() ends it.

    cut("silence")  nothing passes, in either direction, nobody is told: a black hole. What was sent meanwhile
                    arrives after heal(), as TCP would send it again
    cut("deaf")     the same, only from the target back
    cut("mute")     the same, only towards the target
    cut("reset")    open connections are reset, and every new one at once
    """

    def __init__(self, target):
        self.target, self.how, self.writers = target, None, set()
        self.loop = asyncio.new_event_loop()
        self.healed = None
        ready = threading.Event()
        self.thread = threading.Thread(target=self.run, args=(ready,), daemon=True)
        self.thread.start()
        assert ready.wait(10), "the link's thread does not start"

    def run(self, ready):
        asyncio.set_event_loop(self.loop)

        async def begin():
            self.healed = asyncio.Event()
            self.healed.set()
            self.server = await asyncio.start_server(self.accept, "127.0.0.1", 0, backlog=512)
            self.port = self.server.sockets[0].getsockname()[1]

        self.loop.run_until_complete(begin())
        ready.set()
        self.loop.run_forever()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()

    def call(self, action):
        """Runs it in the link's own thread and waits for it."""
        done = threading.Event()
        self.loop.call_soon_threadsafe(lambda: (action(), done.set()))
        assert done.wait(10), "the link's thread does not answer"

    def cut(self, how):
        assert how in CUTS, how
        self.call(lambda: self.begin_cut(how))

    def heal(self):
        self.call(self.end_cut)

    def begin_cut(self, how):
        self.how = how
        if how == "reset":
            for writer in list(self.writers):
                reset(writer)
        else:
            self.healed.clear()

    def end_cut(self):
        self.how = None
        self.healed.set()

    def close(self):
        def end():
            self.server.close()
            for writer in list(self.writers):
                reset(writer)
            self.loop.stop()
        self.loop.call_soon_threadsafe(end)
        self.thread.join(10)

    async def accept(self, reader, writer):
        if self.how == "reset":
            return reset(writer)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            return reset(writer)
        self.writers |= {writer, back}
        try:
            await asyncio.gather(self.pump(reader, back, "mute"), self.pump(there, writer, "deaf"))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.writers -= {writer, back}
            reset(writer)
            reset(back)

    async def pump(self, reader, writer, way):
        while part := await reader.read(65536):
            while self.how in ("silence", way):
                await self.healed.wait()
            writer.write(part)
            await writer.drain()
        while self.how in ("silence", way):  # a FIN is lost as well
            await self.healed.wait()
        if writer.can_write_eof():
            writer.write_eof()


def reset(writer):
    """Ends a connection with RST rather than FIN."""
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass
    writer.transport.abort()
