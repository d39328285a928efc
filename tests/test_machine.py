import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from preftune.machine import busy_hint, cpu_quota, set_up_threads, threads_text

WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}


@pytest.fixture
def before_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has not imported torch, on a machine of eight cores."""
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr("preftune.machine._physical_cores", lambda: 8)


def container(folder: Path, **files: str) -> tuple[Path, Path]:
    """Root and membership file of a control group in a container with the given files (`__` for `.`)."""
    folder.joinpath("root").mkdir()
    for name, text in files.items():
        (folder / "root" / name.replace("__", ".")).write_text(text)
    (folder / "self").write_text("0::/\n")
    return folder / "root", folder / "self"


def limited(folder: Path, num_cpus: float) -> tuple[Path, Path]:
    return container(folder, cpu__max=f"{int(num_cpus * 100_000)} 100000\n")


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu__max": "150000 100000\n"}, 1.5),
        ({"cpu__max": "max 100000\n"}, None),
        ({"cpu__cfs_quota_us": "200000\n", "cpu__cfs_period_us": "50000\n"}, 4.0),
        ({"cpu__cfs_quota_us": "-1\n", "cpu__cfs_period_us": "100000\n"}, None),
        ({"cpu__max": "nonsense"}, None),
        ({}, None),
    ],
)
def test_the_quota_of_a_container_is_read(tmp_path: Path, files: dict[str, str], quota: float | None) -> None:
    assert cpu_quota(*container(tmp_path, **files)) == quota


def test_the_tightest_quota_of_nested_groups_counts(tmp_path: Path) -> None:
    for name, text in (("job", "100000 100000"), ("job/step", "300000 100000")):
        (tmp_path / "root" / name).mkdir(parents=True)
        (tmp_path / "root" / name / "cpu.max").write_text(text)
    (tmp_path / "self").write_text("0::/job/step\n")
    assert cpu_quota(tmp_path / "root", tmp_path / "self") == 1.0


def test_the_quota_of_the_first_version_is_found_by_its_controller(tmp_path: Path) -> None:
    folder = tmp_path / "root" / "cpu" / "docker"
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_quota_us").write_text("50000")
    (folder / "cpu.cfs_period_us").write_text("100000")
    (tmp_path / "self").write_text("4:cpu,cpuacct:/docker\n3:cpuset:/other\n0::/\n")
    assert cpu_quota(tmp_path / "root", tmp_path / "self") == 0.5


@pytest.mark.usefixtures("before_torch")
@pytest.mark.parametrize(("num_cpus", "threads"), [(0.5, "1"), (1, "1"), (1.5, "2"), (2, "2"), (7.1, None), (64, None)])
def test_a_quota_limits_the_threads_unless_there_are_no_more_cores(
    tmp_path: Path, num_cpus: float, threads: str | None
) -> None:
    environment: dict[str, str] = {}
    set_up_threads(environment, *limited(tmp_path, num_cpus))
    assert environment.get("OMP_NUM_THREADS") == threads


@pytest.mark.usefixtures("before_torch")
def test_processes_of_a_machine_share_the_quota_even_if_their_parent_has_set_the_threads(tmp_path: Path) -> None:
    environment: dict[str, str] = {}
    where = limited(tmp_path, 4)
    set_up_threads(environment, *where)
    assert environment["OMP_NUM_THREADS"] == "4"
    environment["LOCAL_WORLD_SIZE"] = "2"
    set_up_threads(environment, *where)
    assert environment["OMP_NUM_THREADS"] == "2"


@pytest.mark.usefixtures("before_torch")
@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "MKL_NUM_THREADS"])
def test_the_number_of_threads_that_a_user_has_set_stays(tmp_path: Path, name: str) -> None:
    environment = {name: "7"}
    set_up_threads(environment, *limited(tmp_path, 1))
    assert environment == {name: "7", **WAITING}
    assert threads_text(7, environment) == f"7 threads ({name})"


@pytest.mark.usefixtures("before_torch")
@pytest.mark.parametrize("name", WAITING)
def test_the_waiting_policy_that_a_user_has_set_stays(tmp_path: Path, name: str) -> None:
    environment = {name: "own"}
    set_up_threads(environment, *container(tmp_path))
    assert environment == {name: "own"}


@pytest.mark.usefixtures("before_torch")
def test_threads_limited_by_the_quota_are_reported(tmp_path: Path) -> None:
    environment: dict[str, str] = {}
    set_up_threads(environment, *limited(tmp_path, 1))
    assert threads_text(1, environment) == "1 thread (CPU quota)"


def test_once_torch_is_imported_its_threads_are_limited_directly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    environment: dict[str, str] = {}
    set_up_threads(environment, *limited(tmp_path, 2))
    assert asked == [2]
    assert "OMP_NUM_THREADS" not in environment


def test_a_busy_machine_is_reported_unless_there_is_one_thread() -> None:
    assert "load 99999.0" in busy_hint(2, load=99999.0)
    assert not busy_hint(1, load=99999.0)
    assert not busy_hint(2, load=0.0)


@pytest.mark.parametrize(
    "code",
    ["import preftune", "import preftune.cli.main", "from preftune import TrainConfig", "import preftune.__main__"],
)
def test_every_way_in_sets_the_policy_before_torch_reads_it(code: str) -> None:
    """A child of the process: the variables of a library that is loaded already would change nothing."""
    check = (
        "import sys, builtins; real = builtins.__import__\n"
        "def watch(name, *rest, **named):\n"
        "    if name == 'torch': import os; assert os.environ['OMP_WAIT_POLICY'] == 'PASSIVE'\n"
        "    return real(name, *rest, **named)\n"
        f"builtins.__import__ = watch\n{code}\nimport os; assert os.environ['OMP_WAIT_POLICY'] == 'PASSIVE'\n"
    )
    environment = {name: value for name, value in os.environ.items() if name not in WAITING}
    subprocess.run([sys.executable, "-c", check], env=environment, check=True)
