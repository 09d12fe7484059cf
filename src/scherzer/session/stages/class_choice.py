"""Which 2D classes are kept: the program's choice, or a person's over it, which can be taken back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from scherzer.formats.atomic import write_text
from scherzer.formats.errors import BadInput
from scherzer.formats.star import StarTable
from scherzer.particles.classification2d import NOISE_LIMIT

CHOICE_FILE = "by_hand.json"
AUTO = "auto"


@dataclass(frozen=True)
class Choice:
    """What a person says of the classes; nothing by default.

    Attributes
    ----------
    keep : tuple of int, optional
        Exactly these are kept, numbered from 1.
    drop : tuple of int
        These are not kept, the others as the program chose.
    """

    keep: tuple[int, ...] | None = None
    drop: tuple[int, ...] = ()

    @property
    def by_hand(self) -> bool:
        """Whether anything is said."""
        return self.keep is not None or bool(self.drop)

    @property
    def words(self) -> str:
        """What is said, as it was given; empty if nothing is."""
        if self.keep is not None:
            return f"--keep {','.join(map(str, self.keep))}"
        return f"--drop {','.join(map(str, self.drop))}" if self.drop else ""


def choice_of(keep: str | None, drop: str | None) -> Choice | None:
    """Read the options ``--keep`` and ``--drop``; None where neither is given.

    Raises
    ------
    BadInput
        If they are no lists of class numbers, or both are given.
    """
    if keep is None and drop is None:
        return None
    if keep is not None and drop is not None:
        raise BadInput("--keep, --drop", "both are given", "give the classes to keep, or those to drop")
    if keep is not None and keep.strip().lower() == AUTO:
        return Choice()
    return Choice(keep=_numbers("--keep", keep)) if keep is not None else Choice(drop=_numbers("--drop", drop or ""))


def _numbers(option: str, text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        remedy = f"give class numbers as in the gallery, for instance {option} 1,4,7"
        raise BadInput(option, f"{text!r} is no list of class numbers", remedy)
    return tuple(sorted({int(part) for part in parts}))


def store_choice(folder: Path, classification: str, choice: Choice) -> None:
    """Keep a choice beside the classes that it is of; ``classification`` is their key."""
    path = folder / CHOICE_FILE
    if not choice.by_hand:
        path.unlink(missing_ok=True)
        return
    said = {"keep": None if choice.keep is None else list(choice.keep), "drop": list(choice.drop)}
    write_text(path, json.dumps({**said, "classification": classification}, indent=1) + "\n")


def stored_choice(folder: Path, classification: str) -> Choice:
    """Return the choice made for these classes; one made for others says nothing of them."""
    path = folder / CHOICE_FILE
    if not path.is_file():
        return Choice()
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        keep, drop, of = record["keep"], record["drop"], record["classification"]
        choice = Choice(None if keep is None else tuple(map(int, keep)), tuple(map(int, drop)))
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(path, "cannot be read", "remove the file, then choose again with --keep or --drop") from error
    return choice if of == classification else Choice()


def chosen(classes: pd.DataFrame, choice: Choice) -> pd.DataFrame:
    """Return the table of classes with a choice applied; the program's own stays in its ``sczAuto...`` columns.

    Raises
    ------
    BadInput
        If there is no class of a number.
    """
    numbers = np.arange(1, len(classes) + 1)
    unknown = sorted({*(choice.keep or ()), *choice.drop} - set(numbers.tolist()))
    if unknown:
        raise BadInput(choice.words.split()[0], f"there is no class {unknown[0]}", f"give 1 to {len(classes)}")
    automatic = classes["sczAutoClassKept"].to_numpy() > 0
    kept = np.isin(numbers, choice.keep) if choice.keep is not None else automatic & ~np.isin(numbers, choice.drop)
    reason = classes["sczAutoReason"].to_numpy(dtype=object)
    reason = np.where(kept, np.where(automatic, "", "kept by hand"), np.where(automatic, "left out by hand", reason))
    return classes.assign(sczClassKept=kept.astype(int), sczReason=reason)


def with_states(table: StarTable, classes: pd.DataFrame, max_misfit: float) -> StarTable:
    """Return classified particles accepted where their class is kept and they are like it."""
    rows = table.rows
    kept = classes["sczClassKept"].to_numpy() > 0
    in_kept_class = kept[rows["rlnClassNumber"].to_numpy(dtype=np.int64) - 1]
    reasons = {
        "its 2D class was not kept": ~in_kept_class,
        "more like noise than any class": rows["sczNoiseProbability"].to_numpy() > NOISE_LIMIT,
        "more in the image than its 2D class explains": rows["sczClassMisfit"].to_numpy() > max_misfit,
    }
    reason = np.select(list(reasons.values()), list(reasons), "")
    return table.with_rows(rows.assign(sczState=np.where(reason == "", "accepted", "rejected"), sczReason=reason))
