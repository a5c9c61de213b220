"""YuNet, a small detector of faces: `face_detection_yunet_2023mar.onnx` of the OpenCV zoo (230 kB, MIT). It knows no tool.

Only its weights are read here; OpenCV runs it in the sandbox.
"""

import base64
import hashlib
from pathlib import Path

from tracer1.errors import ConfigError
from tracer1.toolbox.backends import BACKENDS

LARGEST = 8 << 20  # bytes


@BACKENDS.register("faces.yunet")
class YuNet:
    """See `backends.Faces`.

    Args:
        weights: The ONNX file.

    Raises:
        ConfigError: It cannot be read, or is far too large to be one.
    """

    def __init__(self, *, weights: str) -> None:
        hint = "Name the file of a YuNet model (.onnx), or leave executor.backends.faces out: faces are found without it too."
        try:
            content = Path(weights).read_bytes()
        except OSError as error:
            raise ConfigError(
                f"executor.backends.faces: {weights!r} cannot be read ({error.strerror}). {hint}"
            ) from error
        if len(content) > LARGEST:
            raise ConfigError(
                f"executor.backends.faces: {weights!r} has {len(content):,} bytes, a YuNet model has 230,000. {hint}"
            )
        self.weights = base64.b64encode(content).decode()
        self.identity = f"yunet {hashlib.sha256(content).hexdigest()[:12]}"
