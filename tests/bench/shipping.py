"""The gateway of a cluster: usage is shipped over NATS to a control plane, which lends it its budgets."""
import os
import pathlib

from targets import GATEWAY_CORE, OTHER_CORE, Targets, governance, resources
from cluster import Cluster  # noqa: I001  targets adds its folder to the path


def pin(pid, core):
    """Every thread of a process that runs already."""
    if os.cpu_count() > 1:
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), {core})


class ShippingTargets(Targets):
    def start_spillway(self, name, keys, budgets):
        self.cluster = Cluster(data_planes=0, sample=False).__enter__()
        self.cluster.start_data("dp0", "--threads", "1", "--connections-max", "19000")
        yaml = resources(self.ports["direct"]) + governance(budgets) + "keys:\n" + "".join(
            f"  - {{name: key-{n}, team: bench, models: [mock-bench]}}\n" for n in range(keys - 1))
        self.cluster.apply(yaml, "--timeout", "60s")
        self.cluster.wait_ready(60)
        self.key = self.cluster.create_key("bench", "--models", "mock-bench", team="bench")
        for process in (self.cluster.nats, self.cluster.control, self.cluster.mock):
            pin(process.pid, OTHER_CORE)
        pin(self.cluster.data["dp0"].pid, GATEWAY_CORE)
        self.processes[name], self.ports[name] = self.cluster.data["dp0"], self.cluster.ports["dp0"]

    def close(self):
        cluster, self.cluster = getattr(self, "cluster", None), None
        if cluster:
            cluster.__exit__(None, None, None)
        super().close()
