"""Files of ratings, in every form, their groups, and after which prompts their answers are read."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.data.question import Question
from rlaif.data.ratings import Rating, Ratings, read_ratings
from rlaif.errors import UserError, WorkError
from rlaif.io.column_names import parse_columns
from rlaif.models.chat_template import ChatTemplate
from rlaif.recipe import KtoSection, RatingsSection
from rlaif.training.kto.encode import encode_ratings
from rlaif.training.kto.groups import RatedGroup, group_ratings, plan_ratings
from tests.tiny import save_chat_model

BETWEEN = RatingsSection(desirable_from=4, undesirable_to=2)


def read(folder: Path, *rows: Any, columns: str = "", bounds: RatingsSection | None = None) -> Ratings:
    path = folder / "r.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return read_ratings(str(path), parse_columns([columns] if columns else ()), bounds)


def user(text: str) -> Any:
    return {"role": "user", "content": text}


def assistant(text: str) -> Any:
    return {"role": "assistant", "content": text}


SYSTEM = {"role": "system", "content": "Be brief."}
CHAT = [user("Sales?"), assistant("5"), user("Costs?")]


@pytest.mark.parametrize(
    ("row", "prompt", "answer"),
    [
        ({"prompt": "Sales?", "completion": " 5"}, "Sales?", " 5"),
        ({"prompt": "Sales?", "answer": 5}, "Sales?", "5"),
        ({"prompt": CHAT, "completion": [assistant("4")]}, CHAT, [assistant("4")]),
        ({"prompt": CHAT, "completion": "4"}, CHAT, [assistant("4")]),
        ({"prompt": "Sales?", "completion": "5", "system": "Be brief."}, [SYSTEM, CHAT[0]], [assistant("5")]),
        ({"messages": [*CHAT, assistant("4")]}, CHAT, [assistant("4")]),
        ({"messages": json.dumps(CHAT), "answer": "4"}, CHAT, [assistant("4")]),
        ({"messages": [*CHAT, assistant("4")], "completion": None}, CHAT, [assistant("4")]),
        ({"conversations": [{"from": "human", "value": "Sales?"}, {"from": "gpt", "value": "5"}]}, CHAT[:1], CHAT[1:2]),
        ({"question": "Sales?", "context": ["a", "b"], "answer": 5}, Question("q", "Sales?", "a\n\nb"), "5"),
        ({"question": "Sales?", "completion": "5", "prompt": None}, Question("q", "Sales?"), "5"),
    ],
)
def test_every_form_is_read(tmp_path: Path, row: Any, prompt: Any, answer: Any) -> None:
    assert read(tmp_path, {"id": "q", "label": True, **row}).rows == [Rating("q", prompt, answer, True)]


@pytest.mark.parametrize("good", [True, 1, 1.0, "1", "TRUE", "Yes", "thumbs_up", "Thumbs up", "\N{THUMBS UP SIGN}"])
@pytest.mark.parametrize("bad", [False, 0, 0.0, "0", "false", "no", "thumbs-down", "bad", "\N{THUMBS DOWN SIGN}"])
def test_labels_in_every_spelling(tmp_path: Path, good: Any, bad: Any) -> None:
    rows = read(tmp_path, *({"prompt": "a", "completion": str(i), "label": e} for i, e in enumerate((good, bad)))).rows
    assert [row.desirable for row in rows] == [True, False]


def test_numbers_are_good_or_bad_by_bounds_and_left_out_between(tmp_path: Path) -> None:
    given = [{"prompt": "a", "completion": str(n), "stars": n} for n in (1, 2, 3, 4, 5, None)]
    found = read(tmp_path, *given, columns="rating=stars", bounds=BETWEEN)
    assert [(row.answer, row.desirable, row.score) for row in found.rows] == [
        ("1", False, 1), ("2", False, 2), ("4", True, 4), ("5", True, 5),
    ]  # fmt: skip
    assert {reason: len(places) for reason, places in found.left_out.by_reason.items()} == {
        "unrated": 1, "undecided": 1,
    }  # fmt: skip
    below = read(tmp_path, *given, columns="rating=stars", bounds=RatingsSection(desirable_from=4))
    assert [row.desirable for row in below.rows] == [False, False, False, True, True]


def test_what_teaches_nothing_is_left_out_and_counted(tmp_path: Path) -> None:
    rows = [
        {"prompt": "a", "completion": "1", "label": True},
        {"prompt": "a", "completion": "1", "label": True},
        {"prompt": "a", "completion": "2", "label": True},
        {"prompt": "a", "completion": "2", "label": False},
        {"prompt": "a", "completion": " ", "label": True},
        {"prompt": "a", "completion": "3", "label": None},
        {"prompt": "a", "completion": "<think>3", "label": True},
        {"prompt": "a", "completion": "<think>4", "label": False},
        {"prompt": [user("a"), assistant("b")], "completion": [assistant("c")], "label": True},
        {"prompt": [user("a")], "completion": [assistant("b"), user("c"), assistant("d")], "label": True},
        {"messages": [assistant("b")], "label": True},
        {"prompt": "", "completion": "b", "label": True},
    ]
    found = read(tmp_path, *rows)
    assert [row.answer for row in found.rows] == ["1", "<think>4"]
    by_reason = found.left_out.by_reason
    assert {reason: [place.split(":")[1] for place in places] for reason, places in by_reason.items()} == {
        "unrated": ["6"], "empty": ["5"], "no_prompt": ["11", "12"], "several_turns": ["10"], "unasked": ["9"],
        "unfinished": ["7"], "repeated": ["2"], "contradicting": ["3", "4"],
    }  # fmt: skip
    assert found.left_out.line.startswith("10 of 12 rows were left out: 1 without a rating (")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            {"text": "5", "label": 1},
            "no rated answer; expected prompt and completion, messages, or question and answer",
        ),
        ({"prompt": "a", "label": 1}, "no rated answer"),
        ({"completion": "5", "label": 1}, "no rated answer"),
        ({"prompt": "a", "completion": "5"}, "no column 'label'"),
        ({"prompt": "a", "completion": "5", "rating": 3}, "--set ratings.desirable_from=NUMBER"),
        ({"prompt": "a", "completion": "5", "label": 3}, "label: expected true or false, 1 or 0, thumbs up or thumbs"),
        *(({"prompt": "a", "completion": "5", "label": e}, "label: expected true or false") for e in (-1, "-1", "_1")),
        ({"prompt": "a", "completion": "5", "answer": "6", "label": 1}, "answer: the row has a completion too"),
        ({"messages": CHAT, "label": 1}, "messages: has no last answer"),
        (
            {"prompt": CHAT, "completion": [user("5")], "label": 1},
            "completion: expected messages that end with a turn of",
        ),
        ({"question": "a", "answer": "5", "system": "b", "label": 1}, "system: the policy's template asks a question"),
        ({"prompt": "a", "completion": "5", "label": 1, "source": "judge"}, "source: expected ai or human"),
        ({"prompt": "a", "completion": "", "label": 1}, "no rating is left: 1 with an empty answer"),
        ({"prompt": "a", "completion": "5", "Label": 1}, "column 'Label' looks like label"),
    ],
)
def test_a_row_without_a_rating_is_one_line(tmp_path: Path, row: Any, said: str) -> None:
    with pytest.raises(UserError) as error:
        read(tmp_path, row)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("rating", "said"), [(rating, "rating: expected a number") for rating in ("four", float("inf"), True)]
)
def test_a_rating_that_is_no_number_is_one_line(tmp_path: Path, rating: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read(tmp_path, {"prompt": "a", "completion": "5", "rating": rating}, bounds=BETWEEN)
    with pytest.raises(UserError, match="no column 'rating'"):
        read(tmp_path, {"prompt": "a", "completion": "5", "label": 1}, bounds=BETWEEN)


@pytest.mark.parametrize("bounds", [{"undesirable_to": 2.0}, {"desirable_from": 2.0, "undesirable_to": 2.0}])
def test_bounds_that_cannot_work_are_refused(bounds: Any) -> None:
    with pytest.raises(ValueError, match="undesirable_to"):
        RatingsSection(**bounds)


WORDS = ["Be", "brief", "Sales?", "Costs?", "5", "4", "Question:", "assistant:"]


def test_a_rated_answer_is_learned_as_it_is_sampled(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(save_chat_model(tmp_path, WORDS))
    rated = [
        Rating("chat", CHAT, [assistant("4")], False, source="ai"),
        Rating("text", "Sales?", " 5", True, 4.0),
        Rating("long", "Sales? " * 200, "5", True),
    ]
    encoded = encode_ratings(rated, tokenizer, ChatTemplate(tokenizer), 100)
    assert encoded.too_long == ["long"]
    chat, text = encoded.rows
    assert tokenizer.decode(chat["token_ids"]).split() == ["assistant", "4", "<end>"]
    assert tokenizer.decode(chat["prompt_token_ids"]).split()[-3:] == ["user", "Costs?", "<end>"]
    assert tokenizer.decode(text["token_ids"]).split() == ["5", "<end>"]
    assert (chat["desirable"], chat["source"], text["score"]) == (False, "ai", 4.0)


def row(number: int, prompt: tuple[int, ...], answer: tuple[int, ...]) -> dict[str, Any]:
    return {
        "rating_id": str(number), "prompt_token_ids": prompt, "token_ids": answer, "desirable": number % 2 > 0,
        "source": "human",
    }  # fmt: skip


@st.composite
def rated_groups(draw: st.DrawFn) -> list[RatedGroup]:
    sizes = draw(st.lists(st.integers(1, 5), min_size=2, max_size=9))
    rows = [row(n, (1,) * (1 + prompt), (2, prompt, n)) for prompt, size in enumerate(sizes) for n in range(size)]
    return group_ratings(rows)


@given(
    groups=rated_groups(), per_step=st.integers(2, 12), epochs=st.integers(1, 3), workers=st.integers(1, 3),
    max_tokens=st.integers(64, 90), seed=st.integers(0, 99),
)  # fmt: skip
def test_every_answer_of_a_step_is_read_after_another_prompt_whatever_the_packs(
    groups: list[RatedGroup], per_step: int, epochs: int, workers: int, max_tokens: int, seed: int
) -> None:
    settings = KtoSection(ratings_per_step=per_step, epochs=epochs, max_tokens_per_pack=max_tokens)
    found, plan = plan_ratings(groups, settings, context=None, workers=workers, seed=seed)
    assert len(found) == epochs * len(groups)
    assert sorted(index for pack in plan.packs for index in pack.groups) == list(range(len(found)))
    per_packs = plan.accumulation * plan.workers
    for step in range(plan.steps):
        packs = plan.packs[step * per_packs : (step + 1) * per_packs]
        own = [found[index] for pack in packs for index in pack.groups]
        assert {pack.step_weight for pack in packs} == {float(sum(len(group.candidates) for group in own))}
        for group in own:
            assert group.mismatched is not None
            assert group.mismatched.group.candidates == group.candidates
            assert group.mismatched.group.prompt_token_ids != group.prompt_token_ids
        if len(own) > 1:
            others = [group.mismatched.group.prompt_token_ids for group in own if group.mismatched]
            assert sorted(others) == sorted(group.prompt_token_ids for group in own)


def test_answers_that_another_prompt_leaves_no_room_for_are_not_read_after_it() -> None:
    groups = group_ratings([row(0, (1, 2), (3,)), row(1, (1, 2), (3,) * 5), row(2, (1,) * 6, (4,))])
    found, _ = plan_ratings(groups, KtoSection(), context=8, workers=1, seed=0)
    read_after = {group.ids[0]: group.mismatched for group in found}
    assert read_after["0"] is not None
    assert read_after["0"].group.candidates == ((3,),)
    shorter, _ = plan_ratings(groups, KtoSection(), context=3, workers=1, seed=0)
    read_after = {group.ids[0]: group.mismatched for group in shorter}
    assert read_after["0"] is None
    assert read_after["2"] is not None
    assert read_after["2"].group.prompt_token_ids == (1, 2)


def test_answers_to_one_prompt_are_refused() -> None:
    with pytest.raises(WorkError, match="all ratings are of answers to one prompt"):
        plan_ratings(
            group_ratings([row(0, (1,), (2,)), row(1, (1,), (3,))]), KtoSection(), context=None, workers=1, seed=0
        )
