import random
import shutil
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from preftune.runs.folder import RunFolder
from preftune.runs.manifest import MANIFEST, damage_of, write_manifest
from preftune.runs.run import train
from tests.runs.inputs import config_of

DAMAGES = ("bit", "half", "empty", "missing")


@pytest.fixture(scope="module")
def run_folder(model_folder: Path, pairs_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six steps with two checkpoints."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(config_of(model_folder, pairs_file, folder, save_every=3, keep_checkpoints=5))
    return folder


def damage(file: Path, kind: str, *, seed: int = 0) -> None:
    content = bytearray(file.read_bytes())
    match kind:
        case "bit":
            content[random.Random(seed).randrange(len(content))] ^= 1
        case "half":
            del content[len(content) // 2 :]
        case "empty":
            content.clear()
    file.unlink()
    if kind != "missing":
        file.write_bytes(content)


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_to_any_file_of_a_checkpoint_is_noticed(kind: str, run_folder: Path, tmp_path: Path) -> None:
    whole = run_folder / "checkpoint-6"
    assert damage_of(whole) is None
    names = sorted(file.name for file in whole.iterdir())
    assert {MANIFEST, "optimizer.pt", "scheduler.pt", "rng_state.pth", "model.safetensors"} <= set(names)
    for seed, name in enumerate(names):
        copy = tmp_path / name / "checkpoint-6"
        shutil.copytree(whole, copy)
        damage(copy / name, kind, seed=seed)
        if (name, kind) != (MANIFEST, "missing"):
            assert damage_of(copy) is not None, name


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth", "model.safetensors"])
def test_a_checkpoint_without_manifest_must_have_all_its_files(name: str, run_folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "checkpoint-6"
    shutil.copytree(run_folder / "checkpoint-6", copy)
    (copy / MANIFEST).unlink()
    assert damage_of(copy) is None
    damage(copy / name, "missing")
    assert damage_of(copy) is not None
    (copy / name).touch()
    assert damage_of(copy) == f"{name} is empty"


@pytest.mark.parametrize(("name", "kind"), [("optimizer.pt", "bit"), ("optimizer.pt", "missing"), (MANIFEST, "half")])
def test_a_run_resumes_from_the_newest_whole_checkpoint(
    name: str, kind: str, run_folder: Path, model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run_folder, folder)
    (folder / "summary.json").unlink()
    damage(folder / "checkpoint-6" / name, kind)
    (folder / "model.safetensors").unlink()
    config = config_of(model_folder, pairs_file, folder, save_every=3, keep_checkpoints=5, resume=True)
    with (tmp_path / "log").open("w") as log:
        console = Console(record=True, width=200, file=log)
        train(config, console=console)
    said = console.export_text()
    assert f"checkpoint-6 is damaged ({name}" in said or "cannot be read)" in said
    assert "set aside as damaged-checkpoint-6" in said
    assert "resuming from checkpoint-3" in said
    assert (folder / "damaged-checkpoint-6").is_dir()
    expected, found = (load_file(place / "model.safetensors") for place in (run_folder, folder))
    assert all(torch.equal(found[key], value) for key, value in expected.items())


def test_an_older_checkpoint_that_was_half_deleted_goes(run_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(run_folder, tmp_path / "run")
    (folder / "checkpoint-3" / "optimizer.pt").unlink()
    found = RunFolder(folder).whole_checkpoint(print)
    assert found == folder / "checkpoint-6"
    assert not (folder / "checkpoint-3").exists()


def test_without_a_whole_checkpoint_a_run_begins_again(
    run_folder: Path, model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run_folder, folder)
    (folder / "summary.json").unlink()
    for step in (3, 6):
        damage(folder / f"checkpoint-{step}" / "optimizer.pt", "half")
    config = config_of(model_folder, pairs_file, folder, save_every=3, keep_checkpoints=5, resume=True)
    assert train(config).num_steps == 6
    expected, found = (load_file(place / "model.safetensors") for place in (run_folder, folder))
    assert all(torch.equal(found[key], value) for key, value in expected.items())


def test_a_manifest_covers_files_in_folders(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint-1"
    (checkpoint / "default").mkdir(parents=True)
    for name in ("optimizer.pt", "scheduler.pt", "rng_state_0.pth", "default/adapter_model.safetensors"):
        (checkpoint / name).write_text("content")
    (checkpoint / "trainer_state.json").write_text('{"global_step": 1}')
    write_manifest(checkpoint)
    assert damage_of(checkpoint) is None
    (checkpoint / "default/adapter_model.safetensors").write_text("changed")
    assert damage_of(checkpoint) == "default/adapter_model.safetensors differs from what was saved"
