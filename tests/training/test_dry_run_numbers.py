"""The numbers of a dry run: units, tokens, memory, operations, hours; against hand-worked ones and what libraries hold."""

import pytest

from tracer1.models.costs import Group, count_parameters, image_tokens
from tracer1.prompts import to_messages
from tracer1.schema import Action, PlanStep, Step
from tracer1.training.dry_run import memory as memory_module
from tracer1.training.dry_run.devices import DEVICES
from tracer1.training.dry_run.memory import Sharding, optimizer_bytes, plan_memory, read_sharding
from tracer1.training.dry_run.remedies import remedy
from tracer1.training.dry_run.work import plan_hours, plan_work
from tracer1.training.dry_run.workload import TEXT_TOKENS, Workload, ranks_of, read_precision, read_workload
from tracer1.training.overrides import CONF, check_overrides
from tracer1.training.settings import SETTINGS

PAPER = ("+experiment=stage1_gui", "optimizer=adamw_kahan", "strategy=ddp", "trainer.devices=8")
LORA = "model.lora={rank: 32, alpha: 64}"
B8 = 8_767_123_696  # parameters


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACER1_ROOT", str(CONF.parent))


def config_of(*overrides: str) -> dict:
    return check_overrides("train", list(overrides))


def load_of(*overrides: str) -> Workload:
    return read_workload(config_of(*overrides))


def items_of(*overrides: str) -> dict[str, float]:
    config = config_of(*overrides)
    return {item.name: item.size for item in plan_memory(read_workload(config), config).items}


def passes_of(*overrides: str) -> dict[str, tuple[float, float]]:
    config = config_of(*overrides)
    return {one.name: (one.shared, one.repeated) for one in plan_work(read_workload(config), config)}


# --- units and tokens --------------------------------------------------------------------------------------------------------


def test_the_papers_run_in_numbers():
    """Method, section 4: 143 rounds of 512 prompts are 572 updates and 366,080 rollouts."""
    units = load_of(*PAPER).units
    assert (units.prompts_per_round, units.prompts_per_update, units.updates_per_round) == (512, 128, 4)
    assert (units.updates, units.rollouts) == (572, 366_080)
    assert (units.ranks, units.micro_batches_per_update, units.prompts_per_rank) == (8, 16, 64)


def test_tokens_of_a_micro_batch_are_the_prompt_once_and_every_response():
    load = load_of("+experiment=stage1_gui", "assume.text_tokens=960", "assume.response_tokens=1000")
    assert load.typical == Group(prompt=3000, image=2040, response=1000, size=5)
    assert load.typical.tokens() == 3000 + 5 * 1000
    assert load.worst == Group(prompt=6144, image=4096, response=2048, size=5)


def test_pixels_come_from_the_model_where_the_config_says_nothing():
    load = load_of("+experiment=demo_stage1")
    assert load.worst.image == 65_536 // 32**2
    assert load.typical.image == image_tokens(load.shape.vision, 1920, 1080, (32_768, 65_536))


@pytest.mark.parametrize("style", list(TEXT_TOKENS))
def test_the_assumed_text_is_that_of_a_prompt(style: str):
    """At four characters a token, to 20 per cent, with a full history."""
    past = PlanStep(
        Action("click", "tap the search bar at the top of the screen", point=(1, 2)), "", "a page of results"
    )
    step = Step("k", "d", "t", 4, "Book a table for two at an Italian restaurant tonight", b"", (past,) * 4, ())
    parts = [part for message in to_messages(step, 10, style) for part in message["content"]]
    characters = sum(len(part.get("text", "")) for part in parts)
    assert characters / 4 == pytest.approx(TEXT_TOKENS[style], rel=0.2)


@pytest.mark.parametrize(
    ("trainer", "ranks"),
    [
        ({}, 1),
        ({"devices": 4, "num_nodes": 2}, 8),
        ({"devices": "0,2"}, 2),
        ({"devices": [0, 1, 3]}, 3),
        ({"devices": "auto"}, 1),
        ({"devices": -1}, 1),
    ],
)
def test_processes(trainer: dict, ranks: int):
    assert ranks_of(trainer) == ranks


def test_a_warm_start_has_one_response_to_each_prompt():
    load = load_of("+experiment=warmstart", "model.path=Qwen/Qwen3-VL-2B-Thinking")
    assert (load.units.rounds, load.units.updates, load.units.group_size) == (8, 400, 1)
    assert list(passes_of("+experiment=warmstart", "model.path=Qwen/Qwen3-VL-2B-Thinking")) == ["update"]


# --- memory ------------------------------------------------------------------------------------------------------------------


def test_weights_gradients_and_states_of_the_papers_run():
    """bfloat16 with Kahan sums: 2 + 2 + 2 + 6 bytes a parameter, and DDP's buckets."""
    items = items_of(*PAPER)
    assert count_parameters(load_of(*PAPER).shape).total == B8
    assert items["weights"] == items["reference"] == items["gradients"] == items["gradients, DDP's buckets"] == 2 * B8
    assert items["optimizer"] == 6 * B8


def test_float32_weights_with_bf16_products():
    items = items_of("+experiment=stage1_gui", "optimizer=adamw", "model.dtype=float32", "trainer.precision=bf16-mixed")
    assert items["weights"] == items["gradients"] == items["reference"] == 4 * B8
    assert items["optimizer"] == 8 * B8
    assert 0.7 * 2 * B8 < items["weights, cast for products"] < 2 * B8


def test_lora_needs_no_reference_and_trains_little():
    items, load = items_of(*PAPER, LORA), load_of(*PAPER, LORA)
    trained = 36 * 32 * (2 * (4096 + 4096) + 2 * (4096 + 1024) + 3 * (4096 + 12288))
    assert memory_module.trained_parameters(load) == trained
    assert items["reference"] == 0
    assert items["adapters"] == items["gradients"] == 2 * trained
    assert items["weights"] == 2 * B8


def test_a_frozen_tower_has_no_gradients():
    shape = load_of(*PAPER).shape
    assert items_of(*PAPER, "model.freeze_vision_tower=true")["gradients"] == 2 * (B8 - count_parameters(shape).vision)


def test_an_offloaded_reference_lies_in_main_memory():
    config = config_of(*PAPER, "model.reference_offload=true")
    memory = plan_memory(read_workload(config), config)
    assert {item.name: item.size for item in memory.main}["reference"] == 2 * B8
    everything = config_of(*PAPER)
    assert memory.at("updating") == plan_memory(read_workload(everything), everything).at("updating") - 2 * B8


def test_the_cache_of_the_embedded_engine_is_that_of_its_batch():
    """147,456 bytes a token in the 8B model; every response has its own copy of the prompt's."""
    items = items_of("+experiment=stage1_gui", "engine=transformers", "engine.prompts_per_batch=2")
    assert items["key-value cache"] == 2 * 5 * (6144 + 2048) * 147_456


def test_vllm_takes_its_share():
    items = items_of("+experiment=stage1_gui", "engine=vllm", "engine.gpu_memory=0.25")
    assert items["vLLM"] == 0.25 * DEVICES["h100"].memory
    assert "key-value cache" not in items
    items = items_of("+experiment=stage1_gui", "engine=vllm", "engine.kv_cache_gb=10")
    assert items["vLLM"] == 2 * B8 + 10 * 2**30


def test_gradient_checkpointing_is_most_of_the_activations():
    on, off = (items_of(*PAPER, f"model.gradient_checkpointing={s}")["activations"] for s in ("true", "false"))
    assert on < off / 8


def test_the_blocks_of_logits_are_those_of_the_head():
    head = pytest.importorskip("tracer1.models.head")
    assert memory_module.LOGITS_AT_A_TIME == head.LOGITS_AT_A_TIME


@pytest.mark.parametrize(
    ("optimizer", "itemsize", "size"),
    [
        ({"_target_": "torch.optim.AdamW"}, 4, 8),
        ({"_target_": "torch.optim.AdamW"}, 2, 4),
        ({"_target_": "optimi.AdamW", "kahan_sum": True}, 2, 6),
        ({"_target_": "optimi.AdamW", "kahan_sum": True}, 4, 8),
        ({"_target_": "optimi.AdamW", "kahan_sum": False}, 2, 4),
        ({"_target_": "torch.optim.SGD"}, 4, 0),
        ({"_target_": "torch.optim.SGD", "momentum": 0.9}, 4, 4),
    ],
)
def test_bytes_of_an_optimizer(optimizer: dict, itemsize: int, size: int):
    assert optimizer_bytes(optimizer, itemsize)[0] == size


def test_bytes_of_an_optimizer_are_those_that_it_holds():
    torch = pytest.importorskip("torch")
    kinds = [("torch.optim.AdamW", torch.optim.AdamW, {})]
    if optimi := pytest.importorskip("optimi"):
        kinds.append(("optimi.AdamW", optimi.AdamW, {"kahan_sum": True}))
    for name, kind, more in kinds:
        for dtype in (torch.float32, torch.bfloat16):
            weight = torch.nn.Parameter(torch.ones(100, dtype=dtype))
            weight.grad = torch.ones_like(weight)
            optimizer = kind([weight], lr=1e-3, **more)
            optimizer.step()
            states = [v for v in optimizer.state[weight].values() if isinstance(v, torch.Tensor) and v.numel() == 100]
            held = sum(state.numel() * state.itemsize for state in states)
            assert held == 100 * optimizer_bytes({"_target_": name, **more}, dtype.itemsize)[0]


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("auto", Sharding(buckets=True)),
        ("ddp", Sharding(buckets=True)),
        ("deepspeed_stage_1", Sharding(1, 1, 8, master=True)),
        ("deepspeed_stage_2_offload", Sharding(1, 8, 8, master=True, offload=True)),
        ({"_target_": "lightning.pytorch.strategies.DeepSpeedStrategy", "stage": 3}, Sharding(8, 8, 8, master=True)),
        ("fsdp", Sharding(8, 8, 8)),
    ],
)
def test_what_a_strategy_spreads(strategy: object, expected: Sharding):
    assert read_sharding({"strategy": strategy}, 8) == expected


@pytest.mark.parametrize(
    ("precision", "dtype", "expected"),
    [
        ("32-true", "float32", (4, 4, False)),
        ("32-true", "bfloat16", (2, 2, False)),
        ("bf16-true", "float32", (2, 2, False)),
        ("bf16-mixed", "float32", (4, 2, True)),
        (32, "float32", (4, 4, False)),
        ("64-true", "float32", (8, 8, False)),
    ],
)
def test_precision(precision: object, dtype: str, expected: tuple):
    found = read_precision({"precision": precision}, dtype)
    assert (found.weights, found.compute, found.mixed) == expected


# --- operations and hours ----------------------------------------------------------------------------------------------------


def test_passes_of_the_papers_run():
    passes = passes_of(*PAPER, "assume.text_tokens=960", "assume.response_tokens=1000")
    for shared, repeated in passes.values():
        assert repeated / shared == pytest.approx(2.65, abs=0.03)
    assert passes["old log-probs"] == passes["reference"] == passes["sampling"]
    assert passes["update"][0] / passes["reference"][0] == pytest.approx(4, abs=0.05)  # one of them over again


@pytest.mark.parametrize(("how", "part"), [("recompute", 1.0), ("first_update_on_policy", 0.75), ("engine", 0.0)])
def test_the_old_pass(how: str, part: float):
    passes = passes_of(*PAPER, f"algorithm.old_logprobs={how}")
    assert passes["old log-probs"][0] == part * passes["reference"][0]


def test_responses_that_are_replayed_cost_nothing():
    assert passes_of(*PAPER, "engine=recorded", "engine.folder=x")["sampling"] == (0, 0)


def test_no_reference_without_a_kl():
    assert passes_of(*PAPER, "algorithm.kl_coef=0")["reference"] == (0, 0)


def test_a_frozen_tower_is_paid_for_once():
    frozen, trained = passes_of(*PAPER, "model.freeze_vision_tower=true"), passes_of(*PAPER)
    tower = frozen["vision tower"][0]
    assert frozen["reference"][0] == trained["reference"][0] - tower
    assert frozen["update"][0] == pytest.approx(trained["update"][0] - 4 * tower)


def test_hours_are_operations_over_what_is_assumed():
    config = config_of(*PAPER, "assume.mfu=0.5", "assume.device=a100")
    load, passes = read_workload(config), plan_work(read_workload(config), config)
    hours = plan_hours(load, config, passes)
    training = sum(one.shared for one in passes if one.name != "sampling")
    assert hours.passes == pytest.approx(training / (8 * 312e12 * 0.5))
    assert hours.sampling > sum(one.shared for one in passes if one.name == "sampling") / (8 * 312e12 * 0.5)


def test_repeating_the_prompt_costs_hours():
    shared, repeated = (config_of(*PAPER, f"model.shared_prefix={s}") for s in ("true", "false"))
    seconds = [plan_hours(read_workload(c), c, plan_work(read_workload(c), c)).passes for c in (shared, repeated)]
    assert seconds[1] / seconds[0] == pytest.approx(2.54, abs=0.02)


# --- advice ----------------------------------------------------------------------------------------------------------------


def test_what_is_advised_fits():
    config = config_of("+experiment=stage1_gui")
    advice = remedy(config)
    assert "model.lora=" in advice
    assert "reference_offload" not in advice
    overrides = [part.replace("'", "") for part in advice.replace(": ", ":").replace(", ", ",").split()]
    better = config_of("+experiment=stage1_gui", *overrides)
    assert plan_memory(read_workload(better), better).peak <= DEVICES["h100"].memory
    assert remedy(config_of("+experiment=stage1_gui", "model=qwen3_vl_32b")) == ""


def test_the_devices_are_those_that_the_settings_name():
    assert set(SETTINGS["assume.device"].known) == set(DEVICES)
