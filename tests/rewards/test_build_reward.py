"""How rewards are named, set, weighed and added up, and what a mistake says."""

import math

import pytest
from omegaconf import OmegaConf

from tracer1.errors import ConfigError, RewardError, UnknownName
from tracer1.rewards import REWARDS, build_reward
from tracer1.schema import Rollout


@pytest.fixture
def toy_reward(monkeypatch: pytest.MonkeyPatch):
    """Registers a function as reward `toy` for one test."""

    def register(function):
        monkeypatch.setitem(REWARDS._table, "toy", function)

    return register


def test_stage_1_is_nine_parts_accuracy_and_one_part_format(make_rollout):
    reward = build_reward({"trajectory_alignment": {"weight": 0.9, "gamma": 0.8}, "format": {"weight": 0.1}})
    total, terms = reward(make_rollout("click", "click type"))
    assert terms == {"trajectory_alignment": pytest.approx(0.525), "format": 1.0}  # (1 + 0.2 - 0.15) / 2
    assert total == pytest.approx(0.9 * 0.525 + 0.1)


def test_a_weight_is_one_unless_given_and_may_be_negative(make_rollout):
    total, terms = build_reward({"format": None, "repetition": {"weight": -0.5}})(make_rollout("click"))
    assert terms == {"format": 1.0, "repetition": 1.0}
    assert total == 0.5


def test_a_hydra_config_will_do(make_rollout):
    terms = OmegaConf.create({"trajectory_alignment": {"weight": 0.9, "gamma": 0.5}, "format": {}})
    assert build_reward(terms)(make_rollout("wait"))[0] == pytest.approx(1.9)


def test_unknown_rewards_name_the_nearest():
    with pytest.raises(UnknownName, match=r"No reward 'trajectory_alinment'\. Did you mean 'trajectory_alignment'\?"):
        build_reward({"trajectory_alinment": {}})


def test_unknown_settings_name_the_nearest_and_list_the_known():
    with pytest.raises(
        ConfigError, match=r"terms\.format has no setting 'require_instruction'.*'require_step_instruction'"
    ) as caught:
        build_reward({"format": {"require_instruction": True}})
    assert "Known: weight, require_step_instruction." in str(caught.value)
    with pytest.raises(ConfigError, match=r"Did you mean 'weight'\?"):
        build_reward({"repetition": {"wieght": 1}})
    with pytest.raises(ConfigError, match="no setting 'rollout'"):
        build_reward({"format": {"rollout": 1}})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gamma": "high"}, r"trajectory_alignment\.gamma is 'high'; it must be a finite number"),
        ({"gamma": True}, "gamma is True; it must be a finite number"),
        ({"gamma": None}, "gamma is None"),
        ({"gamma": math.nan}, "gamma is nan"),
        ({"overlong_margin": 2.5}, r"overlong_margin is 2\.5; it must be a whole number"),
        ({"ignore_reference_repetition": 1}, "ignore_reference_repetition is 1; it must be true or false"),
        ({"weight": "0.9"}, "weight is '0.9'; it must be a finite number"),
        ({"weight": math.inf}, "weight is inf"),
        (0.9, r"trajectory_alignment holds 0\.9\. Write its settings as"),
    ],
)
def test_ill_typed_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        build_reward({"trajectory_alignment": settings})


def test_whole_numbers_are_numbers(make_rollout):
    assert build_reward({"trajectory_alignment": {"gamma": 1, "weight": 2}})(make_rollout("wait"))[0] == 2


@pytest.mark.parametrize("terms", [{}, None, "format"])
def test_no_terms_are_refused(terms):
    with pytest.raises(ConfigError, match=r"reward\.terms is empty"):
        build_reward(terms)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None, "1"])
def test_what_is_not_a_finite_number_names_the_step(value, toy_reward, make_rollout):
    toy_reward(lambda rollout: value)
    with pytest.raises(RewardError, match=r"Reward 'toy' on step 'toy-b-007' gave .*finite number"):
        build_reward({"toy": {}})(make_rollout("wait", key="toy-b-007"))


def test_a_reward_that_raises_names_the_step_and_keeps_the_cause(toy_reward, make_rollout):
    def broken(rollout: Rollout) -> float:
        return 1 / 0

    toy_reward(broken)
    with pytest.raises(
        RewardError, match=r"'toy' on step 'toy-b-007' raised ZeroDivisionError: division by zero"
    ) as caught:
        build_reward({"toy": {}})(make_rollout("wait", key="toy-b-007"))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_plugin_s_annotations_may_be_text_and_its_settings_open(toy_reward, make_rollout):
    def toy(rollout: "Rollout", *, k: "float" = 0.0, **more) -> "float":
        return k

    toy_reward(toy)
    assert build_reward({"toy": {"k": 3}})(make_rollout("wait"))[0] == 3
    with pytest.raises(ConfigError, match="k is 'x'; it must be a finite number"):
        build_reward({"toy": {"k": "x"}})
