-- What Debezium's PostgreSQL connector needs, run by a superuser in the EPJ's database. Fill in what stands in <>.
-- max_replication_slots and max_wal_senders need one more each; wal_level must be logical (all three: a restart).

-- A role that reads these tables and the log, and nothing more.
CREATE ROLE <DATABASE_USER> LOGIN REPLICATION PASSWORD '<PASSWORD>';
GRANT USAGE ON SCHEMA <SCHEMA> TO <DATABASE_USER>;
GRANT SELECT ON <TABLES> TO <DATABASE_USER>;

-- The table through which a snapshot is asked for, and in which Debezium marks where its parts lie in the stream.
CREATE SCHEMA <SIGNAL_SCHEMA>;
CREATE TABLE <SIGNAL_TABLE> (id varchar(42) PRIMARY KEY, type varchar(32) NOT NULL, data varchar(2048));
GRANT USAGE ON SCHEMA <SIGNAL_SCHEMA> TO <DATABASE_USER>;
GRANT SELECT, INSERT, DELETE ON <SIGNAL_TABLE> TO <DATABASE_USER>;

-- What is told. A table without a primary key must not be in it: every UPDATE and DELETE in that table would fail.
CREATE PUBLICATION <PUBLICATION> FOR TABLE <TABLES>, <SIGNAL_TABLE>;

-- How much of its log the server keeps for a connector that does not read (here 20 GB; choose it for your longest
-- outage). Without a limit a dead connector fills the disk and stops the EPJ; past the limit the slot is lost.
ALTER SYSTEM SET max_slot_wal_keep_size = '20GB';
SELECT pg_reload_conf();
