"""A WebSocket server that sends every message back: python3 echo.py PORT"""

import asyncio
import logging
import sys

import websockets


async def echo(socket):
    async for message in socket:
        await socket.send(message)


async def main():
    # What a test suite does to it on purpose is not worth a traceback.
    logging.getLogger("websockets").setLevel(logging.CRITICAL)
    async with websockets.serve(echo, "127.0.0.1", int(sys.argv[1]), max_size=None, compression="deflate"):
        await asyncio.Future()


asyncio.run(main())
