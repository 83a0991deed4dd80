"""From the words of a mapping file to the mapping that assemble walks (agent/domain/mapping.py)."""

from agent.domain.mapping import (
    Annulled,
    EpjMapping,
    PauseColumns,
    PauseTable,
    PersonMapping,
    Place,
    PlacementTable,
    ServiceMapping,
)
from agent.settings.mapping_file import (
    AnnulledWhen,
    DateWords,
    MappingFile,
    NumberTypeWords,
    PauseWords,
    PlaceWords,
)
from agent.settings.mapping_graph import Graph, Loc
from agent.settings.yaml_reading import Document


def translate(document: Document, words: MappingFile) -> EpjMapping | None:
    """The mapping; None where it does not fit together, with a fault in `document` for each reason."""
    before = len(document.faults)
    mapping = _Translation(Graph(document), words).mapping()
    return mapping if len(document.faults) == before else None


class _Translation:
    def __init__(self, graph: Graph, words: MappingFile) -> None:
        self._graph = graph
        self._words = words
        self._service_table = words.service.table

    def mapping(self) -> EpjMapping:
        words, graph = self._words, self._graph
        self._said_of_tables()
        service = self._service()
        person_table = service.person[-1].table if service.person else self._service_table
        person = self._person(person_table)
        pauses = tuple(self._pause(pause, ("pauses", index)) for index, pause in enumerate(words.pauses))
        placements = self._placements()
        organisation_number = self._organisation_number(service, placements)
        graph.check_said_of_tables(words.tables)
        self._check_labels(person_table, person)
        return EpjMapping(
            tables=graph.tables({person_table: person.name}),
            service=service,
            person=person,
            organisation_number=organisation_number,
            pauses=pauses,
            placements=placements,
            open_ended=frozenset(day.isoformat() for day in words.open_ended),
            zone=words.zone,
        )

    def _said_of_tables(self) -> None:
        for name, said in self._words.tables.items():
            if said.key is None and said.registered is None and not said.earlier_names:
                self._graph.fault(("tables", name), "nothing is said here: write key, registered or earlier_names")

    def _tables_rest(self) -> None:
        """What `tables` says, noted after the tables were named where they are used."""
        for name, said in self._words.tables.items():
            loc: Loc = ("tables", name)
            if said.key is not None:
                self._graph.key(name, said.key, (*loc, "key"))
            self._graph.registered(name, said.registered, (*loc, "registered"))
            self._graph.earlier_names(name, said.earlier_names)

    def _service(self) -> ServiceMapping:
        words, graph, table = self._words.service, self._graph, self._service_table
        graph.table(table, ("service", "table"))
        if words.row_key is not None:
            graph.key(table, words.row_key, ("service", "row_key"))
            key = graph.columns(table, words.key, ("service", "key"))
        else:
            key = graph.key(table, words.key, ("service", "key"))
        self._tables_rest()
        person, _ = graph.path(table, words.person, ("service", "person"))
        provider, _ = graph.path(table, words.provider, ("service", "provider"))
        graph.registered(table, words.registered, ("service", "registered"))
        for label, column in words.labels.items():
            graph.column(table, column, None, ("service", "labels", label))
        order_by = None
        if words.order_by is not None:
            order_by = graph.ordering(table, words.order_by, ("service", "order_by"))
        return ServiceMapping(
            table=table,
            key=key,
            type=self._place(table, words.type, ("service", "type")),
            start=self._place(table, words.start, ("service", "start")),
            end=self._optional(table, words.end, ("service", "end")),
            person=person,
            provider=provider,
            provider_changed_on=self._optional(table, words.provider_changed_on, ("service", "provider_changed_on")),
            order_by=order_by,
            annulled_when=self._annulled(table, words.annulled_when, ("service", "annulled_when")),
            labels=dict(words.labels),
        )

    def _person(self, table: str) -> PersonMapping:
        words = self._words.person
        number_type = words.number_type
        for index, name in enumerate(words.name or ()):
            self._graph.column(table, name, "text", ("person", "name", index))
        return PersonMapping(
            number=self._place(table, words.number, ("person", "number")),
            user_number=self._place(table, words.user_number, ("person", "user_number")),
            key=self._optional(table, words.key, ("person", "key")),
            number_type=(
                number_type.fixed
                if number_type is not None and number_type.fixed is not None
                else self._optional(table, number_type, ("person", "number_type"))
            ),
            birth_date=self._optional(table, words.birth_date, ("person", "birth_date")),
            district=self._optional(table, words.district, ("person", "district")),
            name=words.name or (),
        )

    def _organisation_number(self, service: ServiceMapping, placements: PlacementTable | None) -> Place:
        words, loc = self._words.provider.organisation_number, ("provider", "organisation_number")
        starts = []
        if placements is not None:
            starts.append(placements.provider[-1].table if placements.provider else placements.table)
        if service.provider or placements is None:
            starts.append(service.provider[-1].table if service.provider else self._service_table)
        places = [self._place(table, words, loc) for table in dict.fromkeys(starts)]
        return places[0]

    def _pause(self, words: PauseWords, loc: Loc) -> PauseTable | PauseColumns:
        table = words.table or self._service_table
        begins = self._place(table, words.from_, (*loc, "from"))
        ends = self._place(table, words.to, (*loc, "to"))
        if words.table is None or words.key is None or words.service is None:
            return PauseColumns(words.number or 0, begins, ends)
        graph = self._graph
        graph.key(table, words.key, (*loc, "key"))
        service = graph.columns(table, words.service, (*loc, "service"))
        graph.same((table, service), self._service_key(), (*loc, "service"))
        graph.registered(table, words.registered, (*loc, "registered"))
        annulled = self._annulled(table, words.annulled_when, (*loc, "annulled_when"))
        return PauseTable(table, service, begins, ends, annulled)

    def _placements(self) -> PlacementTable | None:
        words, graph, loc = self._words.placements, self._graph, ("placements",)
        if words is None:
            return None
        graph.key(words.table, words.key, (*loc, "key"))
        service = graph.columns(words.table, words.service, (*loc, "service"))
        graph.same((words.table, service), self._service_key(), (*loc, "service"))
        graph.registered(words.table, words.registered, (*loc, "registered"))
        provider, _ = graph.path(words.table, words.provider, (*loc, "provider"))
        return PlacementTable(
            table=words.table,
            service=service,
            begins=self._place(words.table, words.from_, (*loc, "from")),
            provider=provider,
            annulled_when=self._annulled(words.table, words.annulled_when, (*loc, "annulled_when")),
        )

    def _check_labels(self, person_table: str, person: PersonMapping) -> None:
        """Labels are shown on screens and in findings, so they must not be a person's data."""
        if person_table != self._service_table:
            return
        places = [person.number, person.birth_date]
        hidden = {*person.name, *(place.column for place in places if place is not None and not place.via)}
        for label, column in self._words.service.labels.items():
            if column in hidden:
                self._graph.fault(("service", "labels", label), "a label is shown: it must not be a person's data")

    def _service_key(self) -> tuple[str, tuple[str, ...]]:
        return self._service_table, tuple(part.column for part in self._words.service.key)

    def _optional(self, table: str, words: PlaceWords | NumberTypeWords | DateWords | None, loc: Loc) -> Place | None:
        return None if words is None else self._place(table, words, loc)

    def _place(self, table: str, words: PlaceWords | NumberTypeWords | DateWords, loc: Loc) -> Place:
        """The place of a fact, seen from a row of `table`."""
        via, end = self._graph.path(table, words.via, (*loc, "via"))
        column = self._graph.column(end, words.column or "", words.kind, (*loc, "kind"))
        climb = None
        if isinstance(words, PlaceWords) and words.climb is not None:
            if words.climb.table != end:
                self._graph.fault((*loc, "climb", "table"), f"climb stays in the column's own table: write {end}")
            climb = self._graph.edge(end, words.climb, (*loc, "climb"))
        values = {} if isinstance(words, DateWords) else dict(words.values)
        return Place(column, via, climb, values)

    def _annulled(self, table: str, words: AnnulledWhen, loc: Loc) -> Annulled:
        for column in words:
            self._graph.column(table, column, None, (*loc, column))
        return {column: frozenset(texts) for column, texts in words.items()}
