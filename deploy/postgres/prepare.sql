-- What a PostgreSQL needs for kpr-agent, for the demo's tables (config/epj/demo.yaml). README.md says more.
-- Your own: kpr-agent source prepare FILE. It also looks at the database and refuses tables without a key.

-- to be decided by the server's owner: an agent that stands still makes the server keep its log; without a limit
-- that fills the disk and stops the EPJ. Choose what the disk can spare: beyond it the slot is lost, and the agent
-- stops and says so. It holds for every slot of the server
-- ALTER SYSTEM SET max_slot_wal_keep_size = '50GB'; SELECT pg_reload_conf();

-- what the log tells the agent: the changes of these tables and of no other
CREATE PUBLICATION "kpr_agent" FOR TABLE
    ONLY "public"."tjeneste",
    ONLY "public"."bruker",
    ONLY "public"."enhet",
    ONLY "public"."pause"
    WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = true);

-- the agent's own role: it may read the log, and no table that is not granted below. Give it a password (psql:
-- \password) that goes into the connection file
CREATE ROLE "kpr_agent" WITH LOGIN REPLICATION;

-- the role may enter this database
GRANT CONNECT ON DATABASE :"DBNAME" TO "kpr_agent";

-- the role may name tables of this schema
GRANT USAGE ON SCHEMA "public" TO "kpr_agent";

-- the first reading of the table: the mapped columns and nothing else
GRANT SELECT ("tjeneste_id", "bruker_id", "enhet_id", "registrert_tid", "endret_tid", "saksnummer", "lokal_type", "start_dato", "slutt_dato", "status") ON "public"."tjeneste" TO "kpr_agent";

-- the first reading of the table: the mapped columns and nothing else
GRANT SELECT ("registrert_tid", "endret_tid", "bruker_id", "fnr", "id_type", "fodselsdato", "bydel", "fornavn", "etternavn") ON "public"."bruker" TO "kpr_agent";

-- the first reading of the table: the mapped columns and nothing else
GRANT SELECT ("registrert_tid", "endret_tid", "enhet_id", "orgnr") ON "public"."enhet" TO "kpr_agent";

-- the first reading of the table: the mapped columns and nothing else
GRANT SELECT ("fra_dato", "til_dato", "pause_id", "tjeneste_id", "registrert_tid", "endret_tid", "status") ON "public"."pause" TO "kpr_agent";

-- the agent's place in the log, of which nothing is thrown away before the agent has it. The server keeps its log
-- from now on: start the agent soon, or leave this line out and let the agent make the slot (create_slot)
SELECT pg_create_logical_replication_slot('kpr_agent', 'pgoutput');
