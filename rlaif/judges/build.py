"""Makes judges from their specs, closes what they open, and limits what their endpoints may charge."""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager

from rlaif.errors import UserError
from rlaif.inference.credentials import read_credentials
from rlaif.inference.limits import ErrorShare, Spending
from rlaif.inference.requests import Backends, ModelBackend
from rlaif.inference.response_cache import CachedBackend, ResponseCache
from rlaif.judges.endpoints import Endpoints, Trial
from rlaif.judges.http_judge import HttpClient, HttpSpec
from rlaif.judges.judge import Judge
from rlaif.judges.llm import LlmSpec
from rlaif.judges.model_client import model_client
from rlaif.judges.overlap import OverlapJudge, OverlapSpec
from rlaif.judges.own_judge import OwnJudge, OwnSpec
from rlaif.judges.pairwise import PairwiseJudge
from rlaif.judges.panel import FirstToDecide, PanelSpec, Vote
from rlaif.judges.python_judge import PythonSpec
from rlaif.judges.python_processes import PythonProcesses
from rlaif.judges.rating import PointwiseJudge, ReferenceJudge, ReferenceSpec, RewardModelJudge, RewardModelSpec
from rlaif.judges.reward_scores import RewardModel
from rlaif.judges.spec import JudgeSpec
from rlaif.judges.visible_answers import VisibleAnswers
from rlaif.models.template_source import check_chat_template
from rlaif.recipe import PolicySection
from rlaif.recipe.judge import OpenAIBackend


def build_judge(
    spec: JudgeSpec, backends: Backends, *, spending: Spending | None = None, cache: ResponseCache | None = None
) -> Judge:
    """Return the judge of a spec, whose connections stay open.

    It sees of each answer the visible part alone, and so does each member of a panel.

    Args:
        backends: serves the models of our own engines.
        spending: counts what endpoints charge, and stops at the limit.
        cache: answers repeated requests; None sends every request.

    Raises:
        UserError: a key of an endpoint or of a URL is not in the environment.
    """
    return _build(spec, backends, cache, Endpoints(spending or Spending(), cache))


@asynccontextmanager
async def open_judge(
    spec: JudgeSpec,
    backends: Backends,
    *,
    spending: Spending | None = None,
    cache: ResponseCache | None = None,
    trial: Trial | None = None,
) -> AsyncIterator[Judge]:
    """Open the judge of a spec for a block, and close its connections at the end; see `build_judge`.

    Args:
        trial: what each of its endpoints and of the user's functions and URLs is asked first; None asks nothing.

    Raises:
        WorkError: one of them cannot answer.
    """
    endpoints = Endpoints(spending or Spending(), cache)
    async with aclosing(endpoints):
        judge = _build(spec, backends, cache, endpoints)
        if trial is not None:
            await endpoints.try_out(trial)
        yield judge


def _build(spec: JudgeSpec, backends: Backends, cache: ResponseCache | None, endpoints: Endpoints) -> Judge:
    if not isinstance(spec, PanelSpec):
        return VisibleAnswers(_single_judge(spec, backends, cache, endpoints))
    members = tuple(_build(member, backends, cache, endpoints) for member in spec.members)
    return FirstToDecide(spec, members) if spec.mode == "first-to-decide" else Vote(spec, members)


def _single_judge(spec: JudgeSpec, backends: Backends, cache: ResponseCache | None, endpoints: Endpoints) -> Judge:
    match spec:
        case ReferenceSpec():
            return ReferenceJudge(spec)
        case OverlapSpec():
            return OverlapJudge(spec)
        case RewardModelSpec():
            return RewardModelJudge(spec, RewardModel(spec.model, spec.batch_size, spec.device))
        case LlmSpec():
            backend = _backend(spec, backends, cache, endpoints)
            return PairwiseJudge(spec, model_client(spec, backend)) if spec.pairwise else PointwiseJudge(spec, backend)
        case PythonSpec() | HttpSpec():
            return _own_judge(spec, cache, endpoints)
    raise TypeError(f"{spec.name}: no judge for a {type(spec).__name__}")


def _own_judge(spec: PythonSpec | HttpSpec, cache: ResponseCache | None, endpoints: Endpoints) -> OwnJudge:
    asker = PythonProcesses(spec) if isinstance(spec, PythonSpec) else HttpClient(spec)
    errors = ErrorShare(spec.max_error_share, f"judge {spec.name}", unit="questions")
    return endpoints.add_own(OwnJudge(spec, asker, cache, errors))


def _backend(spec: LlmSpec, backends: Backends, cache: ResponseCache | None, endpoints: Endpoints) -> ModelBackend:
    if isinstance(spec.backend, OpenAIBackend):
        return endpoints.open(spec, spec.backend)
    backend = backends.vllm(spec.model)
    if cache is None or not backend.identity:
        # Weights without a name may be others tomorrow.
        return backend
    return CachedBackend(backend, cache, together=True)


async def ask_endpoints(spec: JudgeSpec) -> list[str]:
    """Ask each endpoint and each function or URL of a judge one small question, and return their names.

    Raises:
        UserError: an endpoint's key is not in the environment.
        WorkError: one cannot answer.
    """
    asked = []
    async with aclosing(Endpoints(Spending(), None)) as endpoints:
        for leaf in spec.leaves:
            if isinstance(leaf, LlmSpec) and isinstance(leaf.backend, OpenAIBackend):
                endpoints.open(leaf, leaf.backend)
                asked.append(f"{leaf.backend.model} at {leaf.backend.base_url}")
            elif isinstance(leaf, PythonSpec | HttpSpec):
                _own_judge(leaf, None, endpoints)
                asked.append(leaf.asks)
        await endpoints.try_out(Trial(engines=True))
    return list(dict.fromkeys(asked))


def remote_judges(spec: JudgeSpec) -> list[tuple[LlmSpec, OpenAIBackend]]:
    """Return the judges that ask an endpoint, with their backends."""
    return [
        (leaf, leaf.backend)
        for leaf in spec.leaves
        if isinstance(leaf, LlmSpec) and isinstance(leaf.backend, OpenAIBackend)
    ]


def check_environment(spec: JudgeSpec) -> None:
    """Raise UserError if a key that the judges send is not in the environment."""
    for _, backend in remote_judges(spec):
        read_credentials(backend)
    for leaf in spec.leaves:
        if isinstance(leaf, HttpSpec):
            leaf.credentials()


def check_judge_templates(spec: JudgeSpec, policy: PolicySection) -> None:
    """Check that each model that the judges ask on this side has a chat template, which uses what it is given.

    Args:
        policy: the model behind the name `policy` of a judge file.

    Raises:
        UserError: there is no such model, it has no chat template, or the template does not use an argument.
    """
    for leaf in spec.leaves:
        if isinstance(leaf, RewardModelSpec):
            check_chat_template(leaf.model, key=str(leaf.path))
        elif isinstance(leaf, LlmSpec) and leaf.models:
            name, revision = (policy.model, policy.revision) if leaf.model == "policy" else (leaf.model, None)
            key = f"{leaf.path}: backend.chat_template_kwargs"
            check_chat_template(name, revision, leaf.chat_template_kwargs, key=key)


def is_cached_in_runs(spec: JudgeSpec) -> bool:
    """Return whether a run keeps answers of a judge in the response cache: those that cost more than our engines' do.

    They are paid for, even if a kill comes before they are stored with the run.
    """
    return bool(remote_judges(spec)) or any(isinstance(leaf, OwnSpec) for leaf in spec.leaves)


def limited_spending(
    specs: Sequence[JudgeSpec], limit: float | None, spent: float = 0.0, name: str = "judge.max_cost"
) -> Spending:
    """Return the account of judges that share it.

    Args:
        limit: in the currency of their prices.
        spent: by earlier starts.
        name: of the setting that holds the limit.

    Raises:
        UserError: there is a limit, but no endpoint, no prices to hold it by, or several currencies.
    """
    remote = [each for spec in specs for each in remote_judges(spec)]
    currencies = {backend.prices.currency for _, backend in remote if backend.prices is not None}
    if limit is not None:
        if not remote:
            asked = " or ".join(f"judge {spec.name}" for spec in specs)
            raise UserError(f"{name}: {asked} asks no endpoint that charges; expected no limit")
        for leaf, backend in remote:
            if backend.prices is None:
                raise UserError(f"{name}: {leaf.path} has no backend.prices to hold the limit by")
        if len(currencies) > 1:
            raise UserError(
                f"{name}: the judges' prices are in {' and '.join(sorted(currencies))}; expected one currency"
            )
    return Spending(limit, spent, min(currencies, default="USD"), name)
