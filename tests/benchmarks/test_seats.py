"""Where ranks run: on which machines and GPUs, and who may call."""

from __future__ import annotations

import socket
from multiprocessing.connection import Client, Listener
from threading import Thread

import pytest

from benchmarks.errors import UsageError
from benchmarks.plan import seats
from benchmarks.plan.seats import Hosts
from benchmarks.worker.group.start import accepted


@pytest.mark.parametrize(
    "command",
    [
        ["--ranks", "2", "--hosts", "2", "--rank-launcher", "ssh -l me {host}", "--weak"],
        ["--ranks", "2", "--hosts=2", "--rank-launcher=ssh -l me {host}", "--weak"],
    ],
)
def test_a_command_names_no_machine_and_nobody(command: list[str]) -> None:
    said = " ".join(Hosts(names=("2",), launcher="ssh -l me {host}").unnamed(command))
    assert said.replace("=", " ") == "--ranks 2 --hosts HOST --rank-launcher LAUNCHER --weak"


@pytest.mark.parametrize(
    ("names", "launcher", "why"),
    [
        (("a",), "env", "name a machine for each"),
        (("a", "b"), 'ssh "{host}', "No closing quotation"),
        (("a", "b"), "", "is empty"),
        (("a", "b"), "no-such-program {host}", "no-such-program: No such file"),
        (("a", "b"), "ls -- {host}-is-no-file", "a-is-no-file"),
    ],
)
def test_machines_that_cannot_be_used_are_named_before_a_run(
    names: tuple[str, ...], launcher: str, why: str
) -> None:
    with pytest.raises(UsageError, match=why) as refused:
        Hosts(names=names, launcher=launcher).check(3)
    assert "\n" not in str(refused.value)


def test_a_machine_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seats, "REACHED_SECONDS", 0.2)
    with pytest.raises(UsageError, match="no answer in"):
        Hosts(names=("a",), launcher="sh -c 'sleep 9'").check(2)
    Hosts(names=("a",), launcher="env").check(2)


def test_ranks_take_the_gpus_that_are_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others may belong to somebody else's job."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert [dict(seats.gpu_of(rank))["CUDA_VISIBLE_DEVICES"] for rank in (0, 1)] == ["2", "5"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert dict(seats.gpu_of(1))["CUDA_VISIBLE_DEVICES"] == "1"


def test_who_does_not_know_the_key_is_passed() -> None:
    with Listener(("127.0.0.1", 0), authkey=b"key") as listener:
        address = ("127.0.0.1", int(listener.address[1]))

        def call() -> None:
            socket.create_connection(address).close()  # as a scan of ports does
            with pytest.raises(Exception, match="digest"):
                Client(address, authkey=b"another")
            with Client(address, authkey=b"key") as own:
                own.send("a rank")

        caller = Thread(target=call)
        caller.start()
        with accepted(listener) as connection:
            assert connection.recv() == "a rank"
        caller.join()
