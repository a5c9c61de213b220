"""Asks a model behind an OpenAI-compatible server, for tools. It knows no tool; retries and balancing are `tracer1.chat`'s."""

import re
from collections.abc import Sequence

from tracer1.chat import ChatClient, ChatRequest, Message
from tracer1.chat.wording import shortened
from tracer1.errors import ExecutorError
from tracer1.toolbox.spec import ToolError

_MISTAKES = (
    "400",
    "413",
    "422",
)  # too long a text, too large a picture: the caller's mistake; other refusals are the configuration's


class ChatBackend:
    """Vision, and language.

    Args:
        role: For messages: vision, language ...
        endpoints: URLs of servers with the same model.
        model: Its name; None takes the only one that the server names.
        api_key_env: The environment variable with the key; empty for servers that want none.
        max_tokens: Of an answer.
        timeout_s: The longest that one attempt may take.
        patience_s: The longest that an answer may take with all attempts.
    """

    def __init__(
        self,
        role: str,
        *,
        endpoints: Sequence[str],
        model: str | None,
        api_key_env: str,
        max_tokens: int,
        timeout_s: float,
        patience_s: float,
    ) -> None:
        self.role, self.max_tokens = role, max_tokens
        self.identity = f"chat {model or ' '.join(endpoints)} {max_tokens}"
        self._client = ChatClient(
            [*endpoints] if not isinstance(endpoints, str) else endpoints,
            model,
            api_key_env=api_key_env,
            timeout_s=timeout_s,
            patience_s=patience_s,
            round_s=patience_s,
        )

    def answer(self, *parts: str | bytes) -> str:
        """The model's answer, at temperature 0, to texts and pictures in order.

        Raises:
            ToolError: The server refuses what is asked.
            ExecutorError: It does not answer.
        """
        request = ChatRequest((Message("user", parts),), temperature=0.0, max_tokens=self.max_tokens)
        (reply,) = self._client.ask([request])
        if not reply.fault:
            return reply.text.strip()
        status = re.search(r"status (\d{3})", reply.fault)
        if reply.refused and status and status[1] in _MISTAKES:
            raise ToolError("failed", f"The model's server refuses this: {shortened(reply.fault)}")
        raise ExecutorError(
            f"executor.backends.{self.role}: {shortened(reply.fault, 600)}. See whether its server is up, and check its settings."
        )

    def close(self) -> None:
        """Ends its connections."""
        self._client.close()
