"""What is known of each shape while a collection is rendered."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from batchot.shapes.atomic import ViewCacheError, write_whole
from batchot.shapes.content_index import Content, SourceId, source_id
from batchot.shapes.render_pool import Outcome
from batchot.shapes.render_worker import Task
from batchot.shapes.view_cache import ViewCache, ViewId, view_id, view_key, view_path
from batchot.shapes.view_failures import RenderFailure, read_failures, write_failures
from batchot.shapes.view_file import is_whole
from batchot.shapes.view_settings import ViewSettings

if TYPE_CHECKING:
    from batchot.shapes.source import ShapeSource

# A file that is being written is done within seconds: an older one is what a killed process has left.
_LEFT_BEHIND_SECONDS = 3600.0


class RenderWork:
    """The shapes of a collection: which have views, which are to be rendered, which have failed.

    Args:
        sources: the shapes.
        settings: from where and how they are seen.
        folder: of the views with these settings.
    """

    def __init__(self, sources: Sequence[ShapeSource], settings: ViewSettings, folder: Path) -> None:
        self.sources, self.settings, self.folder = sources, settings, folder
        self.parts = folder / "parts"
        self.report = folder / "failures.jsonl"
        self.keys: dict[ViewId, str] = {}
        self.tasks: dict[str, Task] = {}  # by key, as the next ones
        self.done: set[str] = set()
        self.failed: dict[str, RenderFailure] = {}
        self.unreadable: dict[SourceId, str] = {}
        self.notes: list[str] = []
        self.n_rendered = 0

    def prepare(self) -> None:
        """Make the folder, say in it what it holds, and remove what a killed process has left behind.

        Raises:
            ViewCacheError: the folder cannot be used.
        """
        try:
            self.parts.mkdir(parents=True, exist_ok=True)
            for part in self.parts.iterdir():
                if time.time() - part.stat().st_mtime > _LEFT_BEHIND_SECONDS:
                    part.unlink(missing_ok=True)
        except FileNotFoundError:  # another process has just finished or removed that file
            pass
        except OSError as error:
            raise ViewCacheError(
                f"the folder {self.folder} cannot be used for views: {error.strerror or error}; "
                "choose another one or mend its permissions"
            ) from error
        described = self.folder / "settings.json"
        if not described.exists():
            text = json.dumps({"cameras": self.settings.placed.name, **self.settings.description}, indent=2)
            write_whole(described, [text.encode(), b"\n"])

    def look_at(
        self, contents: Mapping[SourceId, Content], unreadable: Mapping[SourceId, str], *, check: bool
    ) -> None:
        """Find the shapes that have no views yet.

        Args:
            contents: what the files hold that can be read.
            unreadable: why the others cannot be.
            check: read the files of views that are there, too.
        """
        self.unreadable.update(unreadable)
        for source in self.sources:
            content = contents.get(source_id(source))
            if content is None:
                continue
            key = self.keys[view_id(source)] = view_key(source, content.sha256, self.settings)
            if key in self.done or key in self.tasks:
                continue
            target = view_path(self.folder, key)
            if is_whole(target, self.settings.view_shape, check):
                self.done.add(key)
            else:
                target.unlink(missing_ok=True)  # damaged, perhaps at its right size
                self.tasks[key] = Task(source, target, content.state)

    def give_up_known(self, time_limit: float | None) -> int:
        """Leave out the shapes of which an earlier call has said that they take too long or crash.

        Args:
            time_limit: of this call; a shape that broke a lower one is tried.

        Returns:
            How many are left out.
        """
        known = 0
        for failure in read_failures(self.report):
            hopeless = failure.kind == "crash" or (
                failure.kind == "time" and time_limit is not None and failure.seconds >= time_limit
            )
            if hopeless and self.tasks.pop(failure.key, None) is not None:
                self.failed[failure.key] = failure
                known += 1
        return known

    def note(self, outcome: Outcome, time_limit: float) -> None:
        """Remember what became of a task.

        Args:
            outcome: what became of it.
            time_limit: under which it was tried, seconds.
        """
        source, key = outcome.task.source, outcome.task.target.stem
        if outcome.status == "rendered" or outcome.status == "there":
            self.done.add(key)
            self.n_rendered += outcome.status == "rendered"
            self.notes += [f"{source.name}: {note}" for note in outcome.notes]
            return
        path, member = source_id(source)
        seconds = time_limit if outcome.status == "time" else 0.0
        self.failed[key] = RenderFailure(
            source.name, outcome.reason, outcome.status, path, member, key, seconds
        )

    def failures(self) -> list[RenderFailure]:
        """The failures in the order of the shapes; each shape is named, also where several are equal."""
        failures = []
        for source in self.sources:
            path, member = identity = source_id(source)
            if identity in self.unreadable:
                reason = self.unreadable[identity]
                failures.append(RenderFailure(source.name, reason, "unreadable", path, member))
            elif (failure := self.failed.get(self.keys[view_id(source)])) is not None:
                failures.append(replace(failure, name=source.name, path=path, member=member))
        return failures

    def write_report(self) -> None:
        """Write the failures down, and keep those of other collections and of shapes not tried yet.

        Raises:
            ViewCacheError: the disk is full or not writable.
        """
        failures = self.failures()
        ours = {source_id(source) for source in self.sources}
        waiting = self.tasks.keys() - self.done - self.failed.keys()
        kept = [
            failure
            for failure in read_failures(self.report)
            if (failure.path, failure.member) not in ours or failure.key in waiting
        ]
        if kept or failures or self.report.exists():
            write_failures(self.report, [*kept, *failures])

    def cache(self, seconds: float) -> ViewCache:
        """The views that there are now; ``seconds`` is how long that took."""
        keys = {identity: key for identity, key in self.keys.items() if key in self.done}
        failures, notes = tuple(self.failures()), tuple(sorted(self.notes))
        return ViewCache(self.folder, self.settings, keys, failures, self.n_rendered, seconds, notes)
