"""Made tar and zip files for tests of sources."""

import gzip
import io
import tarfile
import zipfile


def tar(members, mode="w", end=True):
    """Return a tar of (name, bytes) or ready TarInfo; `end=False` leaves out the mark at its end."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode=mode) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1])
            archive.addfile(info, io.BytesIO(member[1]))
        last = archive.offset
    return sink.getvalue() if end else sink.getvalue()[:last]


def tgz(members):
    """Return a gzip-packed tar, the same bytes each time."""
    return gzip.compress(tar(members), mtime=0)


def zipped(members, method=zipfile.ZIP_DEFLATED):
    """Return a zip of (name or ZipInfo, bytes)."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data, compress_type=method)
    return sink.getvalue()


def special(name, kind, target=""):
    """Return a tar header of a link, device or folder."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


MAKERS = {"tar": tar, "tgz": tgz, "tar.gz": tgz, "zip": zipped}


def read_all(source, reader, dest="/nowhere", **options):
    """Return key -> bytes or (reason, detail, class name) of every input of a source; keys must differ."""
    from raycolor.errors import ImageError

    found = {}
    for info in source.inputs(dest, **options):
        assert info.key not in found
        try:
            found[info.key] = reader.get(info)
        except ImageError as exc:
            found[info.key] = (exc.reason, exc.detail, type(exc).__name__)
    return found
