"""Processes that work on items one at a time, each on one thread."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Self

import torch

from scherzer.formats.errors import BadInput

DIED = "the process that worked on it died (out of memory?)"


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> int:
    """Return the size of this machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@dataclass(frozen=True)
class Outcome:
    """What came of one call: a value, or the reason why there is none.

    ``trace`` holds the traceback of an error that nobody foresaw; ``passing`` marks one that may be gone next time.
    """

    value: Any = None
    problem: str = ""
    trace: str = ""
    passing: bool = False


class Workers:
    """A pool of processes, started when first needed and kept for all stages.

    Parameters
    ----------
    count : int, optional
        Number of processes, one a processor when not given; 1 works in this process. Results are the same for every
        number.
    """

    def __init__(self, count: int | None = None) -> None:
        self.count = count or processors()
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop()

    @contextmanager
    def at_most(self, count: int) -> Iterator[Workers]:
        """Give workers of which no more than ``count`` work at once: these, if they are not more."""
        if self.count <= count:
            yield self
            return
        with Workers(count) as fewer:
            yield fewer

    def outcomes(self, function: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, Outcome]]:
        """Call a function with every tuple of arguments; yield the index and outcome of each call as it ends.

        ``function`` must be importable by name from its module, its arguments and value picklable.
        """
        if self.count == 1 or len(calls) == 1:
            for index, call in enumerate(calls):
                yield index, _attempt(function, call)
            return
        yield from self._in_pool(function, calls)

    def _in_pool(self, function: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, Outcome]]:
        lost: list[int] = []
        pool = self._started()
        indices: dict[Future[Outcome], int] = {
            pool.submit(_attempt, function, call): index for index, call in enumerate(calls)
        }
        for future in as_completed(indices):
            try:
                yield indices[future], future.result()
            except BrokenProcessPool:
                lost.append(indices[future])
        # A dead process takes every call in flight with it; each is tried once more alone, to find the one to blame.
        for index in sorted(lost):
            self._stop()
            try:
                yield index, self._started().submit(_attempt, function, calls[index]).result()
            except BrokenProcessPool:
                yield index, Outcome(problem=DIED, passing=True)
        if lost:
            self._stop()

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
            context = multiprocessing.get_context(method)
            if method == "forkserver":
                context.set_forkserver_preload(["scherzer.session.workers"])
            self._pool = ProcessPoolExecutor(self.count, mp_context=context, initializer=_start_worker)
        return self._pool

    def _stop(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None


def _attempt(function: Callable[..., Any], call: tuple[Any, ...]) -> Outcome:
    """Call a function on one thread (more would change the last bits of its result) and catch what it raises."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return Outcome(function(*call))
    except BadInput as error:
        return Outcome(problem=error.problem)
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        # Rooms say in a ValueError what they cannot work with; anything else is a fault of the program or the machine.
        problem = text if isinstance(error, ValueError) else f"unforeseen {type(error).__name__}: {text}"
        return Outcome(None, problem, traceback.format_exc(), passing=isinstance(error, OSError | MemoryError))
    finally:
        torch.set_num_threads(threads)


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent,), daemon=True).start()


def _follow(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)
