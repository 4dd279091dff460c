"""Watch for EC2 taking this spot instance back, and have Ray drain the node before it does.

EC2 says so two minutes ahead, on the instance's metadata service only; Ray does not ask. After a drain, Ray gives this
node no further work, ends it when it is idle, and counts what dies with it as a preemption and not as a failure.
cluster.yaml starts this on every worker; the standard library and the `ray` command suffice.
"""

import argparse
import json
import logging
import subprocess
import sys
import time
import urllib.error
import urllib.request

METADATA = "http://169.254.169.254"
# The notice comes 120 s ahead; the rest is for Ray to tell everybody.
DEADLINE_S = 100

logger = logging.getLogger("spot_watch")


def notice(metadata: str) -> str | None:
    """Return EC2's notice, such as `{"action": "terminate", "time": "..."}`, or None while there is none.

    Raises:
        OSError: the metadata service does not answer.
    """
    # IMDSv2: a session token first, then the question.
    headers = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    ask = urllib.request.Request(f"{metadata}/latest/api/token", headers=headers, method="PUT")
    with urllib.request.urlopen(ask, timeout=2) as answer:
        token = answer.read().decode()
    ask = urllib.request.Request(
        f"{metadata}/latest/meta-data/spot/instance-action", headers={"X-aws-ec2-metadata-token": token}
    )
    try:
        with urllib.request.urlopen(ask, timeout=2) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as exc:
        if exc.code == 404:  # nothing to say, or no spot instance
            return None
        raise


def node_id() -> str:
    """Return Ray's id of this node."""
    import ray

    ray.init(address="auto", log_to_driver=False, logging_level=logging.ERROR)
    try:
        return ray.get_runtime_context().get_node_id()
    finally:
        ray.shutdown()


def drain(address: str, node: str, message: str) -> bool:
    """Ask Ray to drain a node; returns whether it agreed."""
    command = [
        "ray", "drain-node", "--address", address, "--node-id", node,
        "--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", message,
        "--deadline-remaining-seconds", str(DEADLINE_S),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        logger.error("ray drain-node ended with %d: %s", done.returncode, done.stderr[-500:])
    return done.returncode == 0


def watch(address: str, node: str, *, metadata: str = METADATA, interval_s: float = 5.0) -> None:
    """Wait for a notice and drain the node; tries again until Ray agrees."""
    while True:
        try:
            found = notice(metadata)
        except OSError as exc:
            logger.warning("the metadata service does not answer: %s", exc)
            found = None
        if found and drain(address, node, f"EC2 takes the instance back: {json.dumps(found)}"):
            logger.warning("drained: %s", found)
            return
        time.sleep(interval_s)


def main() -> int:
    """Watch until this node is drained."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True, metavar="HOST:PORT", help="of the head")
    parser.add_argument("--node-id", help="default: asked of Ray")
    parser.add_argument("--metadata", default=METADATA, help=argparse.SUPPRESS)
    parser.add_argument("--interval-s", type=float, default=5.0)
    given = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    node = given.node_id or node_id()
    logger.info("watching for an interruption of node %s", node)
    watch(given.address, node, metadata=given.metadata, interval_s=given.interval_s)
    return 0


if __name__ == "__main__":
    sys.exit(main())
