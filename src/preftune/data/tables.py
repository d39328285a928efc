"""Rows of tables: Parquet files, data sets of `datasets`, pandas frames."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preftune.data.rows import BadRow, Row
from preftune.errors import DataError
from preftune.groups import Origin

if TYPE_CHECKING:
    from datasets import Dataset

_FEATURES = b"huggingface"
"""Key of the schema metadata in which `datasets` keeps the types of columns."""


def as_written(value: Any, feature: Any = None, *, decodes: bool = False) -> Any:
    """A value of a table as it was before the table was written.

    Arrow gives every object in a column all fields of all rows, with None where a row has no such field. These are left
    out again at every level. Values of the type Json of `datasets` are whole, so nothing is left out of them.

    Args:
        feature: Type of the value as `datasets` describes it in JSON; None if unknown.
        decodes: Values of the type Json are still text.

    >>> as_written({"name": "weather", "arguments": {"city": "Paris", "zone": None}})
    {'name': 'weather', 'arguments': {'city': 'Paris'}}
    """
    if isinstance(feature, Mapping) and feature.get("_type") == "Json":
        return json.loads(value) if decodes and isinstance(value, str) else value
    if isinstance(value, Mapping):
        known = feature if isinstance(feature, Mapping) and not isinstance(feature.get("_type"), str) else {}
        return {
            name: as_written(item, known.get(name), decodes=decodes) for name, item in value.items() if item is not None
        }
    if isinstance(value, list):
        inner = _of_items(feature)
        return [as_written(item, inner, decodes=decodes) for item in value]
    return value


def _of_items(feature: Any) -> Any:
    """The type of the items of a list; older files have a list of one type."""
    if isinstance(feature, list):
        return feature[0] if feature else None
    return feature.get("feature") if isinstance(feature, Mapping) else None


def _row_as_written(fields: Mapping[str, Any], features: Mapping[str, Any], *, decodes: bool) -> dict[str, Any]:
    return {name: as_written(value, features.get(name), decodes=decodes) for name, value in fields.items()}


def read_parquet(path: Path, source: str) -> Iterator[Row | BadRow]:
    """Rows of a Parquet file. Origins count rows."""
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as table:
            features = _features(table.schema_arrow.metadata or {})
            batches = (row for batch in table.iter_batches(batch_size=1024) for row in batch.to_pylist())
            yield from numbered((_row_as_written(row, features, decodes=True) for row in batches), source)
    except (OSError, pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise DataError(
            f"{source}: the file cannot be read as Parquet: {error}. It may be damaged or incomplete. Write it again."
        ) from error


def _features(metadata: Mapping[bytes, bytes]) -> Mapping[str, Any]:
    try:
        found: Any = json.loads(metadata.get(_FEATURES, b"{}"))
        features = found["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return features if isinstance(features, Mapping) else {}


def rows_of_dataset(dataset: "Dataset") -> Iterator[dict[str, Any]]:
    """The rows of a data set of `datasets`."""
    features = dataset.features.to_dict()
    return (_row_as_written(row, features, decodes=False) for row in dataset)


def rows_of_table(rows: Any, source: str) -> Iterable[Any]:
    """The rows of a data set of `datasets` or of a pandas frame; anything else is returned as it is.

    Raises:
        DataError: a frame with a column of mixed types.
    """
    pandas, datasets = sys.modules.get("pandas"), sys.modules.get("datasets")  # whoever made the rows has imported it
    if pandas is not None and isinstance(rows, pandas.DataFrame):
        import pyarrow
        from datasets import Dataset

        try:
            return rows_of_dataset(Dataset.from_pandas(rows, preserve_index=False))
        except (pyarrow.ArrowException, TypeError, ValueError) as error:
            raise DataError(
                f"{source}: the frame cannot be read: {error}. Give each column one type, or give a list of rows, "
                "frame.to_dict('records')."
            ) from error
    if datasets is not None and isinstance(rows, datasets.Dataset):
        return rows_of_dataset(rows)
    return rows if isinstance(rows, Iterable) else []


def located(rows: Any, source: str) -> Iterator[Row | BadRow]:
    """Rows in memory: a data set, a frame, or mappings from column to value. Origins count rows."""
    for number, fields in enumerate(rows_of_table(rows, source), start=1):
        origin = Origin(source, number)
        if isinstance(fields, Mapping):
            yield Row(origin, fields)
        else:
            yield BadRow(
                origin,
                f"the row is of type {type(fields).__name__}. It must map columns to values. Give a list of dicts, a "
                "Dataset or a pandas frame.",
            )


def numbered(rows: Iterable[Mapping[str, Any]], source: str) -> Iterator[Row]:
    """Rows with their origins, which count them."""
    for number, fields in enumerate(rows, start=1):
        yield Row(Origin(source, number), fields)
