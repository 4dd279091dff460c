"""What the nodes of a Ray cluster compute with."""

from __future__ import annotations

from typing import Any, Final

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raycolor.cluster.arithmetic import Node, describe
from raycolor.cluster.placement import living_nodes

_ANSWER_S: Final = 120.0


def look(device: str) -> list[Node]:
    """Describe all living nodes of the cluster that can work."""
    alive = [node for node in living_nodes() if node["Resources"].get("CPU", 0) or node["Resources"].get("GPU", 0)]
    here = ray.get_runtime_context().get_node_id()
    asked: dict[str, Any] = {}
    for node in alive:
        if node["NodeID"] != here:
            place = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            kind: Any = ray.remote(describe)
            asked[node["NodeID"]] = kind.options(num_cpus=0, scheduling_strategy=place).remote(device)
    found = []
    for node in alive:
        try:
            node_info = (
                describe(device) if node["NodeID"] == here else ray.get(asked[node["NodeID"]], timeout=_ANSWER_S)
            )
        except ray.exceptions.RayError:
            # It died, or runs another raycolor: who computes nothing decides nothing.
            node_info = Node(node["NodeManagerHostname"], "unknown", None, {})
        has = node["Resources"]
        found.append(node_info._replace(id=node["NodeID"], cpus=int(has.get("CPU", 0)), gpus=int(has.get("GPU", 0))))
    return found
