"""A language model behind an OpenAI-compatible server (vLLM, SGLang, hosted). It knows no tool."""

from collections.abc import Sequence

from tracer1.toolbox.backends import BACKENDS
from tracer1.toolbox.backends._chat import ChatBackend


@BACKENDS.register("language.chat")
class ChatLanguage(ChatBackend):
    """See `backends.Language` and, for the settings, `ChatBackend`."""

    def __init__(
        self,
        *,
        endpoints: Sequence[str],
        model: str | None = None,
        api_key_env: str = "",
        max_tokens: int = 1024,
        timeout_s: float = 120.0,
        patience_s: float = 300.0,
    ) -> None:
        super().__init__(
            "language",
            endpoints=endpoints,
            model=model,
            api_key_env=api_key_env,
            max_tokens=max_tokens,
            timeout_s=timeout_s,
            patience_s=patience_s,
        )

    def ask(self, prompt: str) -> str:
        """See `backends.Language`."""
        return self.answer(prompt)
