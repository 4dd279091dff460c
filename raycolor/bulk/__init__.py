"""The bulk job without Ray: one shard of photographs, and the child process that shields it from bad decoders."""

from raycolor.bulk.shard import ShardReport, ShardSpec, ShardWorker

__all__ = ["ShardReport", "ShardSpec", "ShardWorker"]
