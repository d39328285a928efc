"""What becomes of the reference in a run."""

from dataclasses import dataclass

from preftune.model.reference.reference import FrozenCopy, KeptAdapter, Reference
from preftune.training.reference_sync import ReferenceSync

__all__ = ["ReferencePlan"]


@dataclass(frozen=True, slots=True)
class ReferencePlan:
    """What becomes of the reference in a run.

    Args:
        num_at_once: Pairs or completions at once while its log-probs are computed before training; None: they are
            computed as they are needed.
        mix: Share of the way that it moves to the policy, in (0, 1]; None: it stays as it is.
        every: Steps between two moves.
    """

    num_at_once: int | None = None
    mix: float | None = None
    every: int = 1

    @property
    def moves(self) -> bool:
        """Whether the reference follows the policy."""
        return self.mix is not None

    def sync(self, reference: Reference) -> ReferenceSync | None:
        """What moves the reference, if it is to move."""
        if self.mix is None:
            return None
        assert isinstance(reference, (FrozenCopy, KeptAdapter)), type(reference).__name__
        return ReferenceSync(reference, mix=self.mix, every=self.every)
