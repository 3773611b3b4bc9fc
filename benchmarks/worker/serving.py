"""Answering the session's requests, until it hangs up or a rank of the group is lost."""

import os
import sys
from multiprocessing.connection import Connection
from threading import Event, Lock
from typing import Any

from backends.ladder import FLOOR
from benchmarks.machine import advice
from benchmarks.worker import messages
from benchmarks.worker.floor import FloorWorker, GroupFloorWorker
from benchmarks.worker.worker import Worker

GRACE_SECONDS = 3.0
"""How long an error in a group waits for news that another rank has ended, which explains it."""


def serve(connection: Connection) -> None:
    """Answer requests until the session hangs up; the first one builds the worker."""
    worker: Worker | FloorWorker | None = None
    ranks, sending, group_lost = 1, Lock(), Event()

    def lost(why: str) -> None:
        """End this process, which may wait for ever for a rank that has ended."""
        group_lost.set()
        print(why, file=sys.stderr, flush=True)
        with sending:
            connection.send(messages.Failure(message=why))
            os._exit(1)

    while True:
        try:
            request = connection.recv()
        except EOFError:
            return
        answer: object
        try:
            if isinstance(request, messages.Build):
                ranks = request.job.execution.ranks
                floor = FloorWorker if ranks == 1 else GroupFloorWorker
                kind = floor if request.job.execution.mode == FLOOR else Worker
                worker = kind(request.job, lost)
                answer = worker.first_call()
            else:
                answer = answer_to(request, worker)
        except Exception as error:  # every failure of a framework is a result to report
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            answer = messages.Failure(message=advice.failure(error))
            if ranks > 1 and group_lost.wait(GRACE_SECONDS):
                # That another rank has ended is why this one has failed, and is said instead.
                continue
        with sending:
            connection.send(answer)


def answer_to(request: messages.Request[Any], worker: Worker | FloorWorker | None) -> object:
    """Do what a request after the first asks for; raises TypeError where the worker cannot."""
    match request, worker:
        case messages.Certify(), Worker() | FloorWorker():
            return worker.certify()
        case messages.CertifyExactly(far), Worker():
            return worker.certifier.exactly(far)
        case messages.FindSmallest(exact), Worker():
            return worker.certifier.find_smallest(exact=exact)
        case messages.RunWarmUp(), Worker() | FloorWorker():
            return worker.warm_up()
        case messages.TrainBlock(length, slowed_by), Worker():
            return worker.train(length, slowed_by)
        case messages.TrainBlock(length), FloorWorker():
            return worker.train(length)
        case messages.TrainRest(), Worker():
            return worker.train_rest()
        case messages.TakeReading(), Worker():
            return worker.read()
        case messages.TrainTo(step), Worker():
            return worker.train_to(step)
        case messages.StartFrom(state, step), Worker():
            worker.start_from(state, step)
            return None
        case messages.Learn(seed, every), Worker():
            return worker.learn(seed, every)
        case messages.TakeTest(), Worker():
            return worker.test()
        case messages.TakeBatchReading(), Worker():
            return worker.read_batch()
        case messages.DrawBlock(), Worker():
            return worker.draw_block()
        case messages.CheckBlock(), Worker():
            return worker.check_block(request)
        case messages.TakeProfile(), Worker():
            worker.profile()
            return None
        case messages.Finish(), Worker():
            return worker.finish()
    raise TypeError(f"{type(worker).__name__} cannot answer {type(request).__name__}")
