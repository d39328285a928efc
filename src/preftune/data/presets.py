"""Public data sets by a short name: place on the hub, format and licence."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from preftune.errors import DataError

_PREFIX = "preset:"
_CONVERTED = "refs/convert/parquet"
"""Branch of the hub with Parquet copies of data sets that are loaded by a script; `datasets` no longer runs scripts."""


@dataclass(frozen=True, slots=True)
class Preset:
    """A public data set.

    Args:
        config: Configuration. Default: the only one.
        folder: Folder of the repository with the data. Default: the whole repository.
        revision: Branch, tag or commit. Default: the newest.
    """

    hub_id: str
    format: str
    about: str
    licence: str
    split: str = "train"
    config: str | None = None
    folder: str | None = None
    revision: str | None = None


PRESETS: Mapping[str, Preset] = {
    "hh": Preset(
        "Anthropic/hh-rlhf",
        "transcripts",
        "dialogues with a helpful or harmless assistant, compared by people",
        "MIT. Texts may offend; not meant for imitation (sft).",
    ),
    "shp": Preset(
        "stanfordnlp/SHP",
        "shp",
        "Reddit comments compared by votes; --where 'score_ratio>=2' for clear ones",
        "none stated; gathered under Reddit's terms, posts are their authors'.",
    ),
    "ultrafeedback": Preset(
        "openbmb/UltraFeedback",
        "ultrafeedback",
        "four completions per instruction, scored by GPT-4",
        "MIT; GPT-4 wrote scores and some completions, so see OpenAI's terms.",
    ),
    "oasst1": Preset(
        "OpenAssistant/oasst1",
        "message_rows",
        "conversations in 35 languages, answers ranked by people; --where lang=en for one",
        "Apache 2.0.",
    ),
    "tldr": Preset(
        "openai/summarize_from_feedback",
        "summaries",
        "summaries of Reddit posts, compared by people",
        "none stated; the posts are of TL;DR (Syed et al. 2018), CC BY 4.0.",
        folder="comparisons",
        revision=_CONVERTED,
    ),
    "nectar": Preset(
        "berkeley-nest/Nectar",
        "nectar",
        "seven answers per prompt, ranked by GPT-4",
        "Apache 2.0, on condition that it is not used to compete with OpenAI.",
    ),
    "imdb": Preset(
        "stanfordnlp/imdb",
        "reviews",
        "film reviews, positive or negative; --split unsupervised for 50,000 without label",
        "none stated; cite Maas et al. 2011.",
        config="plain_text",
    ),
    "orca-pairs": Preset(
        "Intel/orca_dpo_pairs",
        "orca",
        "answers of OpenAI's models, taken as better than those of Llama 2 13B",
        "Apache 2.0; models of OpenAI wrote the chosen answers, so see their terms.",
    ),
}
"""Presets by name."""


def find_preset(source: str) -> Preset | None:
    """The preset that a source names, as `hh` or `preset:hh`.

    An existing file or folder named `hh` takes precedence over the preset; `preset:hh` always means the preset.

    Raises:
        DataError: `preset:` followed by an unknown name.

    >>> find_preset("preset:tldr").hub_id, find_preset("prefs.jsonl")
    ('openai/summarize_from_feedback', None)
    """
    if source.startswith(_PREFIX):
        name = source.removeprefix(_PREFIX)
        if name not in PRESETS:
            raise DataError(f"{source}: there is no such preset. The presets are: {', '.join(PRESETS)}.")
        return PRESETS[name]
    return None if Path(source).expanduser().exists() else PRESETS.get(source)
