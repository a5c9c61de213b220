"""What is asked and what comes back: messages of texts and images, sampling, a reply or a fault. It knows no server and no cache."""

import base64
import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

_KINDS = ((b"\x89PNG", "png"), (b"\xff\xd8", "jpeg"), (b"RIFF", "webp"), (b"GIF8", "gif"))


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """One turn of a conversation."""

    role: str  # system | user | assistant
    parts: tuple[str | bytes, ...]  # texts, and images as the bytes of a PNG, JPEG, WebP or GIF file


@dataclass(frozen=True, slots=True, eq=False)
class ChatRequest:
    """A conversation that wants an answer."""

    messages: tuple[Message, ...]
    temperature: float = 0.0
    max_tokens: int = 512
    stop: tuple[str, ...] = ()
    seed: int | None = None

    def again(self, time: int) -> "ChatRequest":
        """The same request with other sampling noise; time 0 is the request itself. A greedy one samples a little from then on."""
        if not time:
            return self
        return replace(self, temperature=max(self.temperature, 0.3), seed=(self.seed or 0) + 7919 * time)


@dataclass(frozen=True, slots=True)
class ChatReply:
    """A text, or a fault that says why there is none."""

    text: str = ""
    fault: str = ""  # what failed for good: the server is away, slow, refuses, or answers rubbish again and again
    refused: bool = False  # the fault is a 4xx answer: asking again would not help
    truncated: bool = False  # the text was stopped by `max_tokens`
    cached: bool = False  # nobody was asked: it came from the cache, or an identical request got it
    endpoint: str = ""
    seconds: float = 0.0  # from the first attempt to the reply


@dataclass(frozen=True, slots=True)
class Identity:
    """What a reply depends on, and therefore what it is cached under."""

    model: str
    images: str  # SHA-256 of each, separated by spaces
    prompt: str  # JSON: roles and texts, with a mark where an image stands
    sampling: str  # JSON

    @property
    def key(self) -> str:
        """A digest of all four."""
        return hashlib.sha256("\0".join((self.model, self.images, self.prompt, self.sampling)).encode()).hexdigest()


def identity(request: ChatRequest, model: str, digest: Callable[[bytes], str]) -> Identity:
    """Of a request to a model; `digest` is the SHA-256 of an image, remembered by whoever asks often."""
    prompt = [[m.role, *(p if isinstance(p, str) else 0 for p in m.parts)] for m in request.messages]
    images = [digest(part) for message in request.messages for part in message.parts if isinstance(part, bytes)]
    sampling = {"temperature": request.temperature, "max_tokens": request.max_tokens}
    sampling |= {"stop": list(request.stop), "seed": request.seed}
    return Identity(model, " ".join(images), json.dumps(prompt), json.dumps(sampling))


def to_wire(request: ChatRequest, model: str, data_url: Callable[[bytes], str]) -> dict[str, Any]:
    """The body of a chat completion. A message of one text is a plain string, which every chat template takes."""
    messages = []
    for message in request.messages:
        content: Any = [_part(part, data_url) for part in message.parts]
        if len(message.parts) == 1 and isinstance(message.parts[0], str):
            content = message.parts[0]
        messages.append({"role": message.role, "content": content})
    body = {"model": model, "messages": messages}
    body |= {"temperature": request.temperature, "max_tokens": request.max_tokens}
    if request.stop:
        body["stop"] = list(request.stop)
    if request.seed is not None:
        body["seed"] = request.seed
    return body


def _part(part: str | bytes, data_url: Callable[[bytes], str]) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    return {"type": "image_url", "image_url": {"url": data_url(part)}}


def to_data_url(image: bytes) -> str:
    """`data:image/png;base64,...`."""
    kind = next((name for start, name in _KINDS if image.startswith(start)), "png")
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"


class Remembered:
    """A function of an image's bytes, computed once for the same object while it is among the last `most` that were asked for.

    The rollouts of a group share one screenshot; hashing or encoding it once is enough. It belongs to one thread.
    """

    def __init__(self, compute: Callable[[bytes], str], most: int) -> None:
        self._compute, self._most = compute, most
        self._kept: OrderedDict[int, tuple[bytes, str]] = OrderedDict()  # the bytes are held: their id stays theirs

    def __call__(self, image: bytes) -> str:
        kept = self._kept.get(id(image))
        if kept is not None and kept[0] is image:
            return kept[1]
        made = self._compute(image)
        self._kept[id(image)] = (image, made)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return made

    def forget(self) -> None:
        """Lets go of the images."""
        self._kept.clear()


def sha256(data: bytes) -> str:
    """The hexadecimal digest."""
    return hashlib.sha256(data).hexdigest()
