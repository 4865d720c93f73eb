#!/usr/bin/python3
"""A user server that starts at once: it only says that it is there, as jupyterhub-singleuser does."""

import os
import socket
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import urlparse

if os.environ["JUPYTERHUB_USER"] == "breaks":
    sys.exit("this server ends at once")


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


paths = [word.partition("=")[2] for word in sys.argv if word.startswith("--ServerApp.sock=")]
url = urlparse(os.environ["JUPYTERHUB_SERVICE_URL"])
server = UnixServer(paths[0], Handler) if paths else HTTPServer((url.hostname, url.port), Handler)
server.serve_forever()
