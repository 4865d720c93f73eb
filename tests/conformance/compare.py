"""Compares two reports of the Autobahn cases: python3 compare.py DIRECT THROUGH; exit status 1 if they differ."""

import json
import sys

# What the case saw. How long it took is another matter.
FACTS = ("behavior", "behaviorClose", "remoteCloseCode")
# Where the suite allows a server to answer a message or to fail at once, it depends on the pieces in which frames
# arrive which of them happens.
SAME = {"NON-STRICT": "OK"}


def verdicts(folder):
    with open(f"{folder}/index.json", encoding="utf-8") as file:
        (cases,) = json.load(file).values()
    return {
        name: tuple(SAME.get(case.get(fact), case.get(fact)) for fact in FACTS) for name, case in cases.items()
    }


direct, through = verdicts(sys.argv[1]), verdicts(sys.argv[2])
different = sorted(name for name in direct | through if direct.get(name) != through.get(name))
for name in different:
    print(f"{name}: {direct.get(name)} without the proxy, {through.get(name)} through it")
good = sum(facts[0] in ("OK", "INFORMATIONAL", "UNIMPLEMENTED") for facts in direct.values())
print(f"{len(direct)} cases, {good} of them passed by the server itself, {len(different)} different through the proxy")
sys.exit(bool(different) or len(direct) < 10)
