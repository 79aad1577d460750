"""Read the tables in catalog/data: CSV files in which each row names its source. Does not know the columns."""

import csv
from pathlib import Path

DATA_DIR = Path(__file__).resolve().parent / "data"


def rows(name: str) -> list[dict[str, str]]:
    """Return the rows of a table, e.g. `machine_types.csv`, as text by column."""
    with (DATA_DIR / name).open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))
