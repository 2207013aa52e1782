"""Whether the ONNX Runtime that is installed runs the graphs of an export, to check them.

In: nothing but what is installed. Out: an error, or none.
"""

from __future__ import annotations

from commands.errors import UserError

PORTABLE_NEEDS = (1, 25)  # the oldest that has all operators of portable graphs: TensorScatter


class OldOnnxRuntime(UserError):
    """The one that is installed cannot run a graph."""


def check_onnxruntime(otherwise: str = "") -> None:
    """Raises `OldOnnxRuntime` if portable graphs do not run in the one that is installed.

    otherwise: what else can be done, for the end of the message.
    """
    import onnxruntime

    found = onnxruntime.__version__
    if tuple(int(number) for number in found.split(".")[:2]) < PORTABLE_NEEDS:
        needed = ".".join(map(str, PORTABLE_NEEDS))
        raise OldOnnxRuntime(
            f"ONNX Runtime {found} cannot run portable graphs, so nothing could check them; "
            f"install onnxruntime {needed} or newer, which needs Python 3.11 or newer{otherwise}"
        )
