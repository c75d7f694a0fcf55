"""The one exception that means "the input is wrong, the program is not"."""

import difflib
from collections.abc import Iterable

LISTED_NAMES = 12  # more are not read


class InputError(ValueError):
    """Input that kgan cannot use: a wrong name, path, length or file.

    Its message is a whole sentence for the person at the keyboard: the rule, then what was received. The command line
    prints it on one line and exits with 2; a notebook shows it as any `ValueError`.
    """


def unknown_name(kind: str, received: str, valid: Iterable[str]) -> InputError:
    """Return the error for a name outside `valid`, with the nearest valid name."""
    valid = sorted(valid)
    nearest = difflib.get_close_matches(received, valid, n=1, cutoff=0.5)
    hint = f" Did you mean `{nearest[0]}`?" if nearest else ""
    listed = f" Valid: {', '.join(valid)}." if len(valid) <= LISTED_NAMES or not nearest else ""
    return InputError(f"Unknown {kind} `{received}`.{hint}{listed}")
