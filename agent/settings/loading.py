"""Files to settings: every fault of every file in one go. A file with a fault gives no municipality, others do."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel

from agent.domain.codes import SERVICE_TYPES
from agent.domain.mapping import EpjMapping
from agent.settings.digest import digest
from agent.settings.faults import Fault, Place
from agent.settings.mapping_file import MappingFile
from agent.settings.mapping_tests import MappingTest, mapping_tests
from agent.settings.mapping_translation import translate
from agent.settings.model_faults import nearest, validated
from agent.settings.municipality import MunicipalitySettings
from agent.settings.profile import lacking, unfit
from agent.settings.secret_files import unusable
from agent.settings.yaml_reading import Document, read_yaml

EXIT_CONFIGURATION: Final = 78
"""EX_CONFIG of sysexits.h."""

SHORTEST_TIME_TO_LIVE: Final = timedelta(days=14)

Settings = TypeVar("Settings", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Municipality:
    """One municipality, ready to run: its file, its settings with absolute paths, its product's mapping and tests."""

    file: Path
    settings: MunicipalitySettings
    mapping: EpjMapping = field(repr=False)
    tests: tuple[MappingTest, ...] = field(default=(), repr=False)

    @property
    def unit(self) -> str:
        """The reporting unit's own name."""
        return self.settings.unit

    def number_on(self, day: date) -> str:
        """The kommunenummer valid on `day`."""
        return self.settings.municipality.number_on(day)


def mapping_digest(municipality: Municipality) -> str:
    """The digest of everything that decides what is owed (settings/digest.py), for the gate."""
    return digest(municipality.settings, municipality.mapping)


@dataclass(frozen=True, slots=True)
class Loaded:
    """`municipalities` in the order of the files. `refused`: file -> its faults, those of its mapping among them.

    `warnings` refuse nothing. Faults and warnings are in the order of files and lines, each once.
    """

    municipalities: tuple[Municipality, ...]
    faults: tuple[Fault, ...] = ()
    warnings: tuple[Fault, ...] = ()
    refused: Mapping[Path, tuple[Fault, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Product:
    """A mapping file as read, for all the municipalities that name it."""

    document: Document
    mapping: EpjMapping | None
    tests: tuple[MappingTest, ...]


@dataclass(slots=True)
class _Draft:
    """A municipality's file on its way."""

    document: Document
    settings: MunicipalitySettings | None = None
    product: _Product | None = None
    warnings: list[Fault] = field(default_factory=list)

    def faults(self) -> list[Fault]:
        of_product = self.product.document.faults if self.product is not None else []
        return list(dict.fromkeys([*sorted(self.document.faults), *sorted(of_product)]))

    def refuse(self, place: Place, text: str) -> None:
        self.document.faults.append(self.document.fault(place, text))


def load(paths: Sequence[Path], *, look_at_files: bool = False) -> Loaded:
    """The municipalities of these files, and all that is wrong. Never raises for what a file holds.

    `look_at_files`: whether keys, certificates and passwords must be there and be kept from others.
    """
    products: dict[Path, _Product] = {}
    drafts = [_draft(Path(path), products) for path in dict.fromkeys(paths)]
    for draft in drafts:
        if look_at_files and draft.settings is not None:
            for place, text in unusable(draft.settings):
                draft.refuse(place, text)
    _refuse_what_clashes(drafts)
    good = tuple(
        Municipality(draft.document.file, draft.settings, draft.product.mapping, draft.product.tests)
        for draft in drafts
        if draft.settings is not None and draft.product is not None and draft.product.mapping and not draft.faults()
    )
    return Loaded(
        good,
        tuple(dict.fromkeys(fault for draft in drafts for fault in draft.faults())),
        tuple(dict.fromkeys(warning for draft in drafts for warning in draft.warnings)),
        {draft.document.file: tuple(draft.faults()) for draft in drafts if draft.faults()},
    )


def check_files(paths: Sequence[Path], *, look_at_files: bool = False) -> int:
    """Print a line for each good file to stdout, each fault and warning to stderr. 0, or 78 with faults."""
    loaded = load(paths, look_at_files=look_at_files)
    for municipality in loaded.municipalities:
        settings = municipality.settings
        sys.stdout.write(f"{municipality.file}: {settings.unit}: good ({settings.profile}, {settings.mode})\n")
    for warning in loaded.warnings:
        sys.stderr.write(f"{warning} (a warning)\n")
    for fault in loaded.faults:
        sys.stderr.write(f"{fault}\n")
    return EXIT_CONFIGURATION if loaded.faults else 0


def load_mapping(path: Path) -> tuple[EpjMapping | None, tuple[MappingTest, ...], tuple[Fault, ...]]:
    """A mapping file by itself: the mapping (None with faults), its tests, its faults."""
    product = _product(path)
    return product.mapping, product.tests, tuple(sorted(product.document.faults))


def _draft(path: Path, products: dict[Path, _Product]) -> _Draft:
    draft = _Draft(read_yaml(path))
    settings = validated(draft.document, MunicipalitySettings)
    for place, text in (*lacking(draft.document), *unfit(draft.document)):
        draft.refuse(place, text)
    named = draft.document.at("epj", "mapping")
    if isinstance(named, str):
        mapping_path = Path(os.path.normpath(path.parent / named))
        key = mapping_path.resolve()
        if key not in products and mapping_path.is_file():
            products[key] = _product(mapping_path)
        draft.product = products.get(key)
        if draft.product is None:
            draft.refuse(("epj", "mapping"), "there is no such file beside this one: write its path from here")
    if settings is not None:
        draft.settings = resolved(settings, path.parent)
        draft.warnings.extend(_warnings(draft.document, settings))
        _check_against_mapping(draft, settings)
    return draft


def _product(path: Path) -> _Product:
    document = read_yaml(path)
    words = validated(document, MappingFile)
    if words is None:
        return _Product(document, None, ())
    mapping = translate(document, words)
    if mapping is None:
        return _Product(document, None, ())
    tests = mapping_tests(document, words, mapping)
    return _Product(document, None if document.faults else mapping, tests)


def resolved(settings: Settings, folder: Path) -> Settings:
    """The settings with every relative path made absolute from `folder`, in sections of connectors too."""
    changed = {
        name: _resolved(getattr(settings, name), folder.resolve())
        for name in type(settings).model_fields
        if _resolved(getattr(settings, name), folder.resolve()) != getattr(settings, name)
    }
    return settings.model_copy(update=changed) if changed else settings


def _resolved(value: Any, folder: Path) -> Any:
    if isinstance(value, BaseModel):
        return resolved(value, folder)
    if isinstance(value, Path):
        return folder / value
    if isinstance(value, tuple):
        return tuple(_resolved(item, folder) for item in value)
    return value


def _check_against_mapping(draft: _Draft, settings: MunicipalitySettings) -> None:
    """What a municipality says of tables must be in its product's mapping."""
    mapping = draft.product.mapping if draft.product is not None else None
    if mapping is None:
        return
    for index, table in enumerate(settings.epj.only.tables if settings.epj.only is not None else ()):
        if table not in mapping.tables:
            near = nearest(table, list(mapping.tables))
            hint = f': did you mean "{near}"?' if near is not None else ""
            draft.refuse(("epj", "only", "tables", index), f"no such table in the mapping{hint}")
    known = {
        name
        for table in mapping.tables.values()
        for column in table.columns
        for name in (f"{table.name}.{column}", f"{table.name.rpartition('.')[2]}.{column}")
    }
    for name in settings.source.encodings.columns:
        if name not in known:
            near = nearest(name, sorted(known))
            hint = f': did you mean "{near}"?' if near is not None else ": write table.column"
            draft.refuse(("source", "encodings", "columns", name), f"no such column in the mapping{hint}")


def _warnings(document: Document, settings: MunicipalitySettings) -> Iterator[Fault]:
    time_to_live = settings.messages.time_to_live
    if time_to_live is not None and time_to_live < SHORTEST_TIME_TO_LIVE:
        yield document.fault(
            ("messages", "time_to_live"), "below 14d a message that was accepted can be lost on the bus: remove the key"
        )
    for local, code in settings.epj.service_types.items():
        known = SERVICE_TYPES.get(code)
        if known is not None and known.replaced_by is not None:
            place: Place = ("epj", "service_types", local)
            yield document.fault(place, f'{code} is obsolete, its services are parked: write "{known.replaced_by}"')


def _refuse_what_clashes(drafts: Sequence[_Draft]) -> None:
    """Two municipalities with one unit, ledger or queue: both are refused, for nobody can tell which one is right."""
    seen: dict[tuple[str, str], list[tuple[_Draft, Place]]] = {}
    for draft in drafts:
        for what, place, value in _unique(draft):
            seen.setdefault((what, value), []).append((draft, place))
    for (what, _), holders in seen.items():
        for draft, place in holders:
            others = [other.document.file for other, _ in holders if other is not draft]
            if others:
                draft.refuse(place, f"{others[0]} has the same {what}: each municipality needs its own")


def _unique(draft: _Draft) -> Iterator[tuple[str, Place, str]]:
    """What no two municipalities may share, read from files with other faults too."""
    document = draft.document
    unit, ledger = document.at("unit"), document.at("ledger", "path")
    if isinstance(unit, str):
        yield "unit", ("unit",), unit
    if isinstance(ledger, str):
        yield "ledger", ("ledger", "path"), str((document.file.parent / ledger).resolve())
    if isinstance(document.at("bus", "folder"), dict):
        return
    for key in ("queue", "error_queue"):
        queue = document.at("parties", "municipality", key)
        if isinstance(queue, str):
            yield "queue", ("parties", "municipality", key), queue
