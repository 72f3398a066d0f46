"""One figure of a benchmark."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Result:
    """A figure, and the goal it is held against if there is one; a higher value is better unless `at_most`."""

    name: str
    value: float
    unit: str
    goal: float | None = None
    at_most: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the goal was reached; None when there is none."""
        if self.goal is None:
            return None
        return self.value <= self.goal if self.at_most else self.value >= self.goal

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {"name": self.name, "value": round(self.value, 3), "unit": self.unit, "goal": self.goal, "met": self.met}

    def __str__(self) -> str:
        held = "" if self.goal is None else f"  (goal {self.goal:g}: {'met' if self.met else 'MISSED'})"
        return f"{self.name:<60} {self.value:>10.2f} {self.unit}{held}"
