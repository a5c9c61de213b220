"""The config as flat parameters."""

from tracer1.tracking.config_text import flatten, to_plain, without_passwords


def test_flatten_names_leaves_by_their_path_and_cuts() -> None:
    config = {"trainer": {"max_epochs": 3, "callbacks": {}}, "terms": [{"a": 1}], "long": "x" * 7000, "odd key!": None}
    flat = flatten(config)
    assert flat["trainer.max_epochs"] == "3"
    assert flat["trainer.callbacks"] == "{}"
    assert flat["terms"] == "[{'a': 1}]"
    assert flat["odd key_"] == "None"
    assert len(flat["long"]) == 6000


def test_secrets_are_hidden_and_tokens_of_text_are_not() -> None:
    plain = to_plain({"executor": {"api_key": "s3cret", "max_tokens": 5, "password": ""}, "eos_token": "<end>"})
    assert plain == {"executor": {"api_key": "***", "max_tokens": 5, "password": "***"}, "eos_token": "<end>"}
    assert without_passwords("http://me:pw@host:5000/x") == "http://me:***@host:5000/x"
    assert without_passwords("sqlite:///mlflow.db") == "sqlite:///mlflow.db"
