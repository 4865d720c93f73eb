"""Boots the machine and lets one of the proofs beside this file work on it: proof.py NAME FOLDER PORT

proof_NAME.py has a COMMAND_LINE for the kernel, and prove(machine, web).
"""

import importlib
import pathlib
import shutil
import sys
import time

from machine import Machine
from people import ANSWER_SECONDS, Web, good


def main():
    name, folder, port = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3])
    proof = importlib.import_module(f"proof_{name}")
    # The proofs leave things behind: each has a disk of its own.
    disk = folder / f"{name}.qcow2"
    shutil.copyfile(folder / "disk.qcow2", disk)
    began = time.monotonic()
    print(f"{name}:", flush=True)
    with Machine(folder, disk, port, proof.COMMAND_LINE) as machine:
        good(f"the machine is up after {time.monotonic() - began:.0f} s")
        web = Web(machine)
        try:
            machine.wait_for("the login page", lambda: web.ask("/hub/login")[0] == 200, ANSWER_SECONDS)
            proof.prove(machine, web)
        except Exception:
            (folder / f"{name}.journal").write_text(machine.output("journalctl --no-pager -b -n 500 -o short-monotonic")[1])
            print(f"  the machine's journal: {folder / name}.journal", flush=True)
            raise
        took, waited = time.monotonic() - began, time.monotonic() - machine.clock()
    disk.unlink()
    print(f"  {took:.0f} s, of which the machine waited {waited:.0f} s for a processor", flush=True)


main()
