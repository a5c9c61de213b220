"""Strategies on a cluster, against numbers worked out by hand for Qwen3-VL-8B (8,767,123,696 parameters, bfloat16) on 2 x 8 H100."""

import io

import pytest
import yaml
from rich.console import Console

from tracer1.errors import ConfigError
from tracer1.training.dry_run import rehearse
from tracer1.training.dry_run.cluster import Estimate, estimates
from tracer1.training.dry_run.scaling import MARKS, scaling_tables, written_between_marks
from tracer1.training.dry_run.sharding import STRATEGIES
from tracer1.training.dry_run.work import decode_seconds
from tracer1.training.dry_run.workload import read_workload
from tracer1.training.overrides import CONF, check_overrides

B8 = 8_767_123_696
WHOLE = 2 * B8 * 15 / 16  # bytes that each of 16 GPUs sends to reduce, or to bring together, 8B bfloat16 numbers
LAUNCH = ("TRACER1_NODES", "TRACER1_GPUS", "TRACER1_OUTPUTS", "MLFLOW_TRACKING_URI")


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACER1_ROOT", str(CONF.parent))
    for name in LAUNCH:
        monkeypatch.delenv(name, raising=False)


def config_of(*overrides: str) -> dict:
    return check_overrides("train", ["+experiment=stage1_gui", "+cluster=nodes", "trainer.num_nodes=2", *overrides])


def on_two_nodes(*overrides: str) -> dict[str, Estimate]:
    return estimates(config_of(*overrides))


@pytest.fixture(scope="module")
def two() -> dict[str, Estimate]:
    """4 updates of 128 prompts a round: 8 micro-batches of one prompt for each GPU and update."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACER1_ROOT", str(CONF.parent))
        for name in LAUNCH:
            patch.delenv(name, raising=False)
        return on_two_nodes("assume.price=2.5")


def items(one: Estimate) -> dict[str, float]:
    return {item.name: item.size for item in one.memory.items}


def test_the_strategies_are_those_of_the_config():
    written = {path.stem: yaml.safe_load(path.read_text())["strategy"] for path in (CONF / "strategy").glob("*.yaml")}
    assert written == STRATEGIES


def test_the_cluster_config_reads_what_launchers_set(monkeypatch: pytest.MonkeyPatch):
    plain = check_overrides("train", ["+cluster=nodes"])
    assert (plain["trainer"]["num_nodes"], plain["trainer"]["devices"]) == (1, 8)
    assert (plain["ckpt_path"], plain["logger"]["tracking_uri"]) == ("auto", "sqlite:///mlflow.db")
    for name, value in zip(LAUNCH, ("2", "4", "/shared/outputs", "http://mlflow:5000"), strict=True):
        monkeypatch.setenv(name, value)
    config = check_overrides("train", ["+experiment=demo_stage1", "+cluster=nodes"])
    assert (config["trainer"]["num_nodes"], config["trainer"]["devices"]) == (2, 4)
    assert config["paths"]["output_dir"] == "/shared/outputs/demo_stage1"
    assert config["logger"]["tracking_uri"] == "http://mlflow:5000"


# --- memory of a GPU -------------------------------------------------------------------------------------------------------


def test_what_ddp_and_fsdp2_hold_is_the_optimizers_own(two):
    """bfloat16 with Kahan's remainder: 2 + 2 + 6 bytes a parameter, and DDP's copy of the gradients."""
    ddp, fsdp2 = items(two["ddp"]), items(two["fsdp2"])
    assert ddp["weights"] == ddp["gradients"] == ddp["gradients, DDP's buckets"] == 2 * B8
    assert ddp["optimizer"] == 6 * B8
    assert fsdp2["weights"] == fsdp2["gradients"] == 2 * B8 / 16
    assert fsdp2["optimizer"] == 6 * B8 / 16


@pytest.mark.parametrize(
    ("name", "weights", "gradients", "states"),
    [("zero1", 1, 1, 16), ("zero2", 1, 16, 16), ("zero3", 16, 16, 16)],
)
def test_deepspeed_holds_float32_beside_the_weights(two, name: str, weights: int, gradients: int, states: int):
    found = items(two[name])
    assert found["weights"] == 2 * B8 / weights
    assert found["gradients"] == 4 * B8 / gradients
    assert found["optimizer"] == 12 * B8 / states
    assert found["buckets"] == 2 * 200e6 * 2


def test_weights_that_are_brought_together(two):
    """DeepSpeed's billion; two layers of FSDP2, with the embedding and the head."""
    assert items(two["zero3"])["weights of other devices"] == 2e9
    layer = 4096 * (2 * 4096 + 2 * 1024) + 3 * 4096 * 12288
    assert items(two["fsdp2"])["weights of other devices"] == 2 * (2 * layer + 2 * 151_936 * 4096)
    assert items(on_two_nodes("engine=transformers")["fsdp2"])["weights, whole"] == 2 * B8


def test_what_is_offloaded_lies_in_main_memory(two):
    device, main = items(two["zero3_offload"]), {item.name: item.size for item in two["zero3_offload"].memory.main}
    assert device["weights"] == device["gradients, optimizer"] == 0
    assert "optimizer" not in device
    assert main["gradients, optimizer"] == B8 * (4 + 12) / 16
    assert main["weights"] == 2 * B8 / 16


def test_what_fits(two):
    assert {name for name, one in two.items() if one.fits} == {"zero3", "zero3_offload", "fsdp2"}
    assert on_two_nodes("model.reference_offload=true")["zero2"].fits


# --- bytes between GPUs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "tensors"),
    [
        ("single", 0),
        ("ddp", 4 * 2),  # gradients of an update are reduced, and brought together
        ("zero1", 4 * (1 + 1)),  # gradients are reduced, and new weights brought together
        ("zero2", 4 * (8 + 1)),  # gradients after every micro-batch
        ("zero3", 4 * 8 * 3 + 4 * 8 + 1),  # weights twice and gradients; old log-probs; for vLLM
        ("fsdp2", 4 * 8 * 3 + 4 * 8 + 1),
    ],
)
def test_what_each_gpu_sends_in_a_round(two, name: str, tensors: int):
    assert two[name].traffic.between == pytest.approx(tensors * WHOLE)


def test_old_log_probs_that_are_not_computed_are_not_paid_for(two):
    engine = on_two_nodes("algorithm.old_logprobs=engine")["zero3"]
    assert two["zero3"].traffic.between - engine.traffic.between == pytest.approx(4 * 8 * WHOLE)


def test_seconds_are_bytes_over_links(two):
    """Eight cards of 50 GB/s are less than NVLink's 450 GB/s; inside one machine NVLink is all."""
    assert two["ddp"].exchanging == pytest.approx(8 * WHOLE / (400e9 * 0.7))
    slow = on_two_nodes("assume.network_gbit=100", "assume.link_share=0.5")["ddp"]
    assert slow.exchanging == pytest.approx(8 * WHOLE / (100e9 * 0.5))
    alone = on_two_nodes("trainer.num_nodes=1", "assume.network_gbit=1")["ddp"]
    assert alone.exchanging == pytest.approx(8 * 2 * B8 * 7 / 8 / (450e9 * 0.7))


def test_a_reference_that_waits_in_main_memory_is_moved_twice_a_round(two):
    offloaded = on_two_nodes("model.reference_offload=true")["ddp"]
    assert offloaded.exchanging - two["ddp"].exchanging == pytest.approx(2 * 2 * B8 / (64e9 * 0.7))
    assert on_two_nodes("model.reference_offload=true", "algorithm.kl_coef=0")["ddp"].traffic.host == 0


def test_what_an_offloaded_optimizer_moves(two):
    """Weights come up twice a micro-batch, for old log-probs and for vLLM; gradients go down; Adam reads four floats and writes three."""
    traffic = two["zero3_offload"].traffic
    assert traffic.host == pytest.approx((2 * 32 + 32 + 1) * 2 * B8 / 16 + 32 * 4 * B8 / 16)
    assert traffic.adam == pytest.approx(4 * 28 * B8 / 2)


# --- hours and cost --------------------------------------------------------------------------------------------------------


def test_gpu_hours_and_cost(two):
    ddp = two["ddp"]
    assert ddp.round == ddp.hours.total + ddp.exchanging
    assert ddp.gpu_hours == pytest.approx(ddp.round * 143 * 16 / 3600)
    assert ddp.cost == pytest.approx(2.5 * ddp.gpu_hours)
    assert two["single"].gpus == 1
    assert on_two_nodes()["ddp"].cost is None


def test_vllm_divided_among_gpus_reads_its_share_of_the_weights():
    """What 8 processes sample, they sample together: as many bytes of keys and values for each, and an eighth of the weights a token.

    160 responses of one process go in two batches (room for 118), and 1,280 of eight (room for 1,216).
    """
    one, eight = (config_of(f"engine.tensor_parallel_size={n}", "engine.gpu_memory=0.9") for n in (1, 8))
    seconds = [decode_seconds(load, c["engine"], load.assumed) for c in (one, eight) for load in [read_workload(c)]]
    tokens, bandwidth = 1024, 3.35e12 * 0.6
    assert seconds[0] - seconds[1] == pytest.approx(2 * tokens * 2 * B8 * (1 - 1 / 8) / bandwidth, rel=1e-6)


# --- what is shown ---------------------------------------------------------------------------------------------------------


def screen(*overrides: str) -> str:
    console = Console(file=io.StringIO(), width=100, color_system=None)
    rehearse(config_of(*overrides), console)
    return console.file.getvalue()


def test_the_screen_of_a_cluster():
    text = screen("assume.price=2.5")
    table = text[text.index("Strategies on 2 x 8 H100 SXM 80 GB") :]
    assert max(map(len, table.splitlines())) <= 100
    assert "…" not in table
    for name in STRATEGIES:
        assert f"\n{name} " in table
    assert "Strategies on" not in screen("assume.strategies=false")


def test_a_strategy_without_a_line_says_why():
    text = screen("engine.tensor_parallel_size=2")
    assert "\nsingle: engine.tensor_parallel_size needs several processes" in text
    with pytest.raises(ConfigError, match="is not divisible by"):
        screen("trainer.devices=3")


def test_the_tables_of_the_document_are_those_that_the_tool_writes():
    """After a change: python tools/plan_runs.py --write docs/scaling.md."""
    document = (CONF.parent / "docs" / "scaling.md").read_text()
    assert written_between_marks(document, scaling_tables(("qwen3_vl_8b",), (2,))) != document
    tables = document[document.index(MARKS[0]) + len(MARKS[0]) : document.index(MARKS[1])].strip()
    for model in ("qwen3_vl_8b", "qwen3_vl_32b"):
        assert scaling_tables((model,), (2,)) in tables
    with pytest.raises(ConfigError, match="no lines <!-- tables -->"):
        written_between_marks("text", "tables")
