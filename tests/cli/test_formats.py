import pytest
from click.testing import CliRunner

from preftune.cli.main import preftune
from preftune.data.convert import TARGETS
from preftune.data.formats.table import FORMATS
from preftune.data.presets import PRESETS


@pytest.mark.parametrize("width", ["80", "140"])
def test_the_list_has_every_layout_and_every_public_data_set_with_its_licence(width: str) -> None:
    result = CliRunner().invoke(preftune, ["formats"], env={"COLUMNS": width})
    assert result.exit_code == 0
    starts = {line.split()[0] for line in result.stdout.splitlines() if line[:1].strip()}
    assert {known.name for known in FORMATS} | set(PRESETS) | set(TARGETS) <= starts
    assert all(preset.hub_id in result.stdout for preset in PRESETS.values())
    assert result.stdout.count("Licence: ") == len(PRESETS)
    assert "…" not in result.stdout
