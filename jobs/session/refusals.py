"""What Spark refuses, in words for people."""

import re

from pyspark.errors import AnalysisException, PySparkException

_NO_FOLDER = (
    "no folder can be made there: is the disk full or mounted read-only, and may the user of the Spark server write to "
    "it? Mend that and run the same again"
)
# What a file system says, wherever it stands among the causes, and what helps.
_REMEDIES = {
    "No space left on device": "its disk is full: make room and run the same again",
    "Disk quota exceeded": "its disk's quota is used up: make room and run the same again",
    "Read-only file system": "its file system is mounted read-only: make it writable and run the same again",
    "Permission denied": "the user of the Spark server may not write there: permit it and run the same again",
    "DELTA_CANNOT_CREATE_LOG_PATH": _NO_FOLDER,
    "Mkdirs failed to create": _NO_FOLDER,
}
_LOG_FILE = re.compile(r"\S+/_delta_log/\d{20}\.[\w.-]*\w")
_JAVA_CLASS = re.compile(r"\(([\w.$]+)\)")


def reason(refused: PySparkException) -> str:
    """Say why Spark refused, and what would help where that is known; holds no value of a row."""
    text = str(refused)
    # An analysis is made before a row is read; any other message may hold a value of a row.
    if isinstance(refused, AnalysisException):
        told = text.partition("\n\nJVM stacktrace")[0].strip()
    else:
        java = _JAVA_CLASS.match(text)
        told = refused.getCondition() or (java[1] if java else type(refused).__name__)
    if (file := _LOG_FILE.search(text)) and (refused.getCondition() or "").startswith("FAILED_READ_FILE"):
        return f"{told}: {file[0]}, a file of its log, cannot be read: put it back from a copy and run the same again"
    remedy = next((remedy for sign, remedy in _REMEDIES.items() if sign in text), "")
    return f"{told}; {remedy}" if remedy else told
