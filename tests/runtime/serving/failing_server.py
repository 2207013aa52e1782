"""`python -m runtime.serve`, with slow steps and one thing that goes wrong.

In: what goes wrong, a number, and the command's own options. Out: the server's process. The faults
are real where the system can make them (files, descriptors), and raised by a step otherwise.
"""

from __future__ import annotations

import itertools
import resource
import sys
import time
from typing import Any, NoReturn
from unittest import mock

from runtime import serve
from runtime.engines.rows import RowLoop, Step
from runtime.serving.voices import registry

STEP_SECONDS = 0.003


class LoopFault:
    """`RowLoop.step`, which goes wrong once, at a certain step of more than the warm-up's."""

    def __init__(self, error: BaseException, at: int) -> None:
        self._error, self._at = error, at
        self._numbers = itertools.count()

    def install(self) -> None:
        step = RowLoop.step

        def failing(loop: RowLoop) -> list[Step]:
            time.sleep(STEP_SECONDS)
            if next(self._numbers) == self._at:
                raise self._error
            return step(loop)

        mock.patch.object(RowLoop, "step", failing).start()


def main() -> int:
    fault, number, *options = sys.argv[1:]
    never = LoopFault(AssertionError(), -1)
    match fault:
        case "engine raises":
            LoopFault(RuntimeError("no such GPU"), int(number)).install()
        case "thread ends":
            LoopFault(SystemExit(), int(number)).install()
        case "voices are bounded":
            never.install()
            _bound_voices(int(number))
        case "descriptors are bounded":
            never.install()
            resource.setrlimit(resource.RLIMIT_NOFILE, (int(number), int(number)))
        case "nothing":
            never.install()
        case _:
            _refuse(fault)
    sys.argv[1:] = options
    return serve.main()  # as a program, which handles signals


def _bound_voices(size: int) -> None:
    """Files of voices may have so many bytes, and the system refuses the rest. All other files must
    be written whole, such as Python's own caches."""
    keep = registry._keep

    def bounded(*arguments: Any) -> None:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            keep(*arguments)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    mock.patch.object(registry, "_keep", bounded).start()


def _refuse(fault: str) -> NoReturn:
    raise SystemExit(f"no fault {fault!r}")


if __name__ == "__main__":
    sys.exit(main())
