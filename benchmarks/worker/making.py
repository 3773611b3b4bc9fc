"""Making the trainers of a job, in the process that holds them."""

from types import ModuleType
from typing import Any

from backends.contract import Execution, Parameters, Trainer, Training, TrainingSet
from benchmarks.worker.messages import Job


class Maker:
    """Makes trainers in this process."""

    def __init__(self, backend: ModuleType) -> None:
        self.backend = backend

    def configure(self, execution: Execution) -> None:
        """Set the precision in which the next trainer computes."""
        self.backend.configure(execution)

    def make(self, job: Job, training_set: TrainingSet, start: Parameters) -> Trainer:
        """The trainer of a job, on a training set from initial parameters."""
        trainer = self.trainer(job.workload.training(training_set, start), job.execution)
        trainer.synchronise()
        return trainer

    @property
    def pids(self) -> tuple[int, ...]:
        """The other processes of this machine in which trainers are made as well: none."""
        return ()

    def peak_rss_mib(self) -> float:
        """The most memory that those have had resident."""
        return 0.0

    def trainer(self, training: Training, execution: Execution) -> Trainer:
        """The trainer of a training."""
        return trainer_of(self.backend, training, execution)


def trainer_of(backend: Any, training: Training, execution: Execution) -> Trainer:
    """The trainer of a backend's mode, in one process or as a rank of a group."""
    trainers = backend.TRAINERS if execution.ranks == 1 else backend.GROUP_TRAINERS
    trainer: Trainer = trainers[execution.mode](training, execution)
    return trainer
