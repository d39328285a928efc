"""The recipes are configs that work, say where they are from, and are all in the index of papers."""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment

from preftune import TrainConfig
from preftune.losses import LOSSES
from preftune.settings import SECTIONS, settings_of

ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
INDEX = ROOT / "docs" / "paper_index.md"
DEFAULTS = {item.name: item.default for section in SECTIONS.values() for item in settings_of(section)}

each_recipe = pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)


def _sources(recipe: Path) -> dict[str, str]:
    """Name and text of the sources at the top of a recipe."""
    _, found, rest = recipe.read_text().partition("# Sources:\n")
    assert found, f"{recipe.name} has no line '# Sources:'"
    listed, found, _ = rest.partition("# Differs:")
    assert found, f"{recipe.name} has no line '# Differs:'"
    return dict(re.findall(r"^#   (\w+): (.+)$", listed, flags=re.MULTILINE))


def _settings(recipe: Path) -> dict[str, tuple[str, str]]:
    """Value as written and comment, by setting."""
    lines = [line for line in recipe.read_text().splitlines() if line and not line.startswith("#")]
    found = {name: (value, note) for name, value, note in re.findall(r"(?m)^(\w+): (.+?)  +# (.+)$", "\n".join(lines))}
    assert len(found) == len(lines), f"{recipe.name} has settings without a comment"
    return found


def _rows(heading: str) -> list[list[str]]:
    """Cells of the table rows under a heading of the index, without the tables' own heads."""
    section = INDEX.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    return [row for row, below in zip(rows, [*rows[1:], []], strict=True) if "---" not in (row + below)]


def _command(cell: str) -> Mapping[str, Any]:
    """The settings of a command line such as `preftune train --method dpo --beta 0.1`."""
    words = shlex.split(cell.strip("`"))
    assert words[:2] == ["preftune", "train"], cell
    flags, values = words[2::2], words[3::2]
    return {flag.removeprefix("--").replace("-", "_"): value for flag, value in zip(flags, values, strict=True)}


def test_there_are_recipes() -> None:
    assert RECIPES


@each_recipe
def test_a_recipe_is_a_config_that_works(recipe: Path) -> None:
    config = TrainConfig.read(recipe)
    assert TrainConfig.of(**yaml.safe_load(config.to_yaml())) == config


@each_recipe
def test_a_recipe_writes_to_a_folder_with_its_name(recipe: Path) -> None:
    assert TrainConfig.read(recipe).output.output == f"runs/{recipe.stem}"


@each_recipe
def test_a_recipe_names_sources_that_can_be_looked_up(recipe: Path) -> None:
    sources = _sources(recipe)
    assert sources
    assert [
        text for text in sources.values() if not re.search(r"arXiv:\d{4}\.\d{5}|github\.com/|huggingface\.co/", text)
    ] == []


@each_recipe
def test_each_setting_of_a_recipe_names_its_source(recipe: Path) -> None:
    known = {*_sources(recipe), "ours", "not found", "nearest"}
    origins = {name: re.split(r"[:;,]", note)[0] for name, (_, note) in _settings(recipe).items()}
    assert {name: origin for name, origin in origins.items() if origin not in known} == {}


@each_recipe
def test_what_was_not_found_is_left_at_our_default(recipe: Path) -> None:
    missing = {name: value for name, (value, note) in _settings(recipe).items() if note.startswith("not found")}
    assert {name: yaml.safe_load(value) for name, value in missing.items()} == {
        name: DEFAULTS[name] for name in missing
    }


@each_recipe
def test_nearest_values_are_listed_in_the_recipe_and_the_index(recipe: Path) -> None:
    nearest = [name for name, (_, note) in _settings(recipe).items() if note.startswith("nearest")]
    differs = recipe.read_text().partition("# Differs:")[2].partition("\n\n")[0]
    [in_index] = [row[3] for row in _rows("Recipes") if f"[{recipe.stem}]" in row[2]]
    assert [name for name in nearest if name not in differs or name not in in_index] == []


@each_recipe
def test_the_index_says_no_difference_where_the_recipe_does(recipe: Path) -> None:
    [in_index] = [row[3] for row in _rows("Recipes") if f"[{recipe.stem}]" in row[2]]
    assert in_index.startswith("no") == ("# Differs: no\n" in recipe.read_text())


@each_recipe
def test_files_that_a_recipe_names_are_there(recipe: Path) -> None:
    own = recipe.read_text().partition("# Differs:")[2]  # above stand files of other repositories
    assert [name for name in re.findall(r"\b(?:docs|recipes)/\w+\.\w+", own) if not (ROOT / name).is_file()] == []


@each_recipe
def test_a_recipe_that_continues_another_finds_its_run(recipe: Path) -> None:
    model = TrainConfig.read(recipe).model.model
    made_by_hand = re.findall(r"`(runs/\w+)`", INDEX.read_text())
    assert not model.startswith("runs/") or model in [*made_by_hand, *(f"runs/{path.stem}" for path in RECIPES)]


def test_the_index_lists_each_recipe_once_and_no_other() -> None:
    listed = re.findall(r"\]\(\.\./recipes/(\w+)\.yaml\)", INDEX.read_text())
    assert sorted(listed) == [recipe.stem for recipe in RECIPES]


def test_every_method_is_in_the_index_with_its_paper() -> None:
    papers = {re.findall(r"\w+", row[0])[0]: row[1] for row in _rows("Methods") if row[0].startswith("[")}
    assert sorted(papers) == sorted(LOSSES)
    assert [name for name, loss in LOSSES.items() if loss.source not in papers[name]] == []


@pytest.mark.parametrize("row", _rows("Methods"), ids=lambda row: row[0])
def test_the_commands_of_the_index_work(row: list[str]) -> None:
    given = _command(row[2])
    config = TrainConfig.of(**given, model="m", data=["d.jsonl"], output="run")
    name = re.match(r"\[(\w+)\]", row[0])
    assert name is None or config.method.name == name[1]


def test_programs_of_the_index_compile() -> None:
    programs = re.findall(r"```python\n(.*?)```", INDEX.read_text(), flags=re.DOTALL)
    assert programs
    for program in programs:
        compile(program, str(INDEX), "exec")


def test_the_chat_template_opens_the_turn_of_the_answer() -> None:
    source = (ROOT / "recipes" / "zephyr_chat.jinja").read_text()
    template = Environment(trim_blocks=True, lstrip_blocks=True).from_string(source)
    question, answer = {"role": "user", "content": "2+2="}, {"role": "assistant", "content": "4"}
    prompt = template.render(messages=[question], add_generation_prompt=True, eos_token="</s>")
    whole = template.render(messages=[question, answer], add_generation_prompt=False, eos_token="</s>")
    assert prompt == "<|user|>\n2+2=</s>\n<|assistant|>\n"
    assert whole == prompt + "4</s>\n"
