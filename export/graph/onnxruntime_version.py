"""Whether the ONNX Runtime that is installed runs the graphs of an export, to check them.

In: nothing but what is installed. Out: an error, or none.
"""

from __future__ import annotations

from commands.errors import UserError
from runtime.engines.tensorrt.parsers import CHECKED_BY, is_checked_by


class OldOnnxRuntime(UserError):
    """The one that is installed cannot run a graph."""


def check_onnxruntime(otherwise: str = "") -> None:
    """Raises `OldOnnxRuntime` if portable graphs do not run in the one that is installed.

    otherwise: what else can be done, for the end of the message.
    """
    import onnxruntime

    found = onnxruntime.__version__
    if not is_checked_by(found):
        needed = ".".join(map(str, CHECKED_BY))
        raise OldOnnxRuntime(
            f"ONNX Runtime {found} cannot run portable graphs, so nothing could check them; "
            f"install onnxruntime {needed} or newer, which needs Python 3.11 or newer{otherwise}"
        )
