"""The provenance of a preference pair: its question, candidates, policy, verdicts and decision, and what it trained.

`rlaif.store.trace` builds it from a run. The id of a policy and each `_sha` are sha256.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rlaif.data.criteria import Mark


@dataclass(frozen=True, slots=True)
class TracedChunk:
    """A chunk that a context was retrieved as: a row of `prompts/contexts.parquet`.

    Attributes:
        document, sha256, page: where it is; None if that file is gone.
        rank: from 1, the best.
    """

    id: str
    document: str | None
    sha256: str | None
    page: int | None
    rank: int
    score: float | None

    @property
    def shown(self) -> str:
        """The chunk in one line."""
        return self.id if self.document is None else f"{self.id}  {self.document}, page {self.page}"


@dataclass(frozen=True, slots=True)
class TracedQuestion:
    """The question of a pair.

    Attributes:
        messages: the prompt that the policy was sent, `{"role", "content"}` each.
        tokens: length of the encoded prompt.
        question, context, reference, doc_link: columns of `prompts/train.parquet` (`reference` is the gold answer);
            None if that file is gone.
        chunks: what the context was retrieved as, best first; empty where it was not retrieved.
        withheld: whether the evidence was left out of the context, so that a refusal is right.
    """

    id: str
    messages: list[dict[str, str]]
    tokens: int
    question: str | None
    context: str | None
    reference: str | None
    doc_link: str | None
    chunks: tuple[TracedChunk, ...] = ()
    withheld: bool = False


@dataclass(frozen=True, slots=True)
class TracedCandidate:
    """One of the two candidates.

    Attributes:
        index: number of the candidate among those of its question; None where the run did not sample it.
        logprob: sum of its tokens' log-probabilities under the policy that sampled it, in nats; None without one.
        finish_reason, seed: None if the shards of candidates are gone.
    """

    index: int | None
    text: str
    tokens: int
    logprob: float | None
    finish_reason: str | None
    seed: int | None


@dataclass(frozen=True, slots=True)
class TracedPolicy:
    """The policy that sampled the pair.

    Attributes:
        id: None where the run did not sample the pair.
        kind: `base` is the initial model, `lora` an adapter on it, `full` new weights; None if the run has no policy
            of that id.
        model: the initial model.
        round: the round that trained it; None for the initial policy.
        files: sha256 of each file of its weights; empty for the initial policy.
    """

    id: str | None
    kind: str | None
    model: str | None
    round: int | None
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TracedVerdict:
    """One raw verdict on the two candidates, or on one of them.

    Attributes:
        first, second: the judged candidates; `second` is None if one was rated alone.
        order: `ab` showed `first` first, `ba` showed `second` first, `single` showed one.
        status: `ok`, `tie`, `unparsed`, `error` or `silent`.
        preference: P(first is better), for an `ok` on two.
        score: the rating of `first`, for an `ok` on one.
        text: the judge's reply, verbatim.
        marks: the marks that a rating by criteria is made of.
    """

    judge: str
    judge_sha: str
    prompt_sha: str
    first: int
    second: int | None
    order: str
    status: str
    preference: float | None
    score: float | None
    prefers: Literal["chosen", "rejected"] | None
    text: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class TracedDecision:
    """The decision that made one candidate the chosen one.

    Attributes:
        source: `ai` or `human`.
        labelled_by: the people who say so, where they decided a comparison of the run.
        judge, judge_sha: None of a person's pair.
        prompt, model: the judge's template and the model that it asks; None for a judge without one.
        score_chosen, score_rejected: the judge's ratings, if it rates.
    """

    source: str
    margin: float | None
    judge: str | None
    judge_sha: str | None
    prompt: str | None
    prompt_sha: str | None
    model: str | None
    score_chosen: float | None
    score_rejected: float | None
    labelled_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TracedTraining:
    """The training in the pair's round.

    Attributes:
        policy: id of the policy that was trained on the pair; None before that.
        promoted: whether that policy became the current one; None while undecided.
        metric, before, after: the metric that the gate compared, of the current policy and of the trained one.
        gate: the same in words, with the interval that decided.
    """

    round: int
    policy: str | None
    steps: int | None
    promoted: bool | None
    metric: str | None
    before: float | None
    after: float | None
    gate: str | None = None


@dataclass(frozen=True, slots=True)
class Lineage:
    """A pair's whole provenance; `missing` names the facts that the run does not hold (any more, or yet)."""

    run: str
    pair_id: str
    prompt: TracedQuestion
    chosen: TracedCandidate
    rejected: TracedCandidate
    policy: TracedPolicy
    verdicts: tuple[TracedVerdict, ...]
    decision: TracedDecision
    training: TracedTraining
    missing: tuple[str, ...]
