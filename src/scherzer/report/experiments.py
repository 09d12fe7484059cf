"""The experiments of ``results.json`` laid out for reading, whatever groups and quantities they hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from scherzer.report.columns import Cell, Column, Table, annotated, cell, column_of
from scherzer.report.words import method_of, number_of, quantity, unknown

Record = Mapping[str, Any]

TITLES = {
    "E1": "Underfocus by contrast class",
    "E2": "Each class with its own good 2D classes",
    "E3": "Particles chosen both in their class's own 2D run and in the pooled one",
    "E4": "All picked particles of each class",
    "E5": "Equal counts, drawn repeatedly",
    "E6": "Classes joined",
    "E7": "Micrographs chosen by defocus range instead of by class",
}
_HEADERS = ("title", "performed", "reason", "question")
_TEXTS = ("finding", "sentence", "conclusion", "endpoint", "method", "notes")
_INTERVAL_KEYS = frozenset({"value", "low", "high", "method", "reason", "target_resolution_A"})
# Curves, paths and lineages: in results.json for programs, not for reading.
_HIDDEN = frozenset(
    {"fsc", "lineage", "files", "key", "reason", "performed", "bands", "underfocus_quantiles_um", "mean_score"}
)


@dataclass(frozen=True)
class Fact:
    """One named quantity."""

    heading: str
    text: str
    method: str = ""


@dataclass(frozen=True)
class NamedTable:
    """A table under a small heading (empty where the experiment has only one)."""

    heading: str
    table: Table


@dataclass(frozen=True)
class ExperimentView:
    """One experiment ready for the page; ``missing`` says why it was not done."""

    key: str
    title: str
    missing: str
    texts: tuple[str, ...]
    facts: tuple[Fact, ...]
    tables: tuple[NamedTable, ...]


@dataclass(frozen=True)
class Estimate:
    """One resolution of one group, for the comparison figure."""

    experiment: str
    label: str
    entry: object
    draws_A: tuple[float, ...]


def view_of(key: str, experiment: object) -> ExperimentView:
    """Return one experiment of ``results.json`` as texts, facts and tables."""
    title = TITLES.get(key, key)
    if not isinstance(experiment, Mapping):
        return ExperimentView(key, title, "results.json does not hold it", (), (), ())
    title = str(experiment.get("title") or title)
    if experiment.get("performed") is False or set(experiment) <= set(_HEADERS):
        return ExperimentView(key, title, str(experiment.get("reason") or "no reason recorded"), (), (), ())
    texts = [text for name in _TEXTS for text in _sentences(experiment.get(name))]
    facts: list[Fact] = []
    tables: list[NamedTable] = []
    _lay_out({k: v for k, v in experiment.items() if k not in (*_HEADERS, *_TEXTS)}, "", facts, tables)
    return ExperimentView(key, title, "", tuple(texts), tuple(facts), tuple(tables))


def estimates(experiments: Record, keys: Sequence[str]) -> list[Estimate]:
    """Return every group's resolution in the named experiments."""
    return [
        Estimate(key, label, record["resolution_fsc143_A"], _draws(record))
        for key in keys
        for label, record in _groups(experiments.get(key), "")
        if number_of(record["resolution_fsc143_A"]) is not None
    ]


def is_interval(value: object) -> bool:
    """Whether a mapping is a number with its interval or reason, and not a group of quantities."""
    return isinstance(value, Mapping) and "value" in value and set(value) <= _INTERVAL_KEYS


def words(key: str) -> str:
    """Return a key as words: its unit taken off, underscores gone."""
    return column_of(key).heading


def without(experiment: object, keys: Sequence[str]) -> object:
    """Return an experiment without some of its parts, where the page shows them otherwise."""
    return {k: v for k, v in experiment.items() if k not in keys} if isinstance(experiment, Mapping) else experiment


def _sentences(value: object) -> list[str]:
    """Return one or several texts as sentences."""
    texts = value if isinstance(value, list) else [value]
    return [
        text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
        for text in texts
        if isinstance(text, str) and text
    ]


def _lay_out(part: Record, heading: str, facts: list[Fact], tables: list[NamedTable]) -> None:
    for key, value in part.items():
        if key in _HIDDEN:
            continue
        name = (
            f"{heading}: {words(key)}" if heading and key != "groups" else (heading if key == "groups" else words(key))
        )
        records = records_of(value)
        if records is not None:
            if records:
                tables += _tables(name, records)
        elif isinstance(value, Mapping) and not is_interval(value):
            if value.get("performed") is False:
                facts.append(Fact(name, unknown(value.get("reason"))))
            else:
                _lay_out(value, name, facts, tables)
        elif value is None:
            reason = part.get(f"{key}_reason") or part.get("reason")
            if reason:
                facts.append(Fact(name, unknown(str(reason))))
        elif value not in ("", []) and not key.endswith("_reason"):
            facts.append(Fact(name, _text(value, column_of(key).unit), method_of(value)))


def _tables(name: str, records: Sequence[Record]) -> list[NamedTable]:
    """Return records as a table; what each record holds several of (one a band, say) gets a table of its own."""
    spread = [key for key in records[0] if key not in _HIDDEN and _is_spread(records[0][key])]
    tables = [NamedTable(name, _table([{k: v for k, v in record.items() if k not in spread} for record in records]))]
    for key in spread:
        heads = [{k: record[k] for k in ("group", "first", "second") if k in record} for record in records]
        wide = [{**head, **record.get(key, {})} for head, record in zip(heads, records, strict=True)]
        tables.append(NamedTable(f"{name}, {words(key)}" if name else words(key), _table(wide)))
    return tables


def _is_spread(value: object) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(is_interval(entry) for entry in value.values())


def records_of(value: object) -> list[dict[str, Any]] | None:
    """Return a list of records, or a mapping from group to record, as records; None where it is neither."""
    if isinstance(value, Mapping) and value and not is_interval(value):
        if "resolution_fsc143_A" in value:
            return [{str(k): v for k, v in value.items()}]
        if all(
            isinstance(entry, Mapping) and not is_interval(entry) and not _holds_groups(entry)
            for entry in value.values()
        ):
            return [{"group": str(name), **entry} for name, entry in value.items()]
        return None
    if isinstance(value, list) and value and all(isinstance(entry, Mapping) for entry in value):
        return [{str(k): v for k, v in entry.items()} for entry in value]
    return None


def _holds_groups(entry: Record) -> bool:
    """Whether a mapping is a block of groups and comparisons and not a record of quantities."""
    return any(records_of(value) is not None for key, value in entry.items() if key not in _HIDDEN)


def _table(records: Sequence[Record]) -> Table:
    keys = [key for key in dict.fromkeys(key for record in records for key in record) if not _empty(records, key)]
    columns = tuple(_column(key, "first" in keys and "second" in keys) for key in keys)
    rows = tuple(tuple(_cell(record, key) for key in keys) for record in records)
    return annotated(columns, rows)


def _column(key: str, of_pairs: bool) -> Column:
    """Return a column; what two groups are compared by is a difference, first minus second."""
    column = column_of(key)
    if of_pairs and key in ("ln_ssnr", "resolution_fsc143_A"):
        return replace(column, heading=f"first minus second: {column.heading}", label="")
    return column


def _empty(records: Sequence[Record], key: str) -> bool:
    return (
        key in _HIDDEN
        or key.endswith("_reason")
        or all(record.get(key) in ("", None, [], {}) and not record.get(f"{key}_reason") for record in records)
    )


def _cell(record: Record, key: str) -> Cell:
    value = record.get(key)
    if isinstance(value, list) or (isinstance(value, Mapping) and not is_interval(value)):
        return Cell(_text(value, ""))
    return cell(record, key)


def _text(value: object, unit: str) -> str:
    """Return any value in words; the entries of lists and small mappings one after another."""
    if isinstance(value, list):
        return ", ".join(_text(entry, "") for entry in value) + (f" {unit}" if unit else "")
    if isinstance(value, Mapping) and not is_interval(value):
        return "; ".join(f"{words(str(key))}: {_text(entry, column_of(str(key)).unit)}" for key, entry in value.items())
    return "none" if value is None else quantity(value, unit)


def _groups(part: object, prefix: str) -> Iterator[tuple[str, Record]]:
    """Walk an experiment for records that hold a resolution of a group (not a difference between two)."""
    if not isinstance(part, Mapping):
        return
    for key, value in part.items():
        records = records_of(value)
        if records is None:
            name = words(key)
            yield from _groups(value, f"{prefix}{name}, " if not is_interval(value) else prefix)
            continue
        for record in records:
            label = record.get("group") or record.get("subset") or (key if len(records) == 1 else None)
            if label and "resolution_fsc143_A" in record and "first" not in record:
                yield f"{prefix}{label}", record


def _draws(record: Record) -> tuple[float, ...]:
    values = record.get("draw_resolutions_A")
    return tuple(float(v) for v in values if isinstance(v, int | float)) if isinstance(values, list) else ()


def not_done(experiments: Record, keys: Sequence[str]) -> list[str]:
    """Return a sentence for each experiment that was not done."""
    views = [view_of(key, experiments.get(key)) for key in keys]
    return [f"{view.key} ({view.title}) was not done: {view.missing.rstrip('.')}." for view in views if view.missing]
