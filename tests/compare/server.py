#!/usr/bin/python3
"""A user server that starts at once: it only says that it is there, as jupyterhub-singleuser does.

A file `hold-start-NAME` beside it keeps the server of NAME from listening, `hold-stop-NAME` from ending, while it is there.
"""

import os
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import urlparse

USER = os.environ["JUPYTERHUB_USER"]
if USER == "breaks":
    sys.exit("this server ends at once")

told_to_end = threading.Event()
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *_: told_to_end.set())


def held(what):
    # Also false for a name that is too long for a file.
    return os.path.exists(os.path.join(os.path.dirname(__file__), f"hold-{what}-{USER}"))


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("X-JupyterHub-Version", "6.1.1")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def address_string(self):
        return "hub"

    def log_message(self, *_):
        pass


class UnixServer(HTTPServer):
    address_family = socket.AF_UNIX

    def server_bind(self):
        self.socket.bind(self.server_address)
        os.chmod(self.server_address, 0o660)
        self.server_name, self.server_port = "localhost", 0


while held("start"):
    if told_to_end.wait(0.05) and not held("stop"):
        sys.exit()
paths = [word.partition("=")[2] for word in sys.argv if word.startswith("--ServerApp.sock=")]
url = urlparse(os.environ["JUPYTERHUB_SERVICE_URL"])
server = UnixServer(paths[0], Handler) if paths else HTTPServer((url.hostname, url.port), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
while not told_to_end.is_set() or held("stop"):
    time.sleep(0.05)
