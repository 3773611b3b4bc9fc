"""The life of a rank's process, from meeting rank 0 until either of them ends."""

import os
import socket
import sys
import traceback
from multiprocessing.connection import Client

from benchmarks.machine import advice
from benchmarks.machine.settings import die_with_parent
from benchmarks.worker.group.rank import FreePort, Hello, Rank, send_at_once


def follow(host: str, port: int, number: int, key: bytes) -> None:
    """Do as rank 0 says, which listens there; a failure is the last line of the standard output."""
    die_with_parent()
    # What a framework prints is no reason of a failure.
    said, sys.stdout = sys.stdout, sys.stderr
    try:
        with send_at_once(Client((host, port), authkey=key)) as connection:
            own = FreePort(address_towards(host))
            connection.send(Hello(number, own.address, os.getpid()))
            Rank(own).follow(connection)
    except Exception as error:  # whatever fails in a framework
        traceback.print_exc()
        print(advice.failure(error), file=said, flush=True)
        # At once: what a framework does at its end may wait for the other ranks.
        os._exit(1)


def address_towards(host: str) -> str:
    """The address of this machine on the way to another; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, 9))
        return str(probe.getsockname()[0])
