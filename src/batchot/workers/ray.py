"""Work on a Ray cluster."""

from __future__ import annotations

import os
import pickle
import shutil
import socket
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

from batchot.errors import Tell, first_line, nobody
from batchot.workers.pool import EngineError, Lost, Worker, answer_of, difference, this_build
from batchot.workers.process import end_me_first, import_path

OBJECT_STORE_BYTES = 200 << 20
"""Shared memory of a cluster on this machine: answers on their way, a few a worker."""
_CONNECT_SECONDS = 5.0
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # every line: the engine itself says what was lost
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def import_ray() -> ModuleType:
    """Import Ray, with its reports about itself turned off."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        return import_module("ray")
    except ImportError as error:
        raise EngineError(
            f"--engine ray needs Ray, which cannot be imported ({error}): pip install 'batchot[ray]'"
        ) from error


@contextmanager
def joined(address: str | None, cpus: int) -> Iterator[ModuleType]:
    """Be part of a cluster; what was started for it is ended."""
    if address is None:
        # Ray's own switch for a cluster of one machine: it binds 127.0.0.1 and not the address others reach.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    elif address != "auto":
        check_address(address)
    ray = import_ray()
    if ray.is_initialized():
        yield ray
        return
    logs: str | None = None
    quiet = {"log_to_driver": False, "logging_level": "error", "configure_logging": True}
    try:
        if address is None:
            context = ray.init(
                address="local",
                num_cpus=cpus,
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                runtime_env={"env_vars": {"PYTHONPATH": import_path()}},
                **quiet,
            )
            logs = context.address_info["session_dir"]
        else:
            # The workers run this very package, wherever it lies here.
            package = str(Path(__file__).parent.parent)
            ray.init(address=address, runtime_env={"py_modules": [package]}, **quiet)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        where = "a Ray cluster on this machine" if address is None else f"the Ray cluster at {address}"
        verb = "started" if address is None else "joined"
        raise EngineError(f"{where} could not be {verb}: {first_line(error)}") from error
    try:
        yield ray
    finally:
        ray.shutdown()
        if logs is not None:
            shutil.rmtree(logs, ignore_errors=True)  # Ray leaves a folder of logs in /tmp/ray for each start


def check_address(address: str) -> None:
    """Refuse within seconds an address where no Ray cluster answers; Ray itself would try for minutes."""
    host, colon, port = address.rpartition(":")
    if not colon or "/" in host or not port.isdigit() or not 0 < int(port) < 65536:
        raise EngineError(
            f"--ray-address {address}: give HOST:PORT of the head, as ray start --head says it, or auto"
        )
    what = "start it with: ray start --head, or leave --ray-address (and $RAY_ADDRESS) out for workers on this machine"
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS) as connection:
            connection.settimeout(_CONNECT_SECONDS)
            # The head speaks gRPC, which is HTTP/2: it answers these opening bytes with its settings, frame type 4.
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
            answer = connection.recv(9)
    except OSError as error:
        reason = "it does not answer" if isinstance(error, TimeoutError) else error.strerror or error
        raise EngineError(f"there is no Ray cluster at {address} ({reason}); {what}") from error
    if len(answer) < 4 or answer[3] != 4:
        raise EngineError(f"there is no Ray cluster at {address} (something else listens there); {what}")


@dataclass(frozen=True)
class Seen:
    """A path as the process sees it that hands out the work."""

    path: str  # absolute
    size: int | None  # of a file, bytes; None: it is a folder

    @classmethod
    def of(cls, path: Path) -> Seen:
        """The path as it is seen here."""
        path = path.absolute()
        return cls(str(path), None if path.is_dir() else path.stat().st_size)

    def is_seen(self) -> bool:
        """Say whether it is seen here, too."""
        try:
            path = Path(self.path)
            return path.is_dir() if self.size is None else path.stat().st_size == self.size
        except OSError:
            return False


@dataclass(frozen=True)
class Place:
    """Where a worker sits."""

    host: str
    pid: int

    def __str__(self) -> str:
        return f"{self.host}, process {self.pid}"


class Seat:
    """A worker: `start` once, then `work` for each task."""

    def start(
        self, build: dict[str, str], folder: str, shared: Sequence[Seen], make: bytes
    ) -> tuple[bool, Place | str]:
        """Take a seat: (True, where it is) or (False, what is wrong)."""
        place = Place(socket.gethostname(), os.getpid())
        if (differs := difference(build, this_build())) is not None:
            return False, (
                f"the worker at {place.host} has {differs}; results would not be those of one machine, install the "
                "same versions everywhere"
            )
        if unseen := [seen.path for seen in shared if not seen.is_seen()]:
            return False, (
                f"the worker at {place.host} does not see {unseen[0]} as this machine does; put it where all machines "
                "see it under the same path (the cache folder is set by XDG_CACHE_HOME)"
            )
        if os.path.isdir(folder):
            os.chdir(folder)
        end_me_first()
        self._worker = pickle.loads(make)()
        return True, place

    def work(self, task: bytes) -> bytes:
        """Do a task; the answer is (True, what is wanted) or (False, an error), pickled."""
        return answer_of(lambda: self._worker(pickle.loads(task)))


TRIES = 3
"""Workers that a task may end."""
_START_SECONDS = 120.0
_LOOK_SECONDS = 0.5


@contextmanager
def ray_engine(
    address: str | None = None, workers: int | None = None, *, cores: int = 1, tell: Tell = nobody
) -> Iterator[RayEngine]:
    """Give the engine of a Ray cluster, which is left or ended afterwards."""
    with joined(address, workers or cores) as ray:
        cpus = int(ray.cluster_resources().get("CPU", 0))
        if cpus < (workers or 1):
            where = f"the Ray cluster at {address}" if address else "the Ray cluster"
            raise EngineError(f"{where} has {cpus} CPUs, --workers asks for {workers or 1}; ask for fewer")
        yield RayEngine(ray, workers or cpus, tell)


class RayEngine:
    """Workers of a Ray cluster, one CPU each; see `batchot.workers.pool.Engine`."""

    def __init__(self, ray: ModuleType, workers: int, tell: Tell = nobody) -> None:
        self.ray, self.workers, self.tell = ray, workers, tell
        self.places: set[Place] = set()

    @contextmanager
    def pool(
        self, make: Callable[[], Worker], *, shared: Sequence[Path] = (), gpu: bool = False
    ) -> Iterator[RayPool]:
        """Start workers, see `batchot.workers.pool.Engine`."""
        if gpu and not self.ray.cluster_resources().get("GPU", 0):
            raise EngineError("the Ray cluster has no GPU; give --device cpu")
        pool = RayPool(self, make, [Seen.of(path) for path in shared], gpu)
        try:
            yield pool
        finally:
            pool.close()


class RayPool:
    """Workers made alike; see `batchot.workers.pool.Pool`. They are started when there is work for them."""

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

    def run(self, tasks: Iterable[Any]) -> Generator[tuple[int, Any | Lost], None, None]:
        """Do tasks, each on the next worker that is free."""
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
                number, task, attempt = job
                actor, place = self._idle.pop()
                self._busy[actor.work.remote(pickle.dumps(task))] = (actor, place, number, task, attempt)
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
            if not (isinstance(answer, Lost) and answer.kind == "worker"):
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
