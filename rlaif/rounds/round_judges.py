"""The judge of each round: its phase's, with the weights of the run's last reward model where the run trains some."""

from collections.abc import Awaitable, Callable, Mapping

from rlaif.judges.judge import Judge
from rlaif.judges.retrained import reward_models
from rlaif.judges.spec import JudgeSpec
from rlaif.rounds.reward_stage import RewardStage
from rlaif.rounds.setup import RoundSetup
from rlaif.store.rundir import RoundDir


class RoundJudges:
    """The judges of a run.

    Args:
        opened: those of the recipe and its phases, by the sha256 of their specs.
        reward: trains reward models anew; None where the recipe does not ask for it.
        open_judge: opens a judge until the run ends.
    """

    def __init__(
        self,
        opened: Mapping[str, Judge],
        reward: RewardStage | None = None,
        open_judge: Callable[[JudgeSpec], Awaitable[Judge]] | None = None,
    ) -> None:
        self._opened, self._reward, self._open = dict(opened), reward, open_judge

    def of_file(self, spec: JudgeSpec) -> Judge:
        """Return the judge of a spec as its file has it."""
        return self._opened[spec.sha]

    async def of_round(self, directory: RoundDir, round_: RoundSetup) -> Judge:
        """Return the judge of a round's candidates; the first round of a phase trains its reward model before."""
        spec = round_.judge
        if self._reward is not None and self._open is not None and reward_models(spec):
            trains = round_.number == 0 and round_.objective.samples and not directory.done("judge")
            spec = await self._reward.judge_of(directory, spec, trains=trains)
            if spec.sha not in self._opened:
                self._opened[spec.sha] = await self._open(spec)
        return self._opened[spec.sha]
