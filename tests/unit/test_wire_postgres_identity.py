"""connectors/wire/postgres_identity.py: a cluster's name passes the guard of the logs."""

from agent.observe import logs
from connectors.wire.postgres_identity import cluster_name


def test_a_cluster_is_named_in_groups_that_no_log_redacts() -> None:
    name = cluster_name(7563821045520913457)
    assert name == "7563-8210-4552-0913-457"
    for incarnation in (f"postgres:{name}:16384", f"query:postgresql:{name}:epj:", f"outbox:postgresql:{name}:x"):
        assert logs._safe(incarnation) == incarnation
    assert logs._safe("postgres:7563821045520913457:16384") == logs.REDACTED


def test_what_could_not_be_asked_stays_a_word() -> None:
    assert cluster_name("unknown") == "unknown"
