"""The list of metric names is closed."""

from pathlib import Path

import pytest

from tracer1.errors import ConfigError
from tracer1.tracking.metric_names import METRICS, check_names, explain


@pytest.mark.parametrize(
    "name",
    [
        "reward/total",
        "reward/trajectory_alignment",
        "time/scoring_s",
        "val/gui-odyssey/step_success",
        "system/rss_gb",
        "round",
    ],
)
def test_names_of_the_list_pass(name: str) -> None:
    check_names([name])


@pytest.mark.parametrize(
    "name", ["rewards/total", "policy/kl_loss", "time/scoring", "val/step_success", "optim/lr/x", "loss", "reward/"]
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="closed list"):
        check_names(["reward/total", name])


def test_message_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'optim/grad_norm'"):
        check_names(["optim/gradnorm"])


def test_explanation_has_a_row_for_every_name() -> None:
    assert len(explain().splitlines()) == len(METRICS) + 2
    assert all(METRICS.values())


def test_the_documentation_holds_the_list_as_it_is():
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert explain() in page
