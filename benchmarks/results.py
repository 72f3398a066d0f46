"""One figure of a benchmark."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Result:
    """A figure, and the goal it is held against if there is one; a higher value is better unless `at_most`.

    `spread` is the smallest and the largest of the measurements that the value is the median of.
    """

    name: str
    value: float
    unit: str
    goal: float | None = None
    at_most: bool = False
    spread: tuple[float, float] | None = None

    @classmethod
    def median(
        cls, name: str, measured: Sequence[float], unit: str, goal: float | None = None, at_most: bool = False
    ) -> Self:
        """Make the figure of several measurements of one thing."""
        return cls(name, statistics.median(measured), unit, goal, at_most, (min(measured), max(measured)))

    @property
    def met(self) -> bool | None:
        """Whether the goal was reached; None when there is none."""
        if self.goal is None:
            return None
        return self.value <= self.goal if self.at_most else self.value >= self.goal

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        spread = {} if self.spread is None else {"spread": [round(value, 3) for value in self.spread]}
        return {
            "name": self.name,
            "value": round(self.value, 3),
            "unit": self.unit,
            "goal": self.goal,
            "met": self.met,
            **spread,
        }

    def markdown(self) -> str:
        """Return it as the row of a table."""
        spread = "" if self.spread is None else f"{self.spread[0]:.2f} to {self.spread[1]:.2f}"
        sign = "at most" if self.at_most else "at least"
        held = "" if self.goal is None else f"{sign} {self.goal:g}: {'met' if self.met else 'missed'}"
        return f"| {self.name} | {self.value:,.2f} {self.unit} | {spread} | {held} |"

    def __str__(self) -> str:
        spread = "" if self.spread is None else f"  [{self.spread[0]:.2f} to {self.spread[1]:.2f}]"
        sign = "at most" if self.at_most else "goal"
        held = "" if self.goal is None else f"  ({sign} {self.goal:g}: {'met' if self.met else 'MISSED'})"
        return f"{self.name:<66} {self.value:>9.2f} {self.unit}{spread}{held}"
