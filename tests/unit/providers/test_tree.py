"""The tree of files that a cluster's nodes have mounted: who may read what."""

from __future__ import annotations

from pathlib import Path

from labcloud.providers.tree import read_tree, write_tree


def test_contents_of_declared_files_are_for_root_alone_until_the_node_gives_them_modes(tmp_path: Path) -> None:
    files = {"worker-0/conf/a.xml": "1", "worker-0/declared/manifest": "", "worker-0/declared/key": "secret", "top": ""}
    assert write_tree(tmp_path / "tree", files)
    modes = {str(path.relative_to(tmp_path / "tree")): path.stat().st_mode & 0o777 for path in (tmp_path / "tree").rglob("*")}
    assert (modes["worker-0/declared"], modes["worker-0/declared/key"]) == (0o700, 0o600)
    assert (modes["worker-0"], modes["worker-0/conf"], modes["worker-0/conf/a.xml"], modes["top"]) == (0o755, 0o755, 0o644, 0o644)
    assert read_tree(tmp_path / "tree") == files
    assert not write_tree(tmp_path / "tree", files)
