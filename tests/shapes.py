"""Mappings of other shapes than the demo's, as small as they can be: what the mechanism must carry."""

from typing import Final

GROUPED_PERSON: Final = """
version: 1
service:
  table: sak
  key: {column: sak_id, kind: integer}
  type: type
  start: {column: fra, kind: date}
  end: {column: til, kind: date}
  person: {by: person_id, table: person, key: {column: person_id, kind: integer}}
person:
  number: fnr
  user_number: brukernr
  name: navn
  birth_date: {column: fodt, kind: date}
provider: {organisation_number: orgnr}
"""
"""The user number is a column of its own, the provider stands in the service's row, no number type, no pauses."""

PLACEMENTS: Final = """
version: 1
service:
  table: sak
  key: {column: sak_id, kind: integer}
  type: type
  start: {column: fra, kind: date}
  end: {column: til, kind: date}
  person: {by: person_id, table: person, key: {column: person_id, kind: integer}}
person: {number: fnr, user_number: person_id, name: navn}
provider: {organisation_number: orgnr}
placements:
  table: opphold
  key: {column: opphold_id, kind: integer}
  service: sak_id
  from: {column: fra, kind: date}
  provider: {by: enhet_id, table: enhet, key: {column: enhet_id, kind: integer}}
  annulled_when: {status: [SLETTET]}
"""
"""Dated providers."""

CHANGED_ON: Final = """
version: 1
service:
  table: sak
  key: {column: sak_id, kind: integer}
  type: type
  start: {column: fra, kind: date}
  end: {column: til, kind: date}
  person: {by: person_id, table: person, key: {column: person_id, kind: integer}}
  provider_changed_on: {column: enhet_fra, kind: date}
person: {number: fnr, user_number: person_id, name: navn}
provider: {organisation_number: orgnr}
pauses:
  - {number: 1, from: {column: p1_fra, kind: date}, to: {column: p1_til, kind: date}}
  - {number: 2, from: {column: p2_fra, kind: date}, to: {column: p2_til, kind: date}}
"""
"""A column dates the change of provider; two pauses are columns of the service."""

DECISIONS: Final = """
version: 1
service:
  table: tjeneste
  key: {column: tjeneste_id, kind: integer}
  type:
    column: type
    via:
      - {by: vedtak_id, table: vedtak, key: {column: vedtak_id, kind: integer}}
      - by: vedtak_id
        table: vedtak_versjon
        key: {column: versjon_id, kind: integer}
        match: vedtak_id
        last: {column: nr, kind: integer}
    values: {L: LANG, K: KORT}
  start: {column: fra, kind: date}
  end:
    column: avsluttet
    kind: date
    via: {by: tjeneste_id, table: avslutning, key: {column: avslutning_id, kind: integer}, match: tjeneste_id,
      last: {column: avslutning_id, kind: integer}}
  person: {by: person_id, table: person, key: {column: person_id, kind: integer}}
  provider: {by: enhet_id, table: enhet, key: {column: enhet_id, kind: integer}}
person:
  number:
    column: nummer
    via: {by: person_id, table: nummer, key: {column: nummer_id, kind: integer}, match: person_id,
      last: {column: gyldig_fra, kind: date}}
  user_number: person_id
  name: navn
  birth_date: {column: fodt, kind: date}
provider:
  organisation_number:
    column: orgnr
    climb: {by: over_id, table: enhet, key: {column: enhet_id, kind: integer}}
"""
"""A decision with versions two steps away, ends in a table of their own, a history of numbers, units under parents."""

MANY_ROWS: Final = """
version: 1
service:
  table: vedtak
  key: {column: tjeneste_id, kind: integer}
  row_key: {column: vedtak_id, kind: integer}
  order_by: {column: versjon, kind: integer}
  type: type
  start: {column: fra, kind: date}
  end: {column: til, kind: date}
  annulled_when: {status: [SLETTET]}
  person: {by: person_id, table: person, key: {column: person_id, kind: integer}}
person: {number: fnr, user_number: person_id, name: navn}
provider: {organisation_number: orgnr}
"""
"""Several rows make one service."""

GROUPED_PLACEMENTS: Final = """
version: 1
service:
  table: opphold
  key: {column: sak_id, kind: integer}
  row_key: {column: opphold_id, kind: integer}
  order_by: {column: fra, kind: date}
  type: type
  start: {column: fra, kind: date}
  end: {column: til, kind: date}
  person: {by: person_id, table: person, key: {column: person_id, kind: integer}}
person: {number: fnr, user_number: person_id, name: navn}
provider: {organisation_number: orgnr}
placements:
  table: opphold
  key: {column: opphold_id, kind: integer}
  service: sak_id
  from: {column: fra, kind: date}
"""
"""Placements grouped into one service: the rows of the stay are themselves the placements."""
