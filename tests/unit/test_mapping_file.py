"""The mapping file: short forms, the whole grammar, and a graph that must fit together."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from agent.domain.mapping import (
    Edge,
    EpjMapping,
    Meaning,
    PauseColumns,
    PauseTable,
    Place,
    Registered,
    Which,
)
from agent.settings import Fault, MappingTest, load_mapping
from tests.unit.settings_files import MAPPING, line_of

RICH = """\
version: 1
zone: UTC
open_ended: [9999-12-31, 2999-12-31]
service:
  table: epj.vedtak
  key: [{column: kommune}, {column: tjeneste_id, kind: integer}]
  row_key: {column: vedtak_id, kind: integer}
  order_by: {column: versjon, kind: integer}
  type: {column: kode, via: {by: type_id, table: epj.type, key: type_id}}
  start: {column: fra, kind: timestamp}
  person: {by: [kommune, person_id], table: epj.person, key: [kommune, person_id]}
  provider:
    - {by: avdeling_id, table: epj.avdeling, key: avdeling_id}
    - {by: enhet_id, table: epj.enhet, key: enhet_id}
  provider_changed_on: {column: enhet_fra, kind: instant}
  registered: {created: laget, kind: instant}
  annulled_when: {status: FEIL, slettet: ["1"]}
  labels: {sak: saksnummer}
person:
  number:
    column: nummer
    via: {by: person_id, table: epj.nummer, match: person_id, last: {column: fra, kind: date}}
  number_type: {fixed: "1"}
  user_number: {column: person_id, kind: integer}
  key: person_guid
  birth_date: {column: fodt, kind: date}
  district: bydel
  name: navn
provider:
  organisation_number: {column: orgnr, climb: {by: over_id, table: epj.enhet, key: enhet_id}}
pauses:
  - table: epj.pause
    key: pause_id
    service: [kommune, tjeneste_id]
    from: {column: fra, kind: date}
    to: {column: til, kind: date}
  - {number: 1, from: {column: stopp_fra, kind: date}, to: {column: stopp_til, kind: date}}
placements:
  table: epj.opphold
  key: {column: opphold_id, kind: integer}
  service: [kommune, tjeneste_id]
  from: {column: fra, kind: date}
  provider: {by: enhet_id, table: epj.enhet, key: enhet_id}
tables:
  epj.nummer: {key: nummer_id, earlier_names: {nummer: [fnr, pnr]}}
  epj.enhet: {registered: {changed: endret, kind: timestamp}}
"""


def load(folder: Path, text: str) -> tuple[EpjMapping | None, tuple[MappingTest, ...], tuple[Fault, ...]]:
    file = folder / "mapping.yaml"
    file.write_text(text, encoding="utf-8")
    return load_mapping(file)


def good(folder: Path, text: str) -> EpjMapping:
    mapping, _, faults = load(folder, text)
    assert faults == ()
    assert mapping is not None
    return mapping


def test_short_forms_and_keys_take_the_kind_of_what_they_refer_to(tmp_path: Path) -> None:
    mapping = good(tmp_path, MAPPING)
    assert mapping.service.type == Place("lokal_type")
    assert mapping.service.person == (Edge(("bruker_id",), "public.bruker", ("bruker_id",)),)
    assert mapping.person.name == ("fornavn", "etternavn")
    assert mapping.person.number_type is None
    service = mapping.tables["public.tjeneste"]
    assert service.columns["bruker_id"] is Meaning.INTEGER
    assert service.columns["enhet_id"] is Meaning.TEXT
    assert service.columns["start_dato"] is Meaning.DATE
    assert mapping.tables["public.bruker"].columns == {"bruker_id": Meaning.INTEGER, "fnr": Meaning.TEXT}
    assert mapping.open_ended == {"9999-12-31"}
    assert mapping.zone == "Europe/Oslo"


def test_the_whole_grammar(tmp_path: Path) -> None:
    mapping = good(tmp_path, RICH)
    service, person = mapping.service, mapping.person
    assert mapping.zone == "UTC"
    assert mapping.open_ended == {"9999-12-31", "2999-12-31"}
    assert service.key == ("kommune", "tjeneste_id")
    assert mapping.tables["epj.vedtak"].key == ("vedtak_id",)
    assert service.order_by == "versjon"
    assert service.end is None
    assert service.type.via == (Edge(("type_id",), "epj.type", ("type_id",)),)
    assert [edge.table for edge in service.provider] == ["epj.avdeling", "epj.enhet"]
    assert service.annulled_when == {"status": {"FEIL"}, "slettet": {"1"}}
    assert person.number_type == "1"
    assert person.number.via == (Edge(("person_id",), "epj.nummer", ("person_id",), Which.LAST, "fra"),)
    assert person.key == Place("person_guid")
    assert person.name == ("navn",)
    assert mapping.organisation_number.climb == Edge(("over_id",), "epj.enhet", ("enhet_id",))
    table, columns = mapping.pauses
    assert isinstance(table, PauseTable)
    assert isinstance(columns, PauseColumns)
    assert table.service == ("kommune", "tjeneste_id")
    assert columns.number == 1
    assert mapping.placements is not None
    assert mapping.placements.begins == Place("fra")
    tables = mapping.tables
    assert tables["epj.pause"].columns["tjeneste_id"] is Meaning.INTEGER
    assert tables["epj.nummer"].columns["person_id"] is Meaning.INTEGER
    assert tables["epj.vedtak"].columns["person_id"] is Meaning.INTEGER
    assert tables["epj.vedtak"].columns["enhet_fra"] is Meaning.INSTANT
    assert tables["epj.vedtak"].columns["stopp_til"] is Meaning.DATE
    assert tables["epj.nummer"].earlier_names == {"nummer": ("fnr", "pnr")}
    assert tables["epj.enhet"].registered == Registered(changed="endret")
    assert tables["epj.enhet"].columns["endret"] is Meaning.TIMESTAMP
    assert "navn" not in tables["epj.person"].columns
    assert mapping.lookups()["epj.nummer"] == {("person_id",)}


def test_a_reference_to_one_row_follows_the_order_of_that_tables_key(tmp_path: Path) -> None:
    swapped = RICH.replace(
        "person: {by: [kommune, person_id], table: epj.person, key: [kommune, person_id]}",
        "person: {by: [person_id, kommune], table: epj.person, key: [person_id, kommune]}",
    ).replace("tables:\n", "tables:\n  epj.person: {key: [kommune, person_id]}\n")
    (edge,) = good(tmp_path, swapped).service.person
    assert edge.match == ("kommune", "person_id")
    assert edge.by == ("kommune", "person_id")


def test_a_person_and_a_provider_in_the_service_row_need_no_steps(tmp_path: Path) -> None:
    text = MAPPING.replace(
        "  person: {by: bruker_id, table: public.bruker, key: {column: bruker_id, kind: integer}}\n", ""
    ).replace("  provider: {by: enhet_id, table: public.enhet, key: enhet_id}\n", "")
    mapping = good(tmp_path, text)
    assert set(mapping.tables) == {"public.tjeneste"}
    assert {"fnr", "orgnr"} <= set(mapping.tables["public.tjeneste"].columns)
    assert "fornavn" not in mapping.tables["public.tjeneste"].columns


@pytest.mark.parametrize(
    ("old", "new", "key", "text"),
    [
        ("epj.nummer: {key: nummer_id, e", "epj.nummer: {e", "person.number.via.table", "the key of epj.nummer"),
        ("  epj.enhet: {reg", "  epj.enhett: {reg", "tables.epj.enhett", 'did you mean "epj.enhet"'),
        ("{nummer: [fnr", "{numer: [fnr", "tables.epj.nummer.earlier_names.numer", 'did you mean "nummer"'),
        ("start: {column: fra, kind: timestamp}", "start: {column: versjon, kind: date}", "service.start.kind",
         "integer elsewhere (line 8)"),
        ("start: {column: fra, kind: timestamp}", "start: {column: fra}", "service.start.kind", "is missing"),
        ("start: {column: fra, kind: timestamp}", "start: {column: fra, kind: text}", "service.start.kind",
         "write one of date, timestamp, instant"),
        ("start: {column: fra, kind: timestamp}", "start: fra", "service.start", "keys and values"),
        ("order_by: {column: versjon, kind: integer}", "order_by: versjon", "service.order_by", "say its kind"),
        ("last: {column: fra, kind: date}", "last: fra", "person.number.via.last", "say its kind"),
        ("match: person_id, last: {column: fra, kind: date}", "match: person_id", "person.number.via", "first or last"),
        ("match: person_id, last", "key: person_id, last", "person.number.via", "need match"),
        ("table: epj.type, key: type_id}", "table: epj.type}", "service.type.via", "write key"),
        ("by: [kommune, person_id]", "by: person_id", "service.person", "go in pairs"),
        ("  row_key: {column: vedtak_id, kind: integer}\n", "", "service", "belong together"),
        ("climb: {by: over_id, table: epj.enhet", "climb: {by: over_id, table: epj.avdeling",
         "provider.organisation_number.climb.table", "write epj.enhet"),
        ("by: over_id, table: epj.enhet, key: enhet_id", "by: enhet_id, table: epj.enhet, key: enhet_id",
         "provider.organisation_number.climb.by", "leads back"),
        ("table: epj.enhet, key: enhet_id}\n  provider_changed", "table: epj.enhet, key: nr}\n  provider_changed",
         "provider.organisation_number.climb.key", "the key of epj.enhet is nr elsewhere"),
        ("service: [kommune, tjeneste_id]\n    from", "service: tjeneste_id\n    from",
         "pauses[0].service", "2 columns"),
        ("key: pause_id\n", "key: pause_id\n    number: 3\n", "pauses[0]", "have no number"),
        ("{number: 1, from", "{from", "pauses[1]", "need number"),
        ("{by: avdeling_id, table: epj.avdeling, key: avdeling_id}",
         "{by: avdeling_id, table: epj.avdeling, key: {column: avdeling_id, kind: date}}", "", ""),
        ("number_type: {fixed: \"1\"}", "number_type: {fixed: \"1\", column: x}", "person.number_type", "either"),
        ("registered: {created: laget, kind: instant}", "registered: {kind: instant}", "service.registered", "created"),
        ("registered: {created: laget, kind: instant}", "registered: {created: laget}", "service.registered.kind",
         "missing"),
        ("zone: UTC", "zone: Oslo", "zone", "time zone"),
        ("labels: {sak: saksnummer}", "lables: {sak: saksnummer}", "service.lables", 'did you mean "labels"'),
        ("district: bydel", "district: [bydel]", "person.district", "keys and values"),
        ("key: person_guid", "key: 7", "person.key", "keys and values"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_where_it_stands(tmp_path: Path, old: str, new: str, key: str, text: str) -> None:
    assert RICH.count(old) == 1, old
    mapping, _, faults = load(tmp_path, RICH.replace(old, new))
    if not key:
        assert faults == ()  # a control: exchanging alone refuses nothing
        return
    assert mapping is None
    assert text in {fault.key: fault.text for fault in faults}.get(key, f"no fault at {key}: {faults}")


def test_two_kinds_for_the_two_ends_of_a_step_are_refused(tmp_path: Path) -> None:
    text = MAPPING.replace("by: enhet_id, table: public.enhet, key: enhet_id", (
        "by: {column: enhet_id, kind: integer}, table: public.enhet, key: {column: enhet_id, kind: text}"
    ))  # fmt: skip
    _, _, (fault,) = load(tmp_path, text)
    assert fault.key == "service.provider.by"
    assert "they need the same kind" in fault.text
    assert fault.line == line_of(tmp_path / "mapping.yaml", "provider: {by")


def test_a_label_must_not_be_a_persons_data(tmp_path: Path) -> None:
    text = MAPPING.replace(
        "  person: {by: bruker_id, table: public.bruker, key: {column: bruker_id, kind: integer}}\n",
        "  labels: {navn: etternavn, sak: saksnummer, nummer: fnr}\n",
    )
    _, _, faults = load(tmp_path, text)
    assert {fault.key for fault in faults} == {"service.labels.navn", "service.labels.nummer"}


TESTS = """\
tests:
  - name: begins
    today: 2026-03-01
    service_types: {LANG: "21"}
    rows:
      public.bruker: [{bruker_id: 1, fnr: "17854010026", fornavn: Test}]
      public.tjeneste: [{tjeneste_id: 3, bruker_id: 1, lokal_type: LANG, start_dato: 2026-02-01, slutt_dato: null}]
    expect: [TjenesteStart N]
"""


def test_tests_are_kept_as_rows_of_decoded_values(tmp_path: Path) -> None:
    text = MAPPING.replace(
        "  end: ", "  registered: {created: laget, changed: endret, kind: instant}\n  end: "
    ) + TESTS.replace("slutt_dato: null", "slutt_dato: null, endret: 2026-02-01T08:00:00+01:00")
    _, (test,), faults = load(tmp_path, text)
    assert faults == ()
    assert test == MappingTest(
        "begins",
        date(2026, 3, 1),
        {"LANG": "21"},
        {
            "public.bruker": ({"bruker_id": 1, "fnr": "17854010026", "fornavn": "Test"},),
            "public.tjeneste": (
                {
                    "tjeneste_id": 3,
                    "bruker_id": 1,
                    "lokal_type": "LANG",
                    "start_dato": date(2026, 2, 1),
                    "slutt_dato": None,
                    "endret": datetime(2026, 2, 1, 7, tzinfo=UTC),
                },
            ),
        },
        ("TjenesteStart N",),
    )


@pytest.mark.parametrize(
    ("old", "new", "key", "text"),
    [
        ("public.bruker: [", "public.brukr: [", "tests[0].rows.public.brukr", 'did you mean "public.bruker"'),
        ("fnr: ", "fmr: ", "tests[0].rows.public.bruker[0].fmr", 'did you mean "fnr"'),
        ('"17854010026"', "17854010026", "tests[0].rows.public.bruker[0].fnr", "put the value in double quotes"),
        ("{tjeneste_id: 3", '{tjeneste_id: "3"', "tests[0].rows.public.tjeneste[0].tjeneste_id", "without quotes"),
        ("{tjeneste_id: 3, ", "{", "tests[0].rows.public.tjeneste[0]", "which is its key"),
        ("start_dato: 2026-02-01", "start_dato: soon", "tests[0].rows.public.tjeneste[0].start_dato", "YYYY-MM-DD"),
        ("[TjenesteStart N]", "[TjenesteStart]", "tests[0].expect[0]", ""),
        ("    today: 2026-03-01\n", "", "tests[0].today", "missing"),
    ],
)
def test_tests_that_do_not_fit_the_mapping_are_refused(tmp_path: Path, old: str, new: str, key: str, text: str) -> None:
    assert TESTS.count(old) == 1, old
    mapping, _, faults = load(tmp_path, MAPPING + TESTS.replace(old, new))
    assert mapping is None
    assert text in {fault.key: fault.text for fault in faults}.get(key, f"no fault at {key}: {faults}")


def test_a_mapping_need_not_name_the_columns_of_a_name(tmp_path: Path) -> None:
    assert good(tmp_path, RICH.replace("  name: navn\n", "")).person.name == ()
