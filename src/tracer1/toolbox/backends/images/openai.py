"""Pictures from a server with OpenAI's image endpoints (/v1/images/generations, /v1/images/edits). It knows no tool."""

import base64
import binascii
from typing import Any

from tracer1.errors import ExecutorError
from tracer1.toolbox.backends import BACKENDS
from tracer1.toolbox.backends._web import Service, key_of

_ALWAYS_BASE64 = "gpt-image"  # these models take no response_format (OpenAI's API reference, "Create image")


@BACKENDS.register("images.openai")
class OpenAIImages:
    """See `backends.Images`.

    Args:
        url: With the version: `http://127.0.0.1:8000/v1`.
        model: What the server calls it.
        size: `WIDTHxHEIGHT` of new pictures; empty leaves it to the server.
        api_key_env: The environment variable with the key; empty for servers that want none.
        timeout_s, patience_s: Of one attempt; of all.
    """

    def __init__(
        self,
        *,
        url: str,
        model: str,
        size: str = "1024x1024",
        api_key_env: str = "",
        timeout_s: float = 120.0,
        patience_s: float = 300.0,
    ) -> None:
        where = "executor.backends.images"
        headers = {"Authorization": f"Bearer {key_of(api_key_env, where)}"} if api_key_env else {}
        self.url, self.model, self.size = url.rstrip("/"), model, size
        self.identity = f"openai {model} {size}"
        self._service = Service(f"{where} (openai)", timeout_s, patience_s, headers)

    def generate(self, prompt: str) -> bytes:
        """See `backends.Images`."""
        answer = self._service.json(
            "POST", f"{self.url}/images/generations", json={"prompt": prompt, **self._settings()}
        )
        return self._picture(answer)

    def edit(self, prompt: str, image: bytes) -> bytes:
        """See `backends.Images`."""
        kind = "png" if image.startswith(b"\x89PNG") else "jpeg"
        answer = self._service.json(
            "POST",
            f"{self.url}/images/edits",
            data={"prompt": prompt, **{name: str(value) for name, value in self._settings().items()}},
            files={"image": (f"image.{kind}", image, f"image/{kind}")},
        )
        return self._picture(answer)

    def _settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = {"model": self.model, "n": 1}
        if self.size:
            settings["size"] = self.size
        if not self.model.startswith(_ALWAYS_BASE64):
            settings["response_format"] = "b64_json"
        return settings

    def _picture(self, answer: Any) -> bytes:
        try:
            return base64.b64decode(answer["data"][0]["b64_json"], validate=True)
        except (KeyError, IndexError, TypeError, binascii.Error, ValueError) as error:
            raise ExecutorError(
                f"executor.backends.images: {self.url} answers without a picture (`data[0].b64_json`): {answer!r:.200}."
            ) from error
