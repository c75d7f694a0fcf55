"""What pip makes of the repository: a checkout that scripts beside it import, a wheel, a source distribution; and Windows."""

import ast
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from kgan.commands import _command

ROOT = Path(__file__).parent.parent
CONFIGS = {file.name for file in (ROOT / "configs").iterdir()}
PACKAGED = {
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "kgan").rglob("*")
    if path.suffix == ".py" or (path.parent.name in ("page", "docker") and path.is_file())
}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return a function that has setuptools build a copy of the repository, named `kgan`, as pip does, and returns the file."""
    checkout = tmp_path_factory.mktemp("beside") / "kgan"
    ignored = shutil.ignore_patterns("__pycache__", ".*", "*.egg-info", "build", "runs")
    for name in ("kgan", "configs"):
        shutil.copytree(ROOT / name, checkout / name, ignore=ignored)
    for name in ("setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout)

    def build(kind, settings=None):
        out = tmp_path_factory.mktemp(kind)
        code = f"import setuptools.build_meta as backend; backend.build_{kind}({str(out)!r}, {settings})"
        subprocess.run([sys.executable, "-c", code], cwd=checkout, check=True, capture_output=True)
        (file,) = out.iterdir()
        return checkout, file

    return build


@pytest.mark.parametrize("settings", [None, {"editable_mode": "strict"}, {"editable_mode": "compat"}])
def test_a_script_beside_the_checkout_imports_the_package_and_not_the_folder(built, settings, tmp_path):
    checkout, wheel = built("editable", settings)
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = f"import site; site.addsitedir({str(tmp_path)!r}); import kgan, sys; print(kgan.__file__); print(dir(kgan))"
    command = [sys.executable, "-S", "-c", code]  # without the packages of this Python, kgan among them
    file, names = subprocess.run(command, cwd=checkout.parent, check=True, capture_output=True, text=True).stdout.splitlines()
    package = Path(checkout.parent, file).parent
    assert package.is_relative_to(checkout)
    assert "WGANGP" in ast.literal_eval(names)
    configs = package / "configs" if (package / "configs").exists() else package.parent / "configs"
    assert {path.name for path in configs.iterdir()} == CONFIGS


def test_a_wheel_has_every_module_the_configs_the_page_and_the_files_of_docker(built):
    _, wheel = built("wheel")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == PACKAGED | {f"kgan/configs/{name}" for name in CONFIGS}


def test_a_source_distribution_has_what_a_wheel_is_built_from(built):
    _, archive = built("sdist")
    with tarfile.open(archive) as members:
        names = {name.partition("/")[2] for name in members.getnames()}
    assert names >= PACKAGED | {f"configs/{name}" for name in CONFIGS} | {"setup.py", "README.md", "LICENSE"}


LACKING = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}  # modules that Windows lacks
LACKING_ATTRIBUTES = {
    "os": {"chown", "fork", "getloadavg", "getuid", "geteuid", "killpg", "mkfifo", "pread", "preadv", "pwrite", "pwritev",
           "sched_getaffinity", "setsid", "sysconf", "statvfs", "uname"},
    "signal": {"SIGALRM", "SIGHUP", "SIGKILL", "SIGQUIT", "SIGUSR1", "SIGUSR2", "alarm", "pause", "setitimer", "sigwait"},
}  # fmt: skip


def test_no_module_needs_what_windows_lacks():
    for file in (ROOT / "kgan").rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        at_import = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
        at_import |= {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
        assert not at_import & LACKING, file
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert node.attr not in LACKING_ATTRIBUTES.get(node.value.id, ()), file


def test_on_windows_suggested_commands_are_quoted_as_its_shells_read_them(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["kgan"])
    monkeypatch.setattr(sys, "platform", "win32")
    assert _command("train", "--run", r"runs\a", "--minutes", 20) == r"kgan train --run runs\a --minutes 20"
    assert _command("train", "--run", r"runs\a run") == r'kgan train --run "runs\a run"'
