"""Files, folders and packages that nodes shall have: the manifest that a node reads, and templates with their errors."""

from __future__ import annotations

from dataclasses import replace

import pytest

from labcloud.errors import ConfigError
from labcloud.model import Configuration, NodeFile, NodeFolder, NodeOverride, Shared
from labcloud.profiles import load, render
from labcloud.profiles.declaring import declared
from labcloud.profiles.golden import DOMAIN, sample

PROFILE = load("hadoop-2.7")
PLAIN = sample(PROFILE)


def tree(*, sources: dict[str, str] | None = None, **facts: object) -> dict[str, str]:
    wanted = Configuration(
        files={"/etc/b": NodeFile("hello {{ who }}\n", template=True), "/etc/a": NodeFile(source="deep/a", owner="ada", mode="0600")},
        directories={"/srv/z": NodeFolder("ada", "users", "1777"), "/srv": NodeFolder()},
        packages=("tree=2.1", "jq"),
    )
    return dict(declared(wanted, sources if sources is not None else {"deep/a": "{{ literal }}"}, facts))


def test_the_manifest_has_folders_files_and_packages_in_order() -> None:
    assert tree(who="ada") == {
        "declared/manifest": (
            "directory\t/srv\troot\troot\t0755\n"
            "directory\t/srv/z\tada\tusers\t1777\n"
            "file\t/etc/a\tada\troot\t0600\t0\n"
            "file\t/etc/b\troot\troot\t0644\t1\n"
            "package\tjq\n"
            "package\ttree=2.1\n"
        ),
        "declared/0": "{{ literal }}",
        "declared/1": "hello ada\n",
    }


def test_what_declares_nothing_has_no_manifest() -> None:
    assert dict(declared(Configuration(settings={"a:b": "c"}), {}, {})) == {}
    assert not [path for path in render(PROFILE, PLAIN, DOMAIN) if "declared" in path]


def test_a_source_that_is_not_there_is_said() -> None:
    with pytest.raises(ConfigError, match="/etc/a is declared to be files/deep/a, and the lab repository has no such file"):
        tree(sources={}, who="ada")


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a\n{{ nobody }}\n", 2, "'nobody' is undefined"),
        ("a\nb\n{{ labels.deep.deeper.x }}\n", 3, "has no attribute"),
        ("{{ 1 / 0 }}", 1, "division"),
        ("a\n{% if tenant %}\n", 2, "Unexpected end of template"),
        ("a\n\n{{ tenant", 3, "unexpected end of template"),
        ("{{ tenant.__class__.__mro__ }}", 1, "unsafe"),
        ("a\n{% include '/etc/passwd' %}\n", 2, "no loader"),
        ("a\n{{ tenant | nofilter }}\n", 2, "nofilter"),
        ("a\n{{ tenant + 1 }}\n", 2, "str"),
    ],
)
@pytest.mark.parametrize("source", ["", "deep/a.j2"])
def test_what_is_wrong_in_a_template_is_said_with_file_line_and_names(text: str, line: int, said: str, source: str) -> None:
    file = NodeFile(source=source, template=True) if source else NodeFile(text, template=True)
    cluster = replace(PLAIN, configuration=Configuration(files={"/etc/motd": file}))
    with pytest.raises(ConfigError) as caught:
        render(PROFILE, cluster, DOMAIN, shared=Shared(sources={source: text} if source else {}))
    name = f"files/{source}" if source else "/etc/motd"
    assert caught.value.brief.startswith(f"{name}:{line}: the template is wrong: ")
    assert said in caught.value.brief
    assert "tenant" in caught.value.resolution


def test_templates_may_ask_for_what_is_the_nodes() -> None:
    text = (
        "{{ tenant }} {{ cluster }} {{ group }} {{ node }} {{ index }} {{ host_name }} {{ memory }} {{ labels.rack }} {{ labels.none }}"
        "|{{ worker.count }} {{ host.namenode }} {{ port.namenode.rpc }}{% for n in range(2) %} {{ n }}{% endfor %}\n"
    )
    cluster = replace(
        PLAIN, configuration=Configuration(files={"/etc/motd": NodeFile(text, template=True)}), labels={"rack": "r1"},
        own={"worker-1": NodeOverride(memory=4096, labels={"rack": "r2"})},
    )  # fmt: skip
    found = render(PROFILE, cluster, DOMAIN)
    rest = f"|2 master-0.lab.acme.{DOMAIN} 8020 0 1\n"
    memory = PLAIN.groups[1].memory
    assert found["worker-0/declared/0"] == f"acme lab worker worker-0 0 worker-0.lab.acme.{DOMAIN} {memory} r1 " + rest
    assert found["worker-1/declared/0"] == f"acme lab worker worker-1 1 worker-1.lab.acme.{DOMAIN} 4096 r2 " + rest


def test_what_is_no_template_stays_as_it_stands_and_so_do_values() -> None:
    cluster = replace(
        PLAIN, labels={"rack": "{{ 7 * 7 }}"},
        configuration=Configuration(files={"/a": NodeFile("{{ tenant }}\r\n\n"), "/b": NodeFile("{{ labels.rack }}<&>", template=True)}),
    )  # fmt: skip
    found = render(PROFILE, cluster, DOMAIN)
    assert found["worker-0/declared/0"] == "{{ tenant }}\r\n\n"
    assert found["worker-0/declared/1"] == "{{ 7 * 7 }}<&>"
