"""The probe of a training: log-probabilities of answers before and after it, which engines must reproduce."""

from collections.abc import Sequence
from typing import Any

from rlaif.store.policy_weights import Probe, ProbeSequence
from rlaif.training.groups import Group

# A few sequences of a few hundred tokens tell weights apart, and cost a few seconds on a CPU.
_SEQUENCES, _TOKENS = 4, 256


class ProbeRecorder:
    """Takes the log-probabilities before the training when it is made, and those after in `probe`.

    Every worker makes one, and calls `probe` after the training. The tokens are those of preferred answers, which move
    most, or of a group's first candidate.
    """

    def __init__(self, trainer: Any, groups: Sequence[Group]) -> None:
        self._trainer = trainer
        self._sequences = [_sequence(group) for group in groups[:: max(1, len(groups) // _SEQUENCES)][:_SEQUENCES]]
        self._before = self._logps(trainer.model)

    def probe(self) -> Probe:
        after = self._logps(self._trainer.model_wrapped)
        return Probe(
            [
                ProbeSequence(tokens, start, new, old)
                for (tokens, start), new, old in zip(self._sequences, after, self._before, strict=True)
            ]
        )

    def _logps(self, model: Any) -> list[list[float]]:
        import torch

        model.eval()
        found = []
        with torch.no_grad(), self._trainer.compute_loss_context_manager():
            for tokens, start in self._sequences:
                ids_1T = torch.tensor([tokens], device=self._trainer.args.device)
                logits_AV = model(input_ids=ids_1T, use_cache=False).logits[0, start - 1 : -1].float()
                logps_A = logits_AV.log_softmax(-1).gather(1, ids_1T[0, start:, None])[:, 0]
                found.append([float(logp) for logp in logps_A])
        return found


def _sequence(group: Group) -> tuple[list[int], int]:
    """Return the end of a prompt with an answer, and the index of the answer's first token."""
    answer = group.candidates[group.pairs[0].chosen if group.pairs else 0]
    tokens = [*group.prompt_token_ids, *answer][-_TOKENS:]
    return tokens, max(1, len(tokens) - len(answer))
