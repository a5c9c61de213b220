"""A vision-language model behind an OpenAI-compatible server (vLLM, SGLang, hosted). It knows no tool."""

from collections.abc import Sequence

from tracer1.toolbox.backends import BACKENDS
from tracer1.toolbox.backends._chat import ChatBackend


@BACKENDS.register("vision.chat")
class ChatVision(ChatBackend):
    """See `backends.Vision` and, for the settings, `ChatBackend`; temperature 0 and 500 tokens as T3's visualizer (tools, section 1.2)."""

    def __init__(
        self,
        *,
        endpoints: Sequence[str],
        model: str | None = None,
        api_key_env: str = "",
        max_tokens: int = 500,
        timeout_s: float = 60.0,
        patience_s: float = 180.0,
    ) -> None:
        super().__init__(
            "vision",
            endpoints=endpoints,
            model=model,
            api_key_env=api_key_env,
            max_tokens=max_tokens,
            timeout_s=timeout_s,
            patience_s=patience_s,
        )

    def ask(self, question: str, images: Sequence[bytes]) -> str:
        """See `backends.Vision`."""
        return self.answer(*images, question)
