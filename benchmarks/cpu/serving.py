"""How a worker serves: it loads, says that it is ready, and answers one request after another.

In: a worker's class, and what it is made from. Out: a line "ready" with the seconds of loading,
then one line of JSON for each line of JSON that comes in: a list of figures. Between requests the
process sleeps, so that others can be measured. Standard library only, for peers' environments.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any


def serve(make_worker: Callable[..., Any], *arguments: Any) -> None:
    """Answer until the input ends. A request names a method of the worker, as "measure", and its
    arguments."""
    start = time.perf_counter()
    worker = make_worker(*arguments)
    print(f"ready {time.perf_counter() - start}", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        measure = getattr(worker, request.pop("measure"))
        print(json.dumps(measure(**request)), flush=True)
