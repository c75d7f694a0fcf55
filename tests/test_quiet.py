import os
import platform
import subprocess
import sys
import warnings

import pytest

from kgan.quiet import use_onednn

VARIABLE = "TF_ENABLE_ONEDNN_OPTS"
TELL = """
from tensorflow.python.framework.test_util import IsMklEnabled
print(os.environ.get("TF_ENABLE_ONEDNN_OPTS"), IsMklEnabled())
"""


def run(code, **environment):
    """Run lines of Python in another process, without what this one has set for TensorFlow, and return what they print."""
    kept = {name: value for name, value in os.environ.items() if name != VARIABLE}
    command = [sys.executable, "-W", "error::UserWarning", "-c", "import os, subprocess, sys\n" + code]
    return subprocess.run(command, env=kept | environment, capture_output=True, text=True, check=True).stdout.split()


def flags(tmp_path, *names):
    """A file like that of Linux, of a processor with these flags beside the usual ones."""
    file = tmp_path / "cpuinfo"
    file.write_text(f"processor\t: 0\nflags\t\t: fpu avx2 avx512f {' '.join(names)}\nbugs\t\t: none\n", encoding="utf-8")
    return file


def test_imported_first_kgan_has_tensorflow_use_onednn_here_and_in_processes_that_it_starts():
    worker = 'subprocess.run([sys.executable, "-c", "import os; print(os.environ[\'TF_ENABLE_ONEDNN_OPTS\'])"])'
    assert run(f"import kgan\n{worker}") == ["1"]
    assert run(f"import kgan{TELL}") == ["1", "True"]


def test_what_the_user_sets_stays():
    assert run(f"import kgan{TELL}", TF_ENABLE_ONEDNN_OPTS="0") == ["0", "False"]
    assert run(f"import tensorflow, kgan{TELL}", TF_ENABLE_ONEDNN_OPTS="0") == ["0", "False"]  # and no warning


def test_tensorflow_imported_first_is_told_of_where_it_leaves_onednn_off(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.warns(UserWarning, match=r"Import kgan before tensorflow and keras, or set .* TF_ENABLE_ONEDNN_OPTS=1"):
        use_onednn(flags(tmp_path))
    assert VARIABLE not in os.environ


@pytest.mark.parametrize("flag", ["avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", None])
def test_nothing_is_said_where_tensorflow_uses_onednn_anyway_or_where_that_is_not_known(flag, tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    file = flags(tmp_path, flag) if flag else tmp_path / "there_is_none"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        use_onednn(file)


@pytest.mark.skipif(sys.platform != "linux" or platform.machine() != "x86_64", reason="reads the flags of x86 on Linux")
def test_on_this_processor_kgan_warns_just_where_tensorflow_leaves_onednn_off():
    code = """
import tensorflow, warnings
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    import kgan
print(*[warning.filename for warning in told if "oneDNN" in str(warning.message)])
"""
    told_at, on = run(code), run("import tensorflow" + TELL)[1]
    assert told_at == {"True": [], "False": ["<string>"]}[on]


def test_tensorflow_starts_without_a_standard_error_stream():
    code = (
        "sys.stderr = None\nfrom kgan.quiet import import_tensorflow_quietly\nimport_tensorflow_quietly()\nimport tensorflow\n"
    )
    assert run(code + "print(tensorflow.__name__)") == ["tensorflow"]
