"""Names that belong to no photograph: files of operating systems, documents, side files."""

from __future__ import annotations

from typing import Final

# They hold thumbnails and side files of photographs that stand elsewhere: a thumbnail there is a JPEG, and no original.
_FOLDERS: Final = {
    "@eadir": "a folder of a Synology server",
    ".@__thumb": "a folder of a QNAP server",
    "__macosx": "a folder of macOS",
    ".appledouble": "a folder of macOS",
    ".spotlight-v100": "a folder of macOS",
    ".fseventsd": "a folder of macOS",
    ".thumbnails": "a folder of thumbnails",
    "system volume information": "a folder of Windows",
}
_FILES: Final = {
    ".ds_store": "a file of macOS",
    ".localized": "a file of macOS",
    "thumbs.db": "a file of Windows",
    "ehthumbs.db": "a file of Windows",
    "desktop.ini": "a file of Windows",
}
_APPLE_DOUBLE: Final = "._"
_SIDECARS: Final = frozenset({"xmp", "c2pa", "aae", "pp3", "dop", "md5", "sha1", "sha256", "par2"})
_DOCUMENTS: Final = frozenset(
    {"txt", "md", "rtf", "pdf", "doc", "docx", "odt", "xls", "xlsx", "ods", "csv", "tsv", "json", "xml", "yaml", "yml"}
    | {"htm", "html", "ini", "log", "db", "url", "lnk"}
)
_FILMS: Final = frozenset({"mp4", "m4v", "mov", "avi", "mkv", "webm", "mpg", "mpeg", "wmv"} | {"mp3", "m4a", "wav"})


def non_photograph(key: str) -> str | None:
    """Return what a key names if its name is not that of a photograph; None if it may be one.

    Formats are told by first bytes, never by names; these names say that nothing is to be read. An unknown extension,
    none, one of an archive or of a format that raycolor cannot read are no clutter: a photograph may be lost there.
    """
    *folders, name = key.lower().split("/")
    for folder in folders:
        if folder in _FOLDERS:
            return f"in {_FOLDERS[folder]} ({folder})"
    if name in _FILES:
        return f"{_FILES[name]} ({name})"
    if name.startswith(_APPLE_DOUBLE):
        return "a side file of macOS (._*)"
    stem, _, extension = name.rpartition(".")
    if not stem:
        return None
    for kind, extensions in (("a side file", _SIDECARS), ("a document", _DOCUMENTS), ("a film or sound", _FILMS)):
        if extension in extensions:
            return f"{kind} by its name (.{extension})"
    return None
