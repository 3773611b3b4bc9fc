"""Start a worker: `python -m benchmarks.worker PIPE`, by a session at the pipe's other end."""

import sys
from multiprocessing.connection import Connection

from benchmarks.machine.settings import die_with_parent
from benchmarks.worker.serving import serve

if __name__ == "__main__":
    die_with_parent()
    serve(Connection(int(sys.argv[1])))
