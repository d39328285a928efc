"""The store as far as there is one that works: keeping log-probs saves work, and changes no number."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar, final

from preftune.errors import BrokenCacheError, CacheError
from preftune.model.reference.fingerprint import Fingerprint
from preftune.model.reference.store import LogpStore, set_aside
from preftune.model.reference.token_array import TokenArray

__all__ = ["OptionalStore"]

Result = TypeVar("Result")


@final
class OptionalStore:
    """A `LogpStore` that never fails: a broken file is set aside for a new one, and a run goes on without any.

    Args:
        path: The file.
        say: Takes a line on what is wrong, at most one for each thing.
    """

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self._path = path
        self._say = say
        self._store: LogpStore | None = None
        self._is_given_up = False

    def read(self, model: Fingerprint, keys: Iterable[bytes]) -> dict[bytes, float]:
        """The log-probs that are kept, of those asked for."""
        wanted = list(keys)
        return self._try(lambda store: store.read(model.digest, wanted), otherwise={})

    def write(self, model: Fingerprint, logps: Mapping[bytes, float]) -> None:
        """Keep log-probs, if that is possible."""
        self._try(
            lambda store: store.write(model.digest, logps, name=model.name, description=model.description),
            otherwise=None,
        )

    def read_tokens(self, model: Fingerprint, keys: Iterable[bytes]) -> dict[bytes, TokenArray]:
        """The log-probs per token that are kept, of those asked for."""
        wanted = list(keys)
        return self._try(lambda store: store.read_tokens(model.digest, wanted), otherwise={})

    def write_tokens(self, model: Fingerprint, logps: Mapping[bytes, TokenArray]) -> None:
        """Keep log-probs per token, if that is possible."""
        self._try(
            lambda store: store.write_tokens(model.digest, logps, name=model.name, description=model.description),
            otherwise=None,
        )

    def close(self) -> None:
        """Let go of the file."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def _try(self, work: Callable[[LogpStore], Result], otherwise: Result) -> Result:
        try:
            try:
                return otherwise if self._is_given_up else work(self._opened())
            except BrokenCacheError as error:
                self._begin_anew(error)
                return work(self._opened())
        except CacheError as error:
            self._give_up(error)
            return otherwise

    def _opened(self) -> LogpStore:
        if self._store is None:
            self._store = LogpStore(self._path)
        return self._store

    def _begin_anew(self, error: BrokenCacheError) -> None:
        self.close()
        aside = set_aside(self._path)
        self._say(f"reference cache: {error} It was set aside as {aside.name}, and a new one is begun.")

    def _give_up(self, error: CacheError) -> None:
        self._is_given_up = True
        self._say(
            f"reference cache: {error} Reference log-probs are computed for this run alone and not kept. Make room or "
            "name another folder with PREFTUNE_CACHE, or leave the cache out with --no-reference-cache."
        )
