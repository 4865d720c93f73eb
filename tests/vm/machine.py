"""A virtual machine that QEMU emulates, and a shell of root's on its second serial line."""

import base64
import http.client
import pathlib
import re
import socket
import subprocess
import time

# Everything is 7 to 45 times slower there than on the processor itself. These seconds do not pass while other
# programs have the processors: see `Machine.clock`.
BOOT_SECONDS = 600
COMMAND_SECONDS = 180
WAIT_SECONDS = 90


class Machine:
    """Boots the image in `folder` with a kernel command line; ends with the `with` statement."""

    def __init__(self, folder, disk, port, command_line):
        self.folder, self.disk, self.port, self.command_line = folder, disk, port, command_line
        self.log = folder / "console.log"
        self.number = 0

    def __enter__(self):
        try:
            self.boot()
        except BaseException:
            self.__exit__()
            raise
        return self

    def boot(self):
        agent = self.folder / "agent.sock"
        self.process = subprocess.Popen([
            "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-M", "q35", "-cpu", "qemu64",
            "-smp", "2", "-m", "1024", "-nodefaults", "-display", "none", "-no-reboot",
            "-serial", f"file:{self.log}", "-serial", f"unix:{agent},server=on,wait=off",
            "-kernel", self.folder / "vmlinuz", "-initrd", self.folder / "initrd.gz",
            "-append", f"console=ttyS0 root=/dev/vda rw panic=-1 quiet {self.command_line}",
            "-drive", f"if=none,id=d0,file={self.disk},format=qcow2,cache=unsafe", "-device", "virtio-blk-pci,drive=d0",
            "-netdev", f"user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:{self.port}-:8000",
            "-device", "virtio-net-pci,netdev=n0",
        ])
        end = self.clock() + BOOT_SECONDS
        self.agent = socket.socket(socket.AF_UNIX)
        while True:
            self.check(end, "QEMU to listen")
            try:
                self.agent.connect(str(agent))
                break
            except OSError:
                time.sleep(0.1)
        # Before the shell is there, the line echoes what is sent, and may cut it: a short command that shows itself
        # only when it is run, and of which no piece leaves the shell waiting for the end of a quotation.
        said = b""
        while b"ready" not in said:
            self.check(end, "a shell")
            self.agent.settimeout(2)
            try:
                self.agent.sendall(b"echo re\\ady\n")
                said += self.agent.recv(4096)
            except TimeoutError:
                pass
        self.run("systemctl is-system-running --wait || [ $? = 1 ]", seconds=BOOT_SECONDS)

    def clock(self):
        """Seconds, without those in which the machine's threads only waited for a processor of this one's."""
        waited = [0]
        for thread in pathlib.Path(f"/proc/{self.process.pid}/task").glob("*/schedstat"):
            try:
                waited.append(int(thread.read_text().split()[1]))
            except (OSError, IndexError):
                pass
        return time.monotonic() - max(waited) / 1e9

    def wait_for(self, what, condition, seconds=WAIT_SECONDS):
        """Asks again and again; gives what is found."""
        end = self.clock() + seconds
        while self.clock() < end:
            try:
                found = condition()
            except (OSError, http.client.HTTPException):
                found = None
            if found:
                return found
            time.sleep(0.5)
        raise AssertionError(f"after {seconds} s there was still not: {what}")

    def check(self, end, what):
        if self.process.poll() is not None or self.clock() > end:
            tail = self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""
            raise SystemExit(f"the machine did not come up, waiting for {what}:\n{tail}")

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def output(self, command, seconds=COMMAND_SECONDS):
        """Runs a command as root; gives its status and what it printed."""
        self.number += 1
        mark = f"<{self.number}:{time.monotonic_ns()}>"
        # By a file, because not every domain of SELinux may write to the line.
        line = f"( {command}\n) >/run/agent.out 2>&1 </dev/null; s=$?; base64 -w 0 /run/agent.out; echo \"{mark}$s.\"\n"
        self.agent.sendall(line.encode())
        text, end = b"", self.clock() + seconds
        answer = re.compile(re.escape(mark.encode()) + rb"(\d+)\.")
        self.agent.settimeout(2)
        while not (found := answer.search(text)):
            try:
                more = self.agent.recv(65536)
            except TimeoutError:
                if self.clock() > end:
                    raise AssertionError(f"no answer after {seconds} s: {command}") from None
                continue
            if not more:
                raise SystemExit("the machine's shell has ended")
            text += more
        # Before the mark is the answer in base64, and before that perhaps an older answer's end.
        printed = re.split(rb"[^A-Za-z0-9+/=]", text[:found.start()])[-1]
        return int(found.group(1)), base64.b64decode(printed).decode(errors="replace").strip()

    def run(self, command, seconds=COMMAND_SECONDS):
        """The same; a command that fails ends the proof."""
        status, printed = self.output(command, seconds)
        if status:
            raise AssertionError(f"{command}: status {status}\n{printed}")
        return printed
