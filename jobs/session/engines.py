"""Which Spark runs a job, as one line of text says it."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from jobs.errors import InvalidRequest

_MASTER = re.compile(r"local(\[(\*|[1-9][0-9]*)(,\s*[0-9]+)?])?|spark://\S+|yarn|k8s://\S+")
_CONNECT = re.compile(r"sc://[^/;\s]+(/(;\S*)?)?")


class EngineKind(StrEnum):
    """The three ways a job reaches a Spark."""

    EMBEDDED = "embedded"
    CONNECT = "connect"
    SUBMIT = "submit"


@dataclass(frozen=True)
class Engine:
    """One Spark to run jobs on.

    `target` is empty for the embedded server (its address follows from the settings), a Connect address for `CONNECT`
    and a Spark master for `SUBMIT`.
    """

    kind: EngineKind
    target: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text of the setting `engine.spark`, of TESSERA_SPARK or of an Airflow connection.

        Raises:
            InvalidRequest: it is none of the known forms.
        """
        given = text.strip()
        if given == "embedded":
            return cls(EngineKind.EMBEDDED, "")
        if _CONNECT.fullmatch(given):
            return cls(EngineKind.CONNECT, given)
        if _MASTER.fullmatch(given):
            return cls(EngineKind.SUBMIT, given)
        raise InvalidRequest(
            f"engine {text!r}: must be 'embedded', a Spark Connect address such as sc://host:15002, or a Spark master: "
            "local[*], spark://host:7077, yarn, k8s://https://host:443 (set TESSERA_SPARK, or the Airflow connection "
            "spark_default)"
        )

    def __str__(self) -> str:
        # What follows may be a token.
        return self.target.partition("/;")[0] or str(self.kind)

    def __repr__(self) -> str:
        return f"Engine({self})"
