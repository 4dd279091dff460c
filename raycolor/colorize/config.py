"""Settings of `raycolor colorize`."""

from __future__ import annotations

from typing import Any, ClassVar, Final, Literal

from pydantic import Field, model_validator

from raycolor.cluster.config import ClusterConfig
from raycolor.colorizer.config import ColorizerConfig
from raycolor.config import ADVANCED, CLUSTER, FILES, LOOK, Group, Several, several
from raycolor.errors import Reason
from raycolor.storage.base import RECORDS
from raycolor.storage.config import ArchivesConfig

REVIEW_KEY: Final = RECORDS + "review.csv"
LATER: Final = ("retry_failed", "retry_reason", "add_new", "verify")
"""Requests to a later run over a job."""
REQUESTS: Final = (*LATER, "redo", "never", "hints")
"""All that is asked of one run."""
OF_A_RUN: Final = (*ClusterConfig.model_fields, "ray", "shape", "gpus", "dest")
"""Where and how one run works."""


def reviewed(sources: object) -> str | None:
    """Return the destination of the job whose review is the one source, or None."""
    if not isinstance(sources, list | tuple) or len(sources) != 1 or not isinstance(sources[0], str):
        return None
    place = sources[0]
    if place == REVIEW_KEY:
        return "."
    return place.removesuffix("/" + REVIEW_KEY) if place.endswith("/" + REVIEW_KEY) else None


class ColorizeConfig(ClusterConfig, ColorizerConfig, ArchivesConfig):
    """Settings of `raycolor colorize`."""

    help_group: ClassVar = Group.SELECTION

    source: Several = Field(
        min_length=1,
        description="folder, file or s3://bucket/prefix of photographs, or a list of them (CSV, Parquet, S3 "
        "Inventory's manifest.json, an earlier job's failed.csv); or several files and folders; or "
        "DEST/_raycolor/review.csv alone, to apply it",
    )
    dest: str = Field(description="folder or s3://bucket/prefix for the colorized photographs and _raycolor/")
    max_failed: str = Field(
        "5%", description="failed images allowed before exit code 3: a count or a share", json_schema_extra=FILES
    )
    shape: Literal["auto", "fused", "staged"] = Field(
        "auto",
        description="fused: every worker runs the network; staged: GPUs run it for all; auto: staged if "
        "GPUs, measured at the start, make it faster",
        json_schema_extra=ADVANCED,
    )
    gpus: int | None = Field(
        None,
        ge=1,
        description="GPUs for the network, also requested by --scale-to; default: all of the cluster",
        json_schema_extra=ADVANCED,
    )
    sse_kms_key_id: str | None = Field(
        None, description="encrypt outputs in S3 with this KMS key (SSE-KMS)", json_schema_extra=ADVANCED
    )
    ray: bool | None = Field(
        None,
        description="start a Ray on this machine, or do everything in one process without Ray; default: Ray, but for "
        "local jobs that are done before it would start",
        json_schema_extra=CLUSTER,
    )
    images_per_shard: int = Field(
        64,
        ge=1,
        le=10_000,
        description="images in a shard, the unit of work, retry and resume",
        json_schema_extra=ADVANCED,
    )
    image_timeout_s: float = Field(
        600.0, gt=0, description="seconds after which an image fails", json_schema_extra=ADVANCED
    )
    patience: float = Field(
        600.0,
        ge=0,
        description="seconds to wait for a storage that does not answer (outage, expired credentials) before the "
        "job stops",
        json_schema_extra=ADVANCED,
    )
    retry_failed: bool = Field(False, description="try the failed images of the job in DEST again")
    retry_reason: tuple[Reason, ...] = Field(
        (), description="retry only images that failed for this reason, for example access_denied; repeatable"
    )
    add_new: bool = Field(
        False, description="also colorize files that are new in SOURCE since the job in DEST, and changed ones again"
    )
    verify: bool = Field(
        False, description="read every output of the job in DEST, and make missing or changed ones again"
    )
    never: str | None = Field(
        None,
        description="list of photographs that must not be colorized, by key, folder or glob: CSV of key,reason, or "
        "one a line",
    )
    hints: str | None = Field(
        None,
        description="list of known colors, CSV of key,x,y,color: pixels in the upright photograph, and #rrggbb or a "
        "name; colors spread from there",
        json_schema_extra=LOOK,
    )
    redo: tuple[str, ...] = Field(
        (),
        description="glob of keys of the job in DEST to make again by other settings (Look), which are given beside "
        "it; repeatable; all other outputs stay",
    )

    @model_validator(mode="before")
    @classmethod
    def _dest_of_review(cls, values: Any) -> Any:
        """Take DEST from the one SOURCE that says it: a review lies there."""
        if not isinstance(values, dict) or values.get("dest"):
            return values
        dest = reviewed(several(values.get("source") or ()))
        return values if dest is None else {**values, "dest": dest}

    def identity(self) -> dict[str, Any]:
        """The settings that decide which bytes come out: a job is continued only under the same ones."""
        same = {*REQUESTS, *OF_A_RUN, "checkpoint", "max_failed", "image_timeout_s", "patience"}
        return self.model_dump(mode="json", exclude=same | {"requester_pays", "endpoint_url", "sse_kms_key_id"})

    def dest_options(self) -> dict[str, Any]:
        """What an S3 store is opened with for writing."""
        return {**self.source_options(), "kms_key_id": self.sse_kms_key_id}
