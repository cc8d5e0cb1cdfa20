"""What an audit for leaks has found."""

from __future__ import annotations

from dataclasses import dataclass

from batchot.shapes.audit_chance import ChanceTest


@dataclass(frozen=True)
class AuditCheck:
    """One thing that was looked at.

    Args:
        name: what it was.
        leak: whether it tells, or may tell, the class of a shape.
        finding: in words.
        test: the classifier against chance, where there was one.

    Example:
        >>> from batchot.shapes.audit_report import AuditCheck
        >>> print(AuditCheck("empty pixels", False, "all are equal"))
        ok    empty pixels: all are equal
    """

    name: str
    leak: bool
    finding: str
    test: ChanceTest | None = None

    def __str__(self) -> str:
        return f"{'LEAK' if self.leak else 'ok':5} {self.name}: {self.finding}"


@dataclass(frozen=True)
class AuditReport:
    """All that an audit has looked at.

    Args:
        subject: whose views they are.
        n_shapes: shapes that were looked at.
        checks: what was found.

    Example:
        >>> from batchot.shapes.audit_report import AuditCheck, AuditReport
        >>> report = AuditReport("views", 2, (AuditCheck("empty pixels", False, "all are equal"),))
        >>> report.leak, report.lines()[-1]
        (False, 'no leak was found')
    """

    subject: str
    n_shapes: int
    checks: tuple[AuditCheck, ...]

    @property
    def leak(self) -> bool:
        """Whether any check has found one."""
        return any(check.leak for check in self.checks)

    def lines(self) -> list[str]:
        """The report to be printed."""
        verdict = "LEAK: the class of a shape can be told from more than the shape" if self.leak else ""
        return [
            f"audit of {self.n_shapes:,} shapes: {self.subject}",
            *map(str, self.checks),
            verdict or "no leak was found",
        ]


def chance_check(name: str, test: ChanceTest, what: str) -> AuditCheck:
    """The check that a classifier is at chance.

    Args:
        name: of the check.
        test: the classifier against chance.
        what: it was shown, in words.
    """
    return AuditCheck(name, test.leak, f"{what}: {test}", test)
