"""Files of another quantizer: the untouched graphs are no further from float32 than nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import second_opinion
from export.checks import check
from runtime.bundle.manifest import read_manifest
from runtime.bundle.names import BACKBONE, MTP_HEAD


def test_graphs_are_prepared_and_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check, "parity_is_possible", lambda: False)  # export's own tests compare
    texts = tmp_path / "texts.txt"
    texts.write_text("Yes.\nNo.\nTwo.\nWhy?\n", encoding="utf-8")
    monkeypatch.setattr(second_opinion, "TEXTS", texts)
    folder = tmp_path / "opinion"
    assert second_opinion.main(["prepare", str(folder)]) == 0
    graphs = read_manifest(folder / second_opinion.GRAPHS).graphs
    for graph in (BACKBONE, MTP_HEAD):
        spec = graphs[graph]
        inputs = dict(np.load(folder / f"{graph}.npz"))
        assert inputs.keys() == {tensor.name for tensor in spec.inputs}
        calls = {len(array) for array in inputs.values()}  # a call has one row
        assert len(calls) == 1, "every input has as many calls"
        assert calls.pop() > 1
    assert second_opinion.main(["judge", str(folder), str(folder / second_opinion.GRAPHS)]) == 0
    assert "KL 0.0000, 100.0% of best codes" in capsys.readouterr().out
