"""A real vLLM loads the folder that `tools/export_policy.py` writes, with its own loader, and answers as the trainer would."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from PIL import Image

from tracer1.engines._vllm_build import import_vllm, undisturbed
from tracer1.models.policy import PolicyModule
from tracer1.training.checkpoints.export import export_checkpoint

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(
        find_spec("vllm") is None, reason="vLLM is not installed here; `make test-vllm` runs these tests"
    ),
]
TOKENS = 12


def test_vllm_loads_an_exported_policy(planner: PolicyModule, screens, changed, tmp_path: Path):
    prompt = next(prompt for prompt in screens if not prompt.tensors)
    ids = torch.tensor([prompt.token_ids])
    base = planner.model.name_or_path
    with changed(planner, 0.3, seed=5), torch.no_grad():
        checkpoint = {"state_dict": planner.state_dict(), "callbacks": {}, "global_step": 1}
        planner.on_save_checkpoint(checkpoint)
        torch.save(checkpoint, tmp_path / "round-000001.ckpt")
        wanted = planner.model.generate(ids, do_sample=False, max_new_tokens=TOKENS)[0, ids.shape[1] :].tolist()
        again = planner.model(torch.tensor([[*prompt.token_ids, *wanted]])).logits.log_softmax(-1)[0]
    exported = export_checkpoint(tmp_path / "round-000001.ckpt", tmp_path / "policy", model=base)
    assert not exported.adapter
    with undisturbed():
        vllm = import_vllm()
        llm = vllm.LLM(
            model=str(tmp_path / "policy"),
            dtype="float32",
            max_model_len=512,
            kv_cache_memory_bytes=2**28,
            enforce_eager=True,
            generation_config="vllm",
        )
        settings = vllm.SamplingParams(temperature=0.0, max_tokens=TOKENS, logprobs=0)
        [said] = llm.generate([{"prompt_token_ids": list(prompt.token_ids)}], settings, use_tqdm=False)
        picture = {
            "prompt": "<|vision_start|><|image_pad|><|vision_end|>",
            "multi_modal_data": {"image": Image.new("RGB", (96, 64))},
        }
        [seen] = llm.generate([picture], settings, use_tqdm=False)
    answer = said.outputs[0]
    assert list(answer.token_ids) == wanted
    start = ids.shape[1] - 1
    for place, (token, logprobs) in enumerate(zip(answer.token_ids, answer.logprobs, strict=True)):
        assert logprobs[token].logprob == pytest.approx(float(again[start + place, token]), abs=1e-3)
    assert len(seen.outputs[0].token_ids) > 0  # its own image processor finds its settings, too
