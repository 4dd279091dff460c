"""The bulk job without Ray: one shard of photographs, and the child process that shields it from bad decoders.

What driver and worker tell each other stands here; the work itself, which imports torch, is `raycolor.bulk.shard`.
"""

from raycolor.bulk.spec import ShardReport, ShardSpec

__all__ = ["ShardReport", "ShardSpec"]
