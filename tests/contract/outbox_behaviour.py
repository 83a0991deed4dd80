"""What the outbox table does on every database, beyond the contract of a source."""

import json

import pytest
import sqlalchemy as sa

from connectors.source import Change, Operation, SourceChanged, Transaction, Unreadable
from tests.contract.outbox_stage import OutboxStage
from tests.contract.source_behaviour import (
    WANTED,
    Seen,
    SourceBehaviour,
    Written,
    caught_up,
    read_all,
    read_until,
    reading,
)

ROW = {"tjeneste_id": 1, "status": "a", "start_dato": "2026-01-15"}


def whole(stage: OutboxStage, *rows: dict[str, object]) -> None:
    with stage.engine.begin() as connection:
        for row in rows:
            stage.put(connection, {"tabell": WANTED, "operasjon": "U", "foer": None, "etter": None, **row})


class OutboxBehaviour(SourceBehaviour):
    """Inherit with a fixture `stage` that is an OutboxStage."""

    @pytest.mark.parametrize("word", ["I", "u", "INSERT", "Update", "c"])
    async def test_spellings_of_an_upsert(self, stage: OutboxStage, word: str) -> None:
        whole(stage, {"operasjon": word, "etter": json.dumps(ROW)})
        (change,) = (await read_all(stage.open(None))).changes
        assert (change.operation, change.key) == (Operation.UPSERT, {"tjeneste_id": 1})

    @pytest.mark.parametrize("word", ["d", "D", "Delete"])
    async def test_spellings_of_a_deletion(self, stage: OutboxStage, word: str) -> None:
        whole(stage, {"operasjon": word, "foer": json.dumps(ROW)})
        (change,) = (await read_all(stage.open(None))).changes
        assert (change.operation, change.key, change.row) == (Operation.DELETE, {"tjeneste_id": 1}, None)

    async def test_a_changed_key_is_a_deletion_and_a_new_row(self, stage: OutboxStage) -> None:
        whole(stage, {"foer": json.dumps(ROW), "etter": json.dumps({**ROW, "tjeneste_id": 2})})
        deletion, upsert = (await read_all(stage.open(None))).changes
        assert (deletion.operation, deletion.key) == (Operation.DELETE, {"tjeneste_id": 1})
        assert (upsert.operation, upsert.key) == (Operation.UPSERT, {"tjeneste_id": 2})

    async def test_a_missing_mapped_column_stops_the_source_and_names_it(self, stage: OutboxStage) -> None:
        stage.write([Written(1, "a")])
        whole(stage, {"etter": json.dumps({"tjeneste_id": 2, "status": "b"})})
        seen = Seen()
        with pytest.raises(SourceChanged, match=r"demo\.tjeneste lack the mapped column start_dato"):
            async with reading(stage.open(None)) as stream:
                await read_until(stream, caught_up, seen)
        assert seen.told == [(1, "a")]

    async def test_rows_that_cannot_be_read_are_kept_and_passed(self, stage: OutboxStage) -> None:
        whole(
            stage,
            {"operasjon": "?", "etter": json.dumps(ROW)},
            {"tabell": None},
            {"operasjon": "U"},
            {"operasjon": "D"},
            {"etter": "[1]"},
            {"etter": json.dumps({**ROW, "tjeneste_id": None})},
            {"etter": json.dumps(ROW)},
        )
        seen = await read_all(stage.open(None))
        records = [record for transaction in seen.transactions for record in transaction.records]
        assert [type(record) for record in records] == [Unreadable] * 6 + [Change]

    async def test_a_bare_table_name_needs_its_schema(self, stage: OutboxStage) -> None:
        whole(stage, {"tabell": "tjeneste", "etter": json.dumps(ROW)})
        with pytest.raises(SourceChanged) as refusal:
            await read_all(stage.open(None))
        assert "table_schema" in refusal.value.repair
        assert len((await read_all(stage.open(None, table_schema="demo"))).changes) == 1

    async def test_rows_of_one_transaction_come_together(self, stage: OutboxStage) -> None:
        with stage.engine.begin() as connection:
            for number, tx in enumerate(["1", "1", "1", "2", "2", None, None]):
                stage.insert(connection, Written(number, "a"), tx=tx)
        seen = await read_all(stage.open(None))
        assert [len(transaction.records) for transaction in seen.transactions] == [3, 2, 1, 1, 0]
        assert all(transaction.final for transaction in seen.transactions)

    async def test_a_transaction_cut_by_the_batch_is_read_whole(self, stage: OutboxStage) -> None:
        with stage.engine.begin() as connection:
            for number in range(12):
                stage.insert(connection, Written(number, "a"), tx="1" if number < 5 else "2" if number < 10 else "3")
        seen = await read_all(stage.open(None))
        assert [len(transaction.records) for transaction in seen.transactions] == [5, 5, 2, 0]

    @pytest.mark.parametrize("rows", [20, 21])
    async def test_a_transaction_larger_than_a_batch_comes_in_parts(self, stage: OutboxStage, rows: int) -> None:
        with stage.engine.begin() as connection:
            for number in range(rows):
                stage.insert(connection, Written(number, "a"), tx="1")
        seen = await read_all(stage.open(None))
        finals = [transaction.final for transaction in seen.transactions]
        assert finals[:2] == [False, False]
        assert finals[-1]
        assert len(seen.changes) == rows

    async def test_parts_end_before_another_transaction_begins(self, stage: OutboxStage) -> None:
        with stage.engine.begin() as connection:
            for number in range(16):
                stage.insert(connection, Written(number, "a"), tx="1" if number < 14 else "2")
        seen = await read_all(stage.open(None))
        shape = [(len(transaction.records), transaction.final) for transaction in seen.transactions]
        assert shape == [(7, False), (7, False), (0, True), (2, True), (0, True)]

    async def test_reads_one_batch_ahead_at_most(self, stage: OutboxStage) -> None:
        stage.write([Written(number, "a") for number in range(30)])
        async with reading(stage.open(None)) as stream:
            seen = await read_until(stream, lambda seen: len(seen.changes) >= 1)
            with stage.engine.begin() as connection:
                connection.execute(sa.text("DELETE FROM endringslogg WHERE nr BETWEEN 8 AND 29"))
            await read_until(stream, caught_up, seen)
        assert [key for key, _ in seen.told] == [0, 1, 2, 3, 4, 5, 6, 29]

    async def test_a_log_that_was_trimmed_is_read_on(self, stage: OutboxStage) -> None:
        stage.write([Written(number, "a") for number in range(10)])
        position = (await read_all(stage.open(None))).position
        with stage.engine.begin() as connection:
            connection.execute(sa.text("DELETE FROM endringslogg"))
        assert (await read_all(stage.open(position))).told == []
        stage.write([Written(77, "b")])
        assert (await read_all(stage.open(position))).told == [(77, "b")]

    async def test_exact_numbers_outlive_the_json_column(self, stage: OutboxStage) -> None:
        whole(stage, {"etter": json.dumps({**ROW, "tjeneste_id": 2**60 + 1})})
        (change,) = (await read_all(stage.open(None))).changes
        assert change.key == {"tjeneste_id": 2**60 + 1}


def keys_of(transactions: list[Transaction]) -> list[int]:
    """The log's keys of the changes, in the order they came."""
    return [
        record.version.order[0]
        for transaction in transactions
        for record in transaction.records
        if isinstance(record, Change) and record.version is not None
    ]
