"""Start a rank: `python -m benchmarks.worker.group HOST PORT`, by rank 0, which listens there.

What must be set before anything is imported comes as a line of JSON on the standard input; so does
the key by which both sides know one another. Why the rank has failed goes to its standard output.
"""

import json
import os
import sys

if __name__ == "__main__":
    settings = json.loads(sys.stdin.readline())
    os.environ.update(settings["variables"])
    if settings["cpus"]:
        os.sched_setaffinity(0, settings["cpus"])

    from benchmarks.worker.group.follow import follow

    follow(sys.argv[1], int(sys.argv[2]), settings["number"], bytes.fromhex(settings["key"]))
