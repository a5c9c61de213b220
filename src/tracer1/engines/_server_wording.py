"""Requests to vLLM's `/inference/v1/generate`, and its answers as responses. It knows no connection."""

from typing import Any

from tracer1.engines._pictures import Picture, pictures
from tracer1.engines._pixel_wire import encode_picture
from tracer1.errors import EngineError
from tracer1.interfaces import Sampling
from tracer1.schema import Prompt, Response


class Wording:
    """One round's requests.

    Args:
        policy: Its tokenizer, stop tokens and image token are taken.
        sampling: How responses are drawn.
    """

    def __init__(self, policy: Any, sampling: Sampling) -> None:
        backbone = policy.backbone
        self.tokenizer = backbone.tokenizer
        self.image_token, self.merge_size = backbone.model.config.image_token_id, backbone.image_processor.merge_size
        self._found: dict[int, list[Picture]] = {}  # by the prompt's identity: a round's prompts live as long as this
        self.sampling = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p if sampling.temperature > 0 else 1.0,
            "max_tokens": sampling.max_tokens,
            "logprobs": 0,  # of the sampled token alone, under the whole distribution at temperature 1
            "stop_token_ids": sorted(backbone.stop_ids),
            "ignore_eos": True,  # the policy's stop tokens alone end a response
            "detokenize": False,
        }

    def body(self, prompt: Prompt, seed: int, *, pixels: bool = True, max_tokens: int | None = None) -> dict[str, Any]:
        """One response's request.

        Args:
            prompt, seed: What is asked.
            pixels: Whether the pictures go along, or only their digests.
            max_tokens: Instead of the round's.
        """
        more = {"seed": seed} | ({"max_tokens": max_tokens} if max_tokens else {})
        body: dict[str, Any] = {"token_ids": list(prompt.token_ids), "sampling_params": self.sampling | more}
        if found := self._pictures(prompt):
            data = [encode_picture(picture.pixels, picture.grid) if pixels else None for picture in found]
            body["features"] = {
                "mm_hashes": {"image": [picture.digest for picture in found]},
                "mm_placeholders": {"image": [{"offset": p.offset, "length": p.length} for p in found]},
                "kwargs_data": {"image": data},
            }
        return body

    def _pictures(self, prompt: Prompt) -> list[Picture]:
        """Cut out and hashed once, however many responses the prompt gets."""
        if id(prompt) not in self._found:
            self._found[id(prompt)] = pictures(prompt, self.image_token, self.merge_size)
        return self._found[id(prompt)]

    def response(self, prompt: Prompt, answer: dict[str, Any]) -> Response:
        """A choice of the server's answer.

        Raises:
            EngineError: the server gave up on it.
        """
        if answer["finish_reason"] not in ("stop", "length"):
            raise EngineError(
                f"The vLLM server gave up on a response to {prompt.key!r} ({answer['finish_reason']}); its log says why."
            )
        token_ids = tuple(answer["token_ids"])
        logprobs = tuple(float(at["logprob"]) for at in answer["logprobs"]["content"])
        if len(logprobs) != len(token_ids):
            raise EngineError(
                f"The vLLM server sent {len(logprobs)} log-probs for {len(token_ids)} tokens of {prompt.key!r}."
            )
        text = self.tokenizer.decode(token_ids, skip_special_tokens=True)
        return Response(text, token_ids, logprobs, truncated=answer["finish_reason"] == "length")
