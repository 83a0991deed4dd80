-- The first ledger. Times (`_at`, `not_before`, ..) are microseconds since 1970-01-01T00:00:00Z; days are day numbers
-- (0001-01-01 = 1). BLOB columns are AES-256-GCM payloads (agent/ledger/seal.py) but for `_hmac` (HMAC-SHA256, 16 bytes)
-- and GUIDs (16 bytes). Whatever is personal or comes from a row stands in payloads only.

CREATE TABLE ledger (
    only_line INTEGER PRIMARY KEY CHECK (only_line = 1),
    installation_id TEXT NOT NULL,
    unit TEXT NOT NULL,
    epoch INTEGER NOT NULL,            -- raised at each opening for write (invariant 11)
    created_at INTEGER NOT NULL,
    master_key_id TEXT NOT NULL,
    data_key BLOB NOT NULL,            -- wrapped by the master key
    unit_secret BLOB NOT NULL
) STRICT;

CREATE TABLE kept_row (
    id INTEGER PRIMARY KEY,
    table_name TEXT NOT NULL,
    key_hmac BLOB NOT NULL UNIQUE,
    deleted INTEGER NOT NULL,
    payload BLOB NOT NULL
) STRICT;
CREATE INDEX kept_row_of_table ON kept_row (table_name, deleted);

CREATE TABLE lookup (
    value_hmac BLOB NOT NULL,
    row_id INTEGER NOT NULL REFERENCES kept_row (id),
    PRIMARY KEY (value_hmac, row_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX lookup_of_row ON lookup (row_id);

CREATE TABLE service (
    id INTEGER PRIMARY KEY,
    key_hmac BLOB NOT NULL UNIQUE,
    key_payload BLOB NOT NULL,
    reported BLOB,
    standing INTEGER NOT NULL DEFAULT 0,
    parked INTEGER NOT NULL DEFAULT 0,
    held INTEGER NOT NULL DEFAULT 0,
    missing_since INTEGER
) STRICT;
CREATE INDEX service_standing ON service (id) WHERE standing = 1;
CREATE INDEX service_parked ON service (id) WHERE parked = 1;
CREATE INDEX service_held ON service (id) WHERE held = 1;
CREATE INDEX service_missing ON service (missing_since) WHERE missing_since IS NOT NULL;

CREATE TABLE dependency (
    read_hmac BLOB NOT NULL,           -- of a row's key, or of a looked-up value
    service_id INTEGER NOT NULL REFERENCES service (id),
    PRIMARY KEY (read_hmac, service_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX dependency_of_service ON dependency (service_id);

CREATE TABLE person (
    key_hmac BLOB PRIMARY KEY,
    payload BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE finding (
    id INTEGER PRIMARY KEY,
    service_hmac BLOB NOT NULL,        -- empty: belongs to no service
    finding_hmac BLOB NOT NULL,
    rule TEXT NOT NULL,
    severity TEXT NOT NULL,
    since INTEGER NOT NULL,
    payload BLOB NOT NULL,
    UNIQUE (service_hmac, finding_hmac)
) STRICT;
CREATE INDEX finding_by_rule ON finding (rule, severity);

CREATE TABLE due (
    service_id INTEGER PRIMARY KEY REFERENCES service (id),
    seq INTEGER NOT NULL UNIQUE,
    not_before INTEGER,
    cause TEXT NOT NULL
) STRICT;
CREATE INDEX due_later ON due (not_before) WHERE not_before IS NOT NULL;

CREATE TABLE planned (
    service_id INTEGER PRIMARY KEY REFERENCES service (id),
    day INTEGER NOT NULL
) STRICT;
CREATE INDEX planned_by_day ON planned (day, service_id);

CREATE TABLE progress (
    only_line INTEGER PRIMARY KEY CHECK (only_line = 1),
    position BLOB,
    seen_through INTEGER,
    open_transaction INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO progress (only_line) VALUES (1);

CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE note (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE unreadable (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kept_at INTEGER NOT NULL,
    payload BLOB NOT NULL
) STRICT;
CREATE INDEX unreadable_by_time ON unreadable (kept_at);

CREATE TABLE notification (
    number INTEGER PRIMARY KEY,
    guid BLOB NOT NULL UNIQUE,
    previous_guid BLOB NOT NULL,
    original_guid BLOB,
    status TEXT NOT NULL,
    event TEXT NOT NULL,
    service_id INTEGER NOT NULL REFERENCES service (id),
    approved INTEGER NOT NULL,
    chained_at INTEGER NOT NULL,
    payload BLOB                       -- NULL when its fields were forgotten
) STRICT;
CREATE INDEX notification_of_service ON notification (service_id);
CREATE INDEX notification_by_time ON notification (status, chained_at);

-- Invariant 4: what has a place in the chain never changes, whatever the program around it does.
CREATE TRIGGER notification_never_changes
BEFORE UPDATE OF number, guid, previous_guid, original_guid, status, event, service_id, approved, chained_at
ON notification
BEGIN
    SELECT raise(ABORT, 'a notification never changes');
END;
CREATE TRIGGER notification_payload_is_only_forgotten
BEFORE UPDATE OF payload ON notification WHEN NEW.payload IS NOT NULL
BEGIN
    SELECT raise(ABORT, 'a notification never changes');
END;
CREATE TRIGGER notification_never_goes
BEFORE DELETE ON notification
BEGIN
    SELECT raise(ABORT, 'a notification never goes');
END;

CREATE TABLE envelope (
    id INTEGER PRIMARY KEY,
    msg_id TEXT NOT NULL UNIQUE COLLATE NOCASE,
    message_id TEXT NOT NULL UNIQUE,
    first_number INTEGER NOT NULL REFERENCES notification (number),
    last_number INTEGER NOT NULL REFERENCES notification (number),
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    sent_at INTEGER,
    closed_at INTEGER,
    next_try_at INTEGER,
    superseded_by INTEGER REFERENCES envelope (id),
    content BLOB,                      -- NULL when its bytes were forgotten
    CHECK (first_number <= last_number)
) STRICT;
CREATE INDEX envelope_by_state ON envelope (state, id);
CREATE INDEX envelope_unanswered ON envelope (state, sent_at) WHERE sent_at IS NOT NULL;
CREATE INDEX envelope_by_last_number ON envelope (last_number);

CREATE TABLE receipt (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    envelope_id INTEGER REFERENCES envelope (id),
    kind TEXT NOT NULL,
    verdict TEXT NOT NULL,
    digest_hmac BLOB NOT NULL UNIQUE,
    booked_at INTEGER NOT NULL,
    payload BLOB                       -- NULL when its bytes were forgotten
) STRICT;
CREATE INDEX receipt_of_envelope ON receipt (envelope_id);
CREATE INDEX receipt_by_time ON receipt (booked_at);
