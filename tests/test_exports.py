import subprocess
import sys

import pytest

import preftune
import preftune.compat


def test_every_exported_name_can_be_imported() -> None:
    for name in preftune.__all__:
        assert getattr(preftune, name).__name__ == name
    assert set(preftune.compat.__all__) <= set(preftune.__all__)
    assert set(preftune.__all__) <= set(dir(preftune))


def test_an_unknown_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="module 'preftune' has no attribute 'PPOTrainer'"):
        preftune.PPOTrainer  # noqa: B018


def test_importing_the_package_or_a_record_imports_no_torch() -> None:
    code = "import sys, preftune; preftune.PromptGroup, preftune.Pair; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
