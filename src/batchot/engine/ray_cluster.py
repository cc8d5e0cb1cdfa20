"""Join a Ray cluster, or start one on this machine."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType

from batchot.engine.engine import EngineError

OBJECT_STORE_BYTES = 200 << 20
"""Shared memory of a cluster on this machine: answers on their way, a few a worker."""
_CONNECT_SECONDS = 5.0
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # every line: the engine itself says what was lost
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def import_ray() -> ModuleType:
    """Import Ray, with its reports about itself turned off.

    Raises:
        EngineError: it is not installed
    """
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
    """Be part of a cluster; what was started for it is ended.

    A process that is part of one already stays in it.

    Args:
        address: HOST:PORT of the head of a cluster; "auto": the one that runs on this machine; None: start one
            that listens on this machine alone
        cpus: of the cluster that is started

    Raises:
        EngineError: Ray is not installed, or the cluster is not there
    """
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
                runtime_env={"env_vars": {"PYTHONPATH": _import_path()}},
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
        raise EngineError(f"{where} could not be {verb}: {_first_line(error)}") from error
    try:
        yield ray
    finally:
        ray.shutdown()
        if logs is not None:
            shutil.rmtree(logs, ignore_errors=True)  # Ray leaves a folder of logs in /tmp/ray for each start


def check_address(address: str) -> None:
    """Refuse within seconds an address where no Ray cluster answers; Ray itself would try for minutes.

    Args:
        address: HOST:PORT

    Raises:
        EngineError: what is wrong with it

    >>> try:
    ...     check_address("head")
    ... except EngineError as error:
    ...     print(error)
    --ray-address head: give HOST:PORT of the head, as ray start --head says it, or auto
    """
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


def _import_path() -> str:
    return os.pathsep.join(path or os.getcwd() for path in sys.path)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
