import pytest

from kgan.files import remove_unfinished, whole_file, whole_folder


def test_whole_folder_appears_complete_or_not_at_all(tmp_path):
    with whole_folder(tmp_path / "done") as scratch:
        (scratch / "a").write_text("1")
        assert not (tmp_path / "done").exists()
    assert (tmp_path / "done" / "a").read_text() == "1"
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "failed") as scratch:
        (scratch / "a").write_text("1")
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["done"]


def test_whole_folder_overwrites_nothing(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a").write_text("old")
    with pytest.raises(OSError, match="mine"), whole_folder(tmp_path / "mine") as scratch:
        (scratch / "a").write_text("new")
    assert (tmp_path / "mine" / "a").read_text() == "old"


def test_whole_file_keeps_the_old_one_on_failure(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), whole_file(path) as scratch:
        scratch.write_text("half of the n")
        raise RuntimeError
    assert path.read_text() == "old"
    with whole_file(path) as scratch:
        scratch.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_remove_unfinished_leaves_the_rest(tmp_path):
    with whole_folder(tmp_path / "done") as scratch:
        killed = tmp_path / scratch.name.replace(scratch.name[-3:], "xyz")
        killed.mkdir()
        (killed / "a").write_text("half")
    remove_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["done"]
