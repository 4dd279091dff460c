"""The plan on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from raycolor.progress import duration_text, printable

if TYPE_CHECKING:
    from rich.table import Table


def show(report: Mapping[str, Any]) -> None:
    """Print a plan on standard output."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    table = Table(show_header=False, box=None, padding=(0, 2), pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("inputs", f"{report['inputs']:,}", bytes_text(report["bytes"]))
    for why, count in report["left_out"].items():
        table.add_row(f"  left out: {why}", f"{count:,}")
    for title, name in (
        ("format by name", "formats_by_name"),
        ("size", "sizes"),
        ("storage class", "storage_classes"),
    ):
        if report[name]:
            table.add_row(title)
        for label, count in report[name].items():
            table.add_row(f"  {label}", f"{count['inputs']:,}", bytes_text(count["bytes"]))
    sample = report["sample"]
    if sample is not None:
        _estimates(table, report, sample["photographs"])
        _cluster(table, report)
    console.print(table)
    if sample is not None:
        _notes(console, report, sample)


def _estimates(table: Table, report: Mapping[str, Any], sampled: int) -> None:
    whole = sampled == report["inputs"]
    estimates = report["estimates"]
    table.add_row(
        f"sampled {sampled:,}", "", "all of them" if whole else "figures below: estimate (95% interval), in the sample"
    )
    table.add_row("megapixels", *_figure(estimates["megapixels"], "{:,.1f}".format))
    if estimates["megapixels_to_colorize"] != estimates["megapixels"]:
        table.add_row("  to colorize", *_figure(estimates["megapixels_to_colorize"], "{:,.1f}".format))

    def shares(title: str, rows: Mapping[str, Any]) -> None:
        if rows:
            table.add_row(title)
        for label, share in rows.items():
            value, interval = _figure(share, "{:,.0f}".format)
            remark = [] if whole else [f"{interval}, {share['sampled']} of {sampled}"]
            if "example" in share:
                remark.append(_plain(share["example"]["key"]))
            table.add_row(f"  {label}", value, ": ".join(remark))

    shares("size of picture", estimates["megapixel_classes"])
    shares("format by header", estimates["formats_by_header"])
    if estimates["named_otherwise"]["sampled"]:
        shares("", {"other than its name says": estimates["named_otherwise"]})
    if not report["storage_classes"]:
        shares("storage class", estimates["storage_classes"])
    shares("kind", estimates["kinds"])
    shares("outcome", estimates["outcomes"])
    shares("cannot be read", estimates["unreadable"])


def _cluster(table: Table, report: Mapping[str, Any]) -> None:
    cluster = report["cluster"]
    if cluster is None:
        table.add_row("time", "unknown", "no photograph of the sample could be colorized")
        return
    table.add_row("images/s per CPU", f"{cluster['images_per_second_per_cpu']:,g}")
    table.add_row("MP/s per CPU", f"{cluster['megapixels_per_second_per_cpu']:,g}")
    time, cost = cluster["seconds"], cluster["cost"]
    cpus = "1 CPU" if cluster["cpus"] == 1 else f"{cluster['cpus']:,} CPUs"
    table.add_row(f"time on {cpus}", *_figure(time, _time_text))
    table.add_row("  start-up", _time_text(cluster["start_seconds"]), _start_text(cluster["alone_seconds"]))
    few = (
        f"{cluster['workers']:,} workers: more are not worth their start"
        if cluster["workers"] < cluster["cpus"]
        else ""
    )
    value, _ = _figure(cluster["colorizing_seconds"], _time_text)
    table.add_row("  first to last", value, few.replace("1 workers", "1 worker"))
    if cost is not None:
        value, interval = _figure(cost, "{:,.2f}".format)
        table.add_row("cost", value, f"{interval} at {cluster['price_per_hour']:g} per hour of the cluster".strip())


def _start_text(alone_s: float | None) -> str:
    if alone_s is None:
        return "listing, and one worker without Ray"
    return f"listing, and one worker; others after {alone_s:.0f} s of Ray" if alone_s else "listing, Ray, and workers"


def _notes(console: Any, report: Mapping[str, Any], sample: Mapping[str, Any]) -> None:
    checkpoint = sample["checkpoint"]
    about = checkpoint["weights_sha256"][:12] + (f", license {checkpoint['license']}" if checkpoint["license"] else "")
    console.print(
        f"measured on this machine with checkpoint {checkpoint['name']} ({about}): "
        f"{sample['photographs']} photographs, {sample['cpu_seconds']:.1f} s of CPU time; reading them took "
        f"{sample['read_seconds']:.1f} s ({bytes_text(sample['read_bytes'])})",
        soft_wrap=True,
    )
    if sample["machine_was_busy"]:
        console.print("this machine was busy with other work: rates may be better on an idle one", soft_wrap=True)
    console.print("not modelled: " + "; ".join(report["not_modelled"]), soft_wrap=True)


def _figure(estimate: Mapping[str, Any], write: Callable[[float], str]) -> tuple[str, str]:
    """Return an estimate and its interval, as `write` puts numbers."""
    value = write(estimate["value"])
    if estimate["low"] is None:
        return value, "(one photograph: no interval)"
    if estimate["low"] == estimate["high"]:
        return value, ""
    return value, f"({write(estimate['low'])} to {write(estimate['high'])})"


def _time_text(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    return duration_text(seconds) if seconds < 48 * 3600 else f"{seconds / 86400:,.1f} days"


def bytes_text(count: float) -> str:
    """Write a number of bytes as people say it: `512 B`, `3.1 MB`."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def _plain(key: str) -> str:
    """Show a key on one line, whatever it holds; rich must not take brackets in it for markup."""
    from rich.markup import escape

    return escape(printable(key))
