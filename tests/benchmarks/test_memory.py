import subprocess
import sys

import numpy as np

from kgan.benchmarks.memory import peak_mib


def test_it_is_of_this_process_alone_and_does_not_fall():
    before = peak_mib()
    np.ones(2**25)  # 256 MiB, given back at once
    after = peak_mib()
    assert after >= max(before, 256)
    child = subprocess.run(
        [sys.executable, "-c", "from kgan.benchmarks.memory import peak_mib; print(peak_mib())"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert 5 < float(child.stdout) < 100  # a bare interpreter, not what this one took
