"""Words, word pairs and openings of texts as features."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["Vocabulary", "features_of"]

_TOKEN = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]|\n+")
_MOST_FEATURES = 20_000
_FEWEST_TEXTS = 3
_MOST_TEXTS_LISTED = 4_000


def features_of(text: str) -> set[str]:
    """What a bag of words holds of a text: words, signs and line breaks, pairs of neighbours, and how it starts.

    >>> sorted(features_of("Sure! Yes"))
    ['!', '! yes', 'starts with: sure', 'starts with: sure !', 'sure', 'sure !', 'yes']
    """
    tokens = ["\\n" if token.startswith("\n") else token for token in _TOKEN.findall(text.casefold().strip())]
    features = {*tokens, *(f"{first} {second}" for first, second in pairwise(tokens))}
    return features | {f"starts with: {' '.join(tokens[:count])}" for count in (1, 2) if len(tokens) >= count}


class Vocabulary:
    """The features that most texts have: at most 20,000, in three texts or more.

    They are counted in the first 4,000 texts, so that memory does not grow with the number of texts.

    Args:
        texts: In an order that says nothing, such as that of a sample.

    >>> Vocabulary(["a b", "a c", "a d"]).names
    ['a', 'starts with: a']
    """

    def __init__(self, texts: Sequence[str]) -> None:
        counts = Counter(feature for text in texts[:_MOST_TEXTS_LISTED] for feature in features_of(text))
        common = [(-count, name) for name, count in counts.items() if count >= _FEWEST_TEXTS]
        self.names = [name for _, name in sorted(common)[:_MOST_FEATURES]]
        self._columns = {name: column for column, name in enumerate(self.names)}

    def matrix(self, texts: Iterable[str]) -> "csr_matrix":
        """1 where a text has a feature. Shape: (text, feature)."""
        import numpy as np
        from scipy.sparse import csr_matrix

        columns, ends = [], [0]
        for text in texts:
            known = (self._columns.get(feature) for feature in features_of(text))
            columns.append(np.array(sorted(column for column in known if column is not None), dtype=np.int32))
            ends.append(ends[-1] + len(columns[-1]))
        indices = np.concatenate(columns) if columns else np.zeros(0, dtype=np.int32)
        return csr_matrix((np.ones(len(indices)), indices, ends), shape=(len(ends) - 1, len(self.names)))
