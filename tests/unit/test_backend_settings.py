"""What an endpoint's backend writes down, and what it refuses before anything is asked."""

import pytest

from rlaif.errors import UserError
from rlaif.inference.limits import Spending
from rlaif.inference.openai_server import OpenAIServer
from rlaif.recipe.judge import OpenAIBackend


def test_no_record_or_message_shows_a_headers_value(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = OpenAIBackend(
        type="openai", model="m", api_key_env=None, headers={"A": "${TOKEN}", "B": "in plain words"}
    )
    assert "plain words" not in repr(backend) + backend.model_dump_json() + str(backend.identity)
    assert backend.model_dump(mode="json")["headers"] == {"A": "${TOKEN}", "B": "***"}
    monkeypatch.delenv("TOKEN", raising=False)
    with pytest.raises(UserError, match=r"the environment variable TOKEN, which is not set \(backend\.headers\.A"):
        OpenAIServer(backend, Spending())
    monkeypatch.setenv("TOKEN", "t")
    again = OpenAIBackend.model_validate(backend.model_dump(mode="json"))
    with pytest.raises(UserError, match=r"backend\.headers\.B of the judge file: its value was not stored"):
        OpenAIServer(again, Spending())
    monkeypatch.setenv("TOKEN", "schlüssel")
    with pytest.raises(UserError, match=r"backend\.headers\.A .*: expected a text of printable ASCII") as refused:
        OpenAIServer(backend, Spending())
    assert "schlüssel" not in str(refused.value)


@pytest.mark.parametrize("key", ["schlüssel", "two\nlines", "bell\a"])
def test_a_key_that_cannot_be_sent_is_refused_before_anything_is_asked(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(
        UserError, match="environment variable OPENAI_API_KEY, of printable ASCII characters"
    ) as refused:
        OpenAIServer(OpenAIBackend(type="openai", model="m"), Spending())
    assert key not in str(refused.value)


def test_what_decides_answers_is_in_the_identity_and_a_default_is_not() -> None:
    plain = OpenAIBackend(type="openai", model="m")
    assert set(plain.identity) == {"type", "model", "base_url"}
    for key, value in (("top_p", 0.5), ("reasoning_effort", "low"), ("extra_body", {"a": 1})):
        assert OpenAIBackend(type="openai", model="m", **{key: value}).identity[key] == value
    other = OpenAIBackend(type="openai", model="m", headers={"A": "b"}, max_error_share=0.1, token_limit="max_tokens")
    assert other.identity == plain.identity
