"""A helper that only talks: logins with the questions that some PAM modules ask, for a look at their pages.

    pretend_helper.py SOCKET

The name decides: `code` is asked for a one-time code, `expired` for a new password, `warned` is told that the
password ends soon. Nobody's ticket is good for a start. The real helper with real PAM is in the other cases of this suite.
"""

import json
import os
import socketserver
import sys
import time


class Conversation(socketserver.StreamRequestHandler):
    def read(self):
        head = self.rfile.read(8)
        if len(head) < 8:
            raise EOFError
        self.head = head[:4]
        return json.loads(self.rfile.read(int.from_bytes(head[4:], "big")))

    def say(self, **reply):
        body = json.dumps(reply).encode()
        self.wfile.write(self.head + len(body).to_bytes(4, "big") + body)

    def ask(self, text, echo=False):
        self.say(prompt={"echo": echo, "text": text})
        return self.read()["answer"]["text"]

    def tell(self, text, error=False):
        self.say(notice={"error": error, "text": text})

    def handle(self):
        try:
            request = self.read()
            if "authenticate" in request:
                self.log_in(request["authenticate"]["user"])
                request = self.read()
            if "start" in request:
                message = "The ticket has ended."
                refused = {"code": "ticket-invalid", "message": message, "notices": [], "retry_after_seconds": None}
                self.say(refused=refused)
        except (EOFError, ConnectionError, KeyError):
            pass

    def log_in(self, user):
        self.ask("Password: ")
        if user == "code":
            while self.ask("Verification code: ", echo=True) != "123456":
                self.tell("That was not the code.", error=True)
        elif user == "expired":
            self.tell("You are required to change your password immediately (password expired).")
            while True:
                new = self.ask("New password: ")
                if new == self.ask("Retype new password: "):
                    break
                self.tell("Sorry, passwords do not match.", error=True)
        elif user == "warned":
            self.tell("Warning: your password will expire in 3 days.")
        end = int(time.time()) + 3600
        self.say(authenticated={"user": user, "uid": os.getuid(), "ticket": "t" * 43, "ticket_expires_at": end})


class Helper(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


os.makedirs(os.path.join(os.path.dirname(sys.argv[1]), "sessions"), exist_ok=True)
Helper(sys.argv[1], Conversation).serve_forever()
