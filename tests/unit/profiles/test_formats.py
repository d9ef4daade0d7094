"""What users write reaches Hadoop and the shell as they wrote it, whatever it is."""

import json
import subprocess
import xml.etree.ElementTree as ET

from hypothesis import given, settings
from hypothesis import strategies as st

from labcloud.profiles.formats import back_in_service, hadoop_xml, host_list, in_maintenance, shell_assignments, unrepresentable

xml_text = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\t\n\r<>&\"'${}")).filter(
    lambda text: not unrepresentable(text)
)
shell_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0") | st.sampled_from("$`\"'\\;&|\n !*"))
shell_names = st.from_regex(r"LC_[A-Z0-9_]{1,8}", fullmatch=True)


@given(st.dictionaries(xml_text.filter(bool), xml_text, max_size=5))
def test_xml_round_trip(written: dict[str, str]) -> None:
    read = {each.findtext("name"): each.findtext("value") for each in ET.fromstring(hadoop_xml(written).encode())}  # noqa: S314
    assert read == written


@given(st.dictionaries(shell_names, shell_text, min_size=1, max_size=5))
@settings(max_examples=50, deadline=None)
def test_shell_round_trip(written: dict[str, str]) -> None:
    script = shell_assignments(written) + "".join(f'printf "%s\\0" "${name}"\n' for name in written)
    answer = subprocess.run(["/bin/bash", "-u"], input=script.encode(), capture_output=True, check=True)
    assert answer.stdout.decode().split("\0")[:-1] == list(written.values())
    assert answer.stderr == b""


def test_lists_of_hosts_are_lines_or_json() -> None:
    assert host_list("dfs.exclude", ["b", "a"]) == "a\nb\n"
    assert host_list("dfs.hosts.json", []) == "[]\n"
    assert json.loads(host_list("dfs.hosts.json", ["b", "a"])) == [{"hostName": name, "adminState": "DECOMMISSIONED"} for name in "ab"]


def test_a_host_in_maintenance_stands_in_the_list_once_and_until_then() -> None:
    leaving = host_list("dfs.hosts.json", ["a"])
    twice = in_maintenance(in_maintenance(leaving, "b", 1.0), "b", 2.5)
    assert json.loads(twice)[1:] == [{"hostName": "b", "adminState": "IN_MAINTENANCE", "maintenanceExpireTimeInMS": 2500}]
    assert back_in_service(twice, "b") == leaving
    assert back_in_service(leaving, "a") == leaving, "who leaves is not in maintenance"
