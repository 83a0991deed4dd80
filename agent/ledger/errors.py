"""What can be wrong with a ledger, each named by the reaction it calls for. No text quotes a row or a key."""

from pathlib import Path


class LedgerError(Exception):
    """Trouble with the ledger. `code` is stable; the text says what to do."""

    code: str = "KPR-500"


class LedgerBusy(LedgerError):
    """Another process is the writer of this ledger (invariant 11): stop that one, or use the verb that asks it."""

    code = "KPR-501"


class LedgerWrongKey(LedgerError):
    """The ledger was made with another master key: name the right key file. Nothing was changed."""

    code = "KPR-502"


class LedgerWrongUnit(LedgerError):
    """The ledger belongs to another reporting unit: mend `ledger.path` or `unit`. Nothing was changed."""

    code = "KPR-503"


class LedgerTooNew(LedgerError):
    """A newer program has written this ledger: run that program, or a later one."""

    code = "KPR-504"


class LedgerCorrupt(LedgerError):
    """A row, or the file, is not what was written. `table` and `row_id` name the place; the content is never quoted."""

    code = "KPR-505"

    def __init__(self, text: str, *, table: str | None = None, row_id: str | None = None) -> None:
        super().__init__(text)
        self.table = table
        self.row_id = row_id


class LedgerSuperseded(LedgerError):
    """Another process has opened the ledger for write since (invariant 11): this one must end at once."""

    code = "KPR-506"


class PositionConflict(LedgerError):
    """A position of another incarnation, or behind the stored one (invariant 2): stop, a person decides."""

    code = "KPR-507"


class ChainBroken(LedgerError):
    """A notification that does not follow the end of the chain (invariant 4): stop, a fault of the program."""

    code = "KPR-508"


class LedgerKeyUnusable(LedgerError):
    """The master key's file is missing, too open to others, or not a key: mend the file."""

    code = "KPR-509"


class LedgerMissing(LedgerError):
    """There is no ledger at that path to read: start the daemon once, or mend `ledger.path`."""

    code = "KPR-510"


class LedgerTooOld(LedgerError):
    """The ledger awaits an upgrade, which reading cannot make: start the daemon of this version once."""

    code = "KPR-511"


class LedgerUnavailable(LedgerError):
    """The disk is full, fails or does not answer: pause the source, acknowledge nothing, try again."""

    code = "KPR-512"


class LedgerReadOnly(LedgerError):
    """Something was to be written through a reading transaction: a fault of the program."""

    code = "KPR-513"


class NotificationForgotten(LedgerError):
    """The fields of a notification were deleted by retention; its place in the chain remains."""

    code = "KPR-514"


class IdentityConflict(LedgerError):
    """An identity that was made once was to be replaced (invariant 5): stop, a fault of the program or an import."""

    code = "KPR-515"


def corrupt_row(table: str, row_id: str) -> LedgerCorrupt:
    """The error for one row that cannot be opened or read."""
    return LedgerCorrupt(
        f"the ledger's table {table}, row {row_id}, is not what was written: keep the file as it is, and do not "
        "go on with an older copy, which would report a second time (docs/operations.md)",
        table=table,
        row_id=row_id,
    )


def corrupt_file(path: Path | str, why: str) -> LedgerCorrupt:
    """The error for a file that is no ledger any more, or never was one."""
    return LedgerCorrupt(f"{path} is not a whole ledger ({why}): keep it as it is (docs/operations.md)")
