from pathlib import Path

import pytest
import torch

from preftune.errors import ConfigError
from preftune.model.load import device_memory
from preftune.model.load.device_memory import HostMemory, cgroup_free_bytes, memory_of


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_the_peak_is_what_the_work_had_in_use_at_its_most(monkeypatch: pytest.MonkeyPatch) -> None:
    samples: list[int] = []
    resident = device_memory._resident

    def sampled() -> int:
        samples.append(resident())
        return samples[-1]

    def work() -> None:
        held = torch.ones(16 * 2**20)  # 64 MiB
        enough = len(samples) + 2
        while len(samples) < enough:  # a busy machine may sample late
            held.sum()

    monkeypatch.setattr(device_memory, "_resident", sampled)
    memory = HostMemory()
    before = memory.used()
    peak = memory.peak_used(work)
    assert 60 * 2**20 < peak - before < 80 * 2**20
    assert memory.used() - before < 16 * 2**20


def test_an_error_of_the_work_is_passed_on() -> None:
    with pytest.raises(ZeroDivisionError):
        HostMemory().peak_used(lambda: 1 // 0)


def test_the_free_memory_of_a_machine_is_no_more_than_it_has_and_processes_share_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alone = HostMemory().free()
    assert alone > 2**20
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert HostMemory().free() == pytest.approx(alone / 4, rel=0.2)


def test_the_tightest_control_group_counts(tmp_path: Path) -> None:
    write(tmp_path / "root" / "job" / "step", memory__max="max\n", memory__current="100\n", memory__stat="")
    write(
        tmp_path / "root" / "job",
        memory__max="1000\n",
        memory__current="400\n",
        memory__stat="anon 9\ninactive_file 50\n",
    )
    (tmp_path / "self").write_text("0::/job/step\n")
    assert cgroup_free_bytes(tmp_path / "root", tmp_path / "self") == [1000 - 400 + 50]


def test_control_groups_of_the_first_version_are_read(tmp_path: Path) -> None:
    write(
        tmp_path / "root" / "memory" / "docker",
        memory__limit_in_bytes="1000",
        memory__usage_in_bytes="1200",
        memory__stat="total_inactive_file 100\n",
    )
    (tmp_path / "self").write_text("9:name=systemd:/\n4:cpu,memory:/docker\n0::/\n")
    assert cgroup_free_bytes(tmp_path / "root", tmp_path / "self") == [0]


def test_the_limit_of_a_container_is_found_at_the_root(tmp_path: Path) -> None:
    write(tmp_path / "root", memory__max="1000", memory__current="300", memory__stat="")
    (tmp_path / "self").write_text("0::/docker/0123\n")
    assert cgroup_free_bytes(tmp_path / "root", tmp_path / "self") == [700]


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert cgroup_free_bytes(tmp_path, tmp_path / "missing") == []


def test_a_device_that_cannot_be_measured_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"auto: the memory of mps devices cannot be measured\. Give a number"):
        memory_of(torch.device("mps"))
