"""What `dfsadmin -reconfig` prints, as real daemons of 2.7.7 and 3.4.3 printed it."""

from labcloud.services.reconfiguration import Reconfiguration, outcome, properties

OLD = """\
Reconfiguring status for DataNode[worker-0:50020]: started at Sat Nov 21 14:04:15 UTC 2026 and finished at Sat Nov 21 14:04:15 UTC 2026.
FAILED: Change property dfs.datanode.startup
\tFrom: "REGULAR"
\tTo: ""
\tError: Property dfs.datanode.startup is not reconfigurable.
SUCCESS: Change property dfs.datanode.data.dir
\tFrom: "[DISK]file:/data/0/hdfs/data/"
\tTo: "file:///data/0/hdfs/data,file:///data/0/hdfs/data2"
"""
NEW = """\
Reconfiguring status for node [worker-0:9867]: started at Sat Nov 21 14:04:20 UTC 2026 and finished at Sat Nov 21 14:04:20 UTC 2026.
SUCCESS: Changed property dfs.datanode.max.transfer.threads
\tFrom: "4096"
\tTo: "5000"
"""
LISTED = "Node [worker-0:50020] Reconfigurable properties:\ndfs.datanode.data.dir\ndfs.datanode.balance.max.concurrent.moves\n"


def test_what_was_changed_and_what_was_not() -> None:
    reason = "Property dfs.datanode.startup is not reconfigurable."
    assert outcome(OLD) == Reconfiguration(True, frozenset({"dfs.datanode.data.dir"}), {"dfs.datanode.startup": reason})
    assert outcome(NEW) == Reconfiguration(True, frozenset({"dfs.datanode.max.transfer.threads"}), {})


def test_one_that_has_not_ended() -> None:
    assert (
        outcome("Reconfiguring status for node [a:1]: started at Sat Nov 21 14:04:20 UTC 2026 and is still running.\n") == Reconfiguration()
    )
    assert outcome("Reconfiguring status for DataNode[a:1]: no reconfiguration task was found.\n") == Reconfiguration()


def test_what_could_be_changed() -> None:
    assert properties(LISTED) == {"dfs.datanode.data.dir", "dfs.datanode.balance.max.concurrent.moves"}
    assert properties("Unknown operation: properties\n") is None
