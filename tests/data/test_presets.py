"""Public data sets by a short name."""

import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from preftune.data.formats.table import FORMATS
from preftune.data.load import groups_from_rows, iter_groups, load_groups
from preftune.data.presets import PRESETS, find_preset
from preftune.data.rows import Row
from preftune.data.sources import read_rows
from preftune.errors import DataError
from preftune.groups import PromptGroup
from tests.data.formats.published import FILES, path_of

FILE_OF = {FILES[file]: file for file in reversed(FILES)}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A hub that holds our files of the published layouts, and what it was asked for."""
    calls: list[dict[str, Any]] = []

    def load_dataset(path: str, **places: str) -> datasets.Dataset:
        calls.append({"path": path, **places})
        preset = next(one for one in PRESETS.values() if one.hub_id == path)
        rows = [dict(row.fields) for row in read_rows(path_of(FILE_OF[preset.format])) if isinstance(row, Row)]
        return datasets.Dataset.from_list(rows)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return calls


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.usefixtures("here")
def test_a_preset_is_loaded_from_its_place_on_the_hub_in_its_layout(name: str, hub: list[dict[str, Any]]) -> None:
    preset = PRESETS[name]
    groups = [item for item in iter_groups(name) if isinstance(item, PromptGroup)]
    assert groups
    assert groups[0].origin.source == f"{preset.hub_id}[train]"
    places = {"name": preset.config, "data_dir": preset.folder, "revision": preset.revision}
    wanted = {"path": preset.hub_id, "split": "train", **{key: at for key, at in places.items() if at is not None}}
    assert all(call == wanted for call in hub)


@pytest.mark.usefixtures("here")
def test_another_split_and_another_layout_can_be_named(hub: list[dict[str, Any]]) -> None:
    load_groups("preset:hh", split="test")
    assert hub[0]["split"] == "test"
    with pytest.raises(DataError, match=r"Anthropic/hh-rlhf\[train\]: the format lists needs prompt, completions"):
        load_groups("hh", format="lists")


@pytest.mark.usefixtures("hub")
def test_a_file_of_ones_own_wins_over_a_preset_of_the_same_name(here: Path) -> None:
    (here / "hh").mkdir()
    (here / "hh" / "own.jsonl").write_text(json.dumps({"prompt": "2+2=", "chosen": "4", "rejected": "5"}))
    assert load_groups("hh").groups[0].prompt == "2+2="
    assert load_groups("preset:hh").groups[0].origin.source == "Anthropic/hh-rlhf[train]"


def test_a_preset_that_is_not_there_is_an_error_that_lists_them() -> None:
    with pytest.raises(
        DataError, match=r"preset:hhh: there is no such preset. The presets are: hh, shp, ultrafeedback"
    ):
        find_preset("preset:hhh")


@pytest.mark.usefixtures("here")
def test_a_hub_that_cannot_be_reached_is_an_error_that_names_the_data_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> object:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(
        DataError, match=r"^openai/summarize_from_feedback: as a data set of the hub it cannot be loaded"
    ):
        load_groups("tldr")


def test_every_preset_says_all_that_is_to_be_known() -> None:
    formats = {known.name for known in FORMATS}
    for preset in PRESETS.values():
        assert preset.format in formats
        assert preset.hub_id.count("/") == 1
        assert preset.about
        assert preset.licence.endswith(".")


def test_the_folder_of_a_preset_is_what_datasets_reads_of_a_repository_with_several(tmp_path: Path) -> None:
    """The copy as Parquet that the hub keeps of TL;DR: a folder for each configuration, with folders for splits."""
    rows = [dict(row.fields) for row in read_rows(path_of("summaries.jsonl")) if isinstance(row, Row)]
    for place, content in {
        "comparisons/train": rows,
        "comparisons/validation": rows[:1],
        "axis/test": [{"x": 1}],
    }.items():
        (tmp_path / "repository" / place).mkdir(parents=True)
        datasets.Dataset.from_list(content).to_parquet(tmp_path / "repository" / place / "0000.parquet")
    loaded = datasets.load_dataset(
        str(tmp_path / "repository"),
        data_dir=PRESETS["tldr"].folder,
        split=PRESETS["tldr"].split,
        cache_dir=str(tmp_path / "cache"),
    )
    assert len(groups_from_rows(loaded).groups) == 2
