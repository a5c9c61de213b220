"""Backends by their settings, and tools without any."""

import pytest

from tracer1.errors import ConfigError, UnknownName
from tracer1.toolbox.backends import BACKENDS, ROLES, Backends, kinds, make_backends
from tracer1.toolbox.spec import ToolError


def test_every_role_has_a_kind():
    assert all(kinds(role) for role in ROLES)
    for name in BACKENDS.names():
        assert BACKENDS.get(name)


def test_nothing_configured_is_nothing_there():
    assert make_backends(None) == make_backends({}) == make_backends({"vision": None}) == Backends()


@pytest.mark.parametrize("role", ROLES)
def test_what_is_not_there_is_unavailable_and_says_how_to_get_it(role):
    with pytest.raises(ToolError, match=rf"executor\.backends\.{role}=") as raised:
        Backends().need(role)
    assert raised.value.kind == "unavailable"


def test_a_kind_alone_will_do():
    assert make_backends({"search": "ddgs"}).search.identity == "ddgs"


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"vison": "chat"}, UnknownName, "Did you mean 'vision'"),
        ({"search": "ddg"}, UnknownName, "Did you mean 'ddgs'"),
        ({"search": {"url": "http://a"}}, UnknownName, "Known: ddgs, google, searxng"),
        ({"search": {"kind": "searxng"}}, ConfigError, "url"),
        ({"search": {"kind": "searxng", "ulr": "http://a"}}, ConfigError, "Did you mean 'url'"),
        ({"search": {"kind": "searxng", "url": 5}}, ConfigError, "must be text"),
        ({"search": {"kind": "ddgs", "attempts": True}}, ConfigError, "must be a whole number"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, error, says):
    with pytest.raises(error, match=says):
        make_backends(settings)


@pytest.mark.parametrize(
    ("kind", "variable"), [("serper", "SERPER_API_KEY"), ("tavily", "TAVILY_API_KEY"), ("google", "GOOGLE_")]
)
def test_a_key_that_is_not_there_is_said_at_once(kind, variable, monkeypatch):
    for name in ("SERPER_API_KEY", "TAVILY_API_KEY", "GOOGLE_API_KEY", "GOOGLE_CSE_ID"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match=variable):
        make_backends({"search": kind})


def test_identities_tell_models_apart():
    def identity(**settings):
        made = make_backends({"vision": {"kind": "transformers", "model": "a", **settings}})
        return made.identity("vision language ")

    assert identity() == identity()
    assert len({identity(), identity(model="b"), identity(max_tokens=5)}) == 3
    assert Backends().identity("vision") == ""
