"""CSV files with one row per recorded step of a run."""

import csv

from kgan.errors import InputError
from kgan.files import whole_file


def read_rows(path, last_step):
    """Return the rows of a file up to a step, as text; none if there is no file. Their first column is `step`.

    Raises:
        InputError: the file has another format.
    """
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [row for row in csv.DictReader(file) if int(row["step"]) <= last_step]
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{path} is not a file that kgan wrote. Move or rename it.") from None


def write_rows(path, rows):
    """Write rows, which are dictionaries; a column that a row lacks stays empty."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with whole_file(path) as scratch, scratch.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
