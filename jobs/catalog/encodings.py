"""The encodings that a CSV file may have."""

import codecs

# Each by Python's name of it: what Java calls it. All keep ASCII's line end, by which Spark splits a file.
_JAVA_ENCODINGS = {
    "utf-8": "UTF-8",
    "utf-8-sig": "UTF-8",
    "ascii": "US-ASCII",
    "iso8859-1": "ISO-8859-1",
    "iso8859-2": "ISO-8859-2",
    "iso8859-15": "ISO-8859-15",
    "cp1250": "windows-1250",
    "cp1251": "windows-1251",
    "cp1252": "windows-1252",
    "cp932": "windows-31j",
    "cp949": "x-windows-949",
    "euc_kr": "EUC-KR",
    "euc_jp": "EUC-JP",
    "shift_jis": "Shift_JIS",
    "gbk": "GBK",
    "gb18030": "GB18030",
    "big5": "Big5",
    "koi8-r": "KOI8-R",
}


def java_encoding(name: str) -> str:
    """Return Java's name of an encoding, by any name that Python knows it by.

    Raises:
        ValueError: it is unknown, or one whose line ends are not ASCII's; the message names those that are known.
    """
    try:
        return _JAVA_ENCODINGS[codecs.lookup(name).name]
    except (LookupError, ValueError):
        raise ValueError(f"unknown encoding for CSV; one of {', '.join(sorted(_JAVA_ENCODINGS))}") from None
