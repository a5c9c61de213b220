"""A whole GRPO step of TRL's GRPOTrainer on the benchmark's prompts, with the fastest settings that do the same work.

It is run in a process of its own by `children.Side`: only there is TRL loaded. What was chosen for it, and why, stands in
`settings`.
"""

import io
import tempfile
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from PIL import Image
from transformers import AutoTokenizer, Qwen3VLProcessor, TrainerCallback
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from trl import GRPOConfig, GRPOTrainer

from tracer1.prompts import to_messages
from tracer1.schema import Prompt, Step
from tracer1.training.bench import theirs_vllm
from tracer1.training.bench.cases import HORIZON, Case, make_steps
from tracer1.training.bench.children import Gate
from tracer1.training.bench.ours import LEARNING_RATE, digest, variety, weights_digest
from tracer1.training.entry import quiet_libraries


class PictureProcessor(Qwen3VLProcessor):
    """Qwen3-VL's processor for pictures only: the one for videos needs torchvision, which not every machine has."""

    def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
        """There is no video processor to check."""
        return argument is None or super().check_argument_for_proper_class(argument_name, argument)


class Turns(TrainerCallback):
    """Lets one update pass for each turn of the gate. TRL fetches the next prompts after it, so a turn is a whole step."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.lengths: list[int] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Everything is loaded."""
        control.should_training_stop = not self.gate.turn()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The update has been made."""
        self.gate.facts = {"figures": {"rollout/response_length": sum(self.lengths) / len(self.lengths)}}
        self.lengths.clear()
        control.should_training_stop = not self.gate.turn()


def settings(case: Case, checkpointing: bool) -> dict[str, Any]:
    """GRPOConfig's arguments, each for a reason."""
    return {
        # the same work as ours
        "num_generations": case.group_size,
        "max_completion_length": case.response_tokens,
        "generation_kwargs": {"min_new_tokens": case.response_tokens},  # no response ends early
        "temperature": 1.0,
        "top_p": 1.0,  # no sorting while sampling; ours is set to 1.0 too
        "beta": 0.01,  # a reference model and the KL term, as ours
        "use_bias_correction_kl": False,  # the plain k3 estimate, as ours
        "loss_type": "dapo",  # the mean over the update's tokens, as ours
        "epsilon": 0.2,
        "epsilon_high": 0.3,
        "learning_rate": LEARNING_RATE,
        "lr_scheduler_type": "constant",
        "weight_decay": 0.01,
        "max_grad_norm": 1.0,
        "model_init_kwargs": {"dtype": case.dtype, "attn_implementation": "sdpa"},
        "bf16": case.dtype == "bfloat16",  # TRL's default is True, also on a CPU
        "use_cpu": case.device == "cpu",
        # one update per step, all of it in one batch
        "per_device_train_batch_size": case.prompts * case.group_size,
        "gradient_accumulation_steps": 1,
        "steps_per_generation": 1,
        "num_iterations": 1,  # so TRL needs no pass for old log-probs and makes none
        # nothing that costs time beside it
        "gradient_checkpointing": checkpointing,  # TRL's default is True: less memory, about a fifth slower
        "shuffle_dataset": False,
        "dataloader_pin_memory": False,
        "save_strategy": "no",
        "logging_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "max_steps": 1_000_000,
    }


def run(gate: Gate, case: Case, folder: Path, screens: int, checkpointing: bool) -> None:
    """Trains, one update for every turn of the gate."""
    quiet_libraries()
    steps, chosen, processor = make_steps(case, screens), settings(case, checkpointing), make_processor(folder)
    if case.engine == "vllm":
        theirs_vllm.prepare(case)
        chosen |= theirs_vllm.settings(processor.image_token_id)
    turns = Turns(gate)

    def reward(prompts: list[Any], completions: list[Any], completion_ids: list[list[int]], **_: Any) -> list[float]:
        turns.lengths += [len(ids) for ids in completion_ids]
        return [variety(ids) for ids in completion_ids]

    with tempfile.TemporaryDirectory() as outputs:
        trainer = GRPOTrainer(
            str(folder),
            reward,
            GRPOConfig(output_dir=outputs, **chosen),
            make_dataset(steps),
            processing_class=processor,
            callbacks=[turns],
        )
        gate.facts = {
            "prompts": digest([as_read(step, processor) for step in steps]),
            "weights": weights_digest(trainer.model),
            "settings": chosen,
        }
        if case.engine == "vllm":
            gate.facts["settings"] = {**chosen, **theirs_vllm.told(case, trainer)}
        trainer.train()


def make_processor(folder: Path) -> PictureProcessor:
    """Our tokenizer, chat template and image processor in the form that TRL takes."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    pictures = Qwen2VLImageProcessorPil.from_pretrained(folder)
    return PictureProcessor(pictures, tokenizer, None, chat_template=tokenizer.chat_template)


def make_dataset(steps: list[Step]) -> Dataset:
    """Rows of a conversation and a picture. Text only, one picture: TRL puts it in front, where our prompt has it."""
    rows: dict[str, list[Any]] = {"prompt": [], "image": []}
    for step in steps:
        message = to_messages(step, HORIZON, "brief")[-1]
        rows["prompt"].append([{"role": "user", "content": message["content"][-1]["text"]}])
        rows["image"].append(_picture(step))
    return Dataset.from_dict(rows)


def as_read(step: Step, processor: PictureProcessor) -> Prompt:
    """The step's prompt as TRL's processor makes it."""
    content = [dict(part) for part in to_messages(step, HORIZON, "brief")[-1]["content"]]
    content[0]["image"] = _picture(step)
    read = processor.apply_chat_template(
        [[{"role": "user", "content": content}]], add_generation_prompt=True, tokenize=True, return_dict=True
    )
    pixels = torch.as_tensor(read["pixel_values"])
    return Prompt(step.key, tuple(read["input_ids"][0]), {"pixel_values": pixels})


def _picture(step: Step) -> Image.Image:
    return Image.open(io.BytesIO(step.screenshot)).convert("RGB")
