"""What a user is told when a file or a value cannot be used."""

from __future__ import annotations

from pathlib import Path


class BadInput(Exception):
    """A file or value that cannot be used, with what to do about it.

    Parameters
    ----------
    where : str or Path
        The file, or the name of the option or setting.
    problem : str
        What is wrong, in a few words.
    remedy : str
        What the user can do.
    """

    def __init__(self, where: str | Path, problem: str, remedy: str) -> None:
        self.where = str(where)
        self.problem = problem
        self.remedy = remedy
        super().__init__(where, problem, remedy)

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}; {self.remedy}"
