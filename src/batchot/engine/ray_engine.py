"""Workers over a Ray cluster.

Ray's actors are used, not Ray Data: each worker holds one task at a time, so that it is known which one ended it
and that one, after `TRIES` workers, is named instead of tried for ever. Ray Data retries whole blocks, and either
fails the work as a whole or drops a block without saying what was in it. The files themselves are read and written
by the workers, on storage that all machines see, so that there are no blocks to be streamed either.
"""

from __future__ import annotations

import pickle
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

from batchot.engine.build import this_build
from batchot.engine.engine import EngineError, Lost, Worker
from batchot.engine.ray_cluster import joined
from batchot.engine.ray_seat import Place, Seat, Seen

TRIES = 3
"""Workers that a task may end."""
_START_SECONDS = 120.0
_LOOK_SECONDS = 0.5


@contextmanager
def ray_engine(
    address: str | None = None,
    workers: int | None = None,
    *,
    cores: int = 1,
    tell: Callable[[str], None] = lambda text: None,
) -> Iterator[RayEngine]:
    """Give the engine of a Ray cluster, which is left or ended afterwards.

    Args:
        address: HOST:PORT of its head, or "auto"; None: one is started on this machine
        workers: how many; None: a worker for each CPU
        cores: of this machine, for a cluster that is started on it
        tell: told in sentences of what was lost

    Raises:
        EngineError: Ray is not installed, the cluster is not there, or it has too few CPUs

    Example::

        with ray_engine(workers=2) as engine, engine.pool(make_worker) as pool:
            for number, answer in pool.run(tasks):
                ...
    """
    with joined(address, workers or cores) as ray:
        cpus = int(ray.cluster_resources().get("CPU", 0))
        if cpus < (workers or 1):
            where = f"the Ray cluster at {address}" if address else "the Ray cluster"
            raise EngineError(f"{where} has {cpus} CPUs, --workers asks for {workers or 1}; ask for fewer")
        yield RayEngine(ray, workers or cpus, tell)


class RayEngine:
    """Workers of a Ray cluster, one CPU each; see `batchot.engine.engine.Engine`.

    Args:
        ray: the module, joined to a cluster
        workers: how many
        tell: told in sentences of what was lost

    Attributes:
        places: where the workers sit that are at work now
    """

    def __init__(
        self, ray: ModuleType, workers: int, tell: Callable[[str], None] = lambda text: None
    ) -> None:
        self.ray, self.workers, self.tell = ray, workers, tell
        self.places: set[Place] = set()

    @contextmanager
    def pool(
        self, make: Callable[[], Worker], *, shared: Sequence[Path] = (), gpu: bool = False
    ) -> Iterator[RayPool]:
        """Start workers, see `batchot.engine.engine.Engine`."""
        if gpu and not self.ray.cluster_resources().get("GPU", 0):
            raise EngineError("the Ray cluster has no GPU; give --device cpu")
        pool = RayPool(self, make, [Seen.of(path) for path in shared], gpu)
        try:
            yield pool
        finally:
            pool.close()


class RayPool:
    """Workers made alike; see `batchot.engine.engine.Pool`. They are started when there is work for them."""

    def __init__(
        self, engine: RayEngine, make: Callable[[], Worker], shared: Sequence[Seen], gpu: bool
    ) -> None:
        self._engine, self._ray = engine, engine.ray
        self._setup = (this_build(), str(Path.cwd()), tuple(shared), pickle.dumps(make))
        self._seat = engine.ray.remote(Seat).options(num_cpus=1, num_gpus=int(gpu), max_restarts=0)
        self._starting: dict[Any, Any] = {}  # by the reference to the answer: the actor
        self._idle: list[tuple[Any, Place]] = []
        self._busy: dict[Any, tuple[Any, Place, int, Any, int]] = {}  # actor, place, number, task, attempt
        self._deaths = 0  # of workers at their start, one after another

    def run(self, tasks: Iterable[Any]) -> Iterator[tuple[int, Any | Lost]]:
        """Do tasks, each on the next worker that is free.

        Args:
            tasks: taken as workers are free

        Yields:
            The number of each task and its answer, or that every worker that took it was lost.

        Raises:
            EngineError: no worker can be started
            Exception: what a worker has raised
        """
        try:
            yield from self._run(enumerate(tasks))
        finally:
            for actor, place, *_ in self._busy.values():  # left early: nobody wants these answers
                self._ray.kill(actor)
                self._engine.places.discard(place)
            self._busy.clear()

    def _run(self, tasks: Iterator[tuple[int, Any]]) -> Iterator[tuple[int, Any | Lost]]:
        stream = ((number, task, 1) for number, task in tasks)
        waiting = deque(islice(stream, self._engine.workers))
        for _ in range(len(waiting) - len(self._idle) - len(self._starting)):
            self._hire()
        last_sign = time.monotonic()
        while True:
            job = None
            while self._idle and (job := waiting.popleft() if waiting else next(stream, None)) is not None:
                self._give(*job)
            if not self._busy and not waiting:
                if (job := next(stream, None)) is None:
                    return
                waiting.append(job)
            done, _ = self._ray.wait([*self._busy, *self._starting], num_returns=1, timeout=_LOOK_SECONDS)
            if not done:
                if not self._busy and time.monotonic() - last_sign > _START_SECONDS:
                    raise EngineError(self._no_worker())
                continue
            last_sign = time.monotonic()
            if done[0] in self._starting:
                self._seated(done[0])
                continue
            number, task, attempt, answer = self._answered(done[0])
            if not isinstance(answer, Lost):
                yield number, answer
                last_sign = time.monotonic()  # the caller's time is not the workers'
            elif attempt < TRIES:
                waiting.append((number, task, attempt + 1))
            else:
                yield number, Lost(attempt, answer.reason)

    def close(self) -> None:
        """End all workers, whatever they are at."""
        actors = [*self._starting.values(), *(busy[0] for busy in self._busy.values())]
        for actor in [*actors, *(actor for actor, _ in self._idle)]:
            self._ray.kill(actor)
        self._engine.places.clear()
        self._starting, self._busy, self._idle = {}, {}, []

    def _hire(self) -> None:
        actor = self._seat.remote()
        self._starting[actor.start.remote(*self._setup)] = actor

    def _seated(self, reference: Any) -> None:
        actor = self._starting.pop(reference)
        try:
            fine, answer = self._ray.get(reference)
        except self._ray.exceptions.RayActorError as error:
            self._deaths += 1
            if self._deaths >= TRIES:
                raise EngineError(f"no worker could be started: {_reason(error)}") from error
            self._hire()
            return
        except self._ray.exceptions.RayError as error:
            raise EngineError(f"a worker could not start: {_reason(error)}") from error
        if not fine:
            raise EngineError(answer)
        self._deaths = 0
        self._idle.append((actor, answer))
        self._engine.places.add(answer)

    def _give(self, number: int, task: Any, attempt: int) -> None:
        actor, place = self._idle.pop()
        self._busy[actor.work.remote(pickle.dumps(task))] = (actor, place, number, task, attempt)

    def _answered(self, reference: Any) -> tuple[int, Any, int, Any]:
        actor, place, number, task, attempt = self._busy.pop(reference)
        try:
            fine, answer = pickle.loads(self._ray.get(reference))
        except (self._ray.exceptions.RayActorError, self._ray.exceptions.ObjectLostError) as error:
            self._engine.places.discard(place)
            again = "is tried once more" if attempt < TRIES else "is given up"
            self._engine.tell(f"a worker was lost ({place}); what it was at {again}")
            self._hire()
            return number, task, attempt, Lost(attempt, _reason(error))
        if not fine:
            raise answer
        self._idle.append((actor, place))
        return number, task, attempt, answer

    def _no_worker(self) -> str:
        have, free = self._ray.cluster_resources(), self._ray.available_resources()
        return (
            f"no worker could be started within {_START_SECONDS:.0f} s: of {have.get('CPU', 0):g} CPUs of the Ray "
            f"cluster {free.get('CPU', 0):g} are free; what was done is kept, try again when it is less busy"
        )


def _reason(error: BaseException) -> str:
    """What Ray knows, in a line."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    told = [line for line in lines if "exit" in line.lower() or "Error" in line]
    return (told[-1] if told else lines[-1] if lines else type(error).__name__)[:300]
