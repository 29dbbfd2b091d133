"""A reward model as a judge: random weights of a few kilobytes, scored in batches and one by one."""

import asyncio
import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from rlaif.data.question import Question
from rlaif.errors import UserError
from rlaif.judges.build import build_judge
from rlaif.judges.judge import Judge
from rlaif.judges.judge_file import load_judge_file
from rlaif.judges.reward_scores import RewardModel

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TEMPLATE = "{% for message in messages %}{{ message.role }} {{ message.content }} <end> {% endfor %}"
WORDS = ["<pad>", "<unk>", "<end>", "user", "assistant", "system", *"abcdefgh", "Question:"]


def save(
    folder: Path,
    *,
    labels: int = 1,
    template: str | None = TEMPLATE,
    head: bool = True,
    pad: str | None = "<pad>",
    side: str = "right",
) -> str:
    """Write a Llama of one layer with a word tokenizer, and return its folder."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<end>", pad_token=pad, padding_side=side
    )
    fast.chat_template = template
    fast.save_pretrained(folder)
    config = transformers.LlamaConfig(
        vocab_size=len(WORDS), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=64, num_labels=labels, bos_token_id=None, eos_token_id=2,
        pad_token_id=fast.pad_token_id if pad in WORDS else None,
    )  # fmt: skip
    torch.manual_seed(0)
    kind = transformers.LlamaForSequenceClassification if head else transformers.LlamaForCausalLM
    kind(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save(tmp_path_factory.mktemp("reward-model"))


def judge(folder: Path, model: str, settings: str = "") -> Judge:
    path = folder / "rm.yaml"
    path.write_text(f"kind: reward-model\nmodel: {model}\ndevice: cpu\n{settings}", encoding="utf-8")
    return build_judge(load_judge_file(str(path)), None)  # type: ignore[arg-type]


def chat(words: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": "Question: a"}, {"role": "assistant", "content": words}]


def scores(model: RewardModel, chats: Sequence[list[dict[str, str]]]) -> list[float | None]:
    return [reward.score for reward in asyncio.run(model.rewards(chats))]


def test_scores_are_those_of_the_model_in_any_batch(model: str) -> None:
    chats = [chat(words) for words in ("b", "b c d e f g h b c d", "c c", "h g f e d")]
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    alone = transformers.AutoModelForSequenceClassification.from_pretrained(model)
    wanted = []
    for one in chats:
        ids = torch.tensor([tokenizer.apply_chat_template(one, tokenize=True, return_dict=False)])
        with torch.no_grad():
            wanted.append(alone(input_ids=ids).logits[0, 0].item())
    assert len(set(wanted)) == 4
    for batch_size in (1, 3, 8):
        assert scores(RewardModel(model, batch_size, "cpu"), chats) == pytest.approx(wanted, abs=1e-5)


PADDINGS = {
    "a token of its own": {},
    "the end token": {"pad": "<end>"},
    "none": {"pad": None},
    "a word": {"pad": "h"},
    "a token without an embedding": {"pad": "<added>"},
    "on the left": {"side": "left"},
    "the end token on the left": {"pad": "<end>", "side": "left"},
}


@pytest.mark.parametrize("name", PADDINGS)
def test_a_score_is_read_at_the_last_token_whatever_pads_a_batch(tmp_path: Path, name: str) -> None:
    folder = save(tmp_path, **PADDINGS[name])  # type: ignore[arg-type]
    chats = [chat(words) for words in ("b", "b c d e f g h b c d", "c h", "h g f e h")]
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    alone = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    wanted = []
    for one in chats:
        ids = tokenizer.apply_chat_template(one, tokenize=True, return_dict=False)
        assert ids[-1] == tokenizer.eos_token_id
        with torch.no_grad():
            wanted.append(alone.score(alone.model(torch.tensor([ids])).last_hidden_state)[0, -1, 0].item())
    for batch_size in (1, 3, 8):
        assert scores(RewardModel(folder, batch_size, "cpu"), chats) == pytest.approx(wanted, abs=1e-5)


def test_the_higher_score_is_preferred_by_the_logistic_function_of_the_difference(tmp_path: Path, model: str) -> None:
    answers = ["b", "c d e", "b"]
    built = judge(tmp_path, model)
    prompt = Question("q", "a")
    verdicts = asyncio.run(built.verdicts(prompt, answers))
    assert [(v.first, v.second, v.status, v.order) for v in verdicts] == [(i, None, "ok", "single") for i in range(3)]
    first, second, third = (verdict.score or 0.0 for verdict in verdicts)
    assert first == third != second
    assert verdicts[0].prompt_tokens > 0
    assert verdicts[2].prompt_tokens == 0
    assert verdicts[1].text == f"reward {second:.4f}"
    one, same, _ = built.decide("q", 3, verdicts)
    assert one.preference == pytest.approx(1 / (1 + math.exp(second - first)))
    assert one.margin == pytest.approx(abs(first - second))
    assert (same.status, same.preference) == ("tie", None)


def test_a_conversation_too_long_for_the_model_is_an_error_and_affects_no_other(tmp_path: Path, model: str) -> None:
    built = judge(tmp_path, model, "batch_size: 2")
    verdicts = asyncio.run(built.verdicts(Question("q", "a"), ["b", "c " * 100]))
    assert [(verdict.status, verdict.score is None) for verdict in verdicts] == [("ok", False), ("error", True)]
    assert verdicts[1].text.endswith(f"tokens, but {model} takes 64")
    assert built.decide("q", 2, verdicts)[0].status == "error"


def test_prompts_that_are_judged_at_once_share_batches(model: str) -> None:
    reward_model = RewardModel(model, 8, "cpu")

    async def at_once() -> list[list[float | None]]:
        parts = await asyncio.gather(*(reward_model.rewards([chat(word), chat(word + " b")]) for word in "bcdefgh"))
        return [[reward.score for reward in part] for part in parts]

    together = asyncio.run(at_once())
    assert together == [pytest.approx(scores(reward_model, [chat(word), chat(word + " b")])) for word in "bcdefgh"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": 3}, "3 outputs; expected a reward model with one"),
        ({"head": False}, "not a reward model: it has no weights for score.weight"),
        ({"template": None}, "its tokenizer has no chat template"),
    ],
)
def test_a_model_without_one_output_is_refused(tmp_path: Path, options: dict[str, object], message: str) -> None:
    folder = save(tmp_path, **options)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=message):
        scores(RewardModel(folder, 1, "cpu"), [chat("b")])


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match="transformers cannot load it as a sequence classifier"):
        scores(RewardModel(str(tmp_path), 1, "cpu"), [chat("b")])
