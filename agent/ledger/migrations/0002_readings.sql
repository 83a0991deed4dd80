-- Which rows a reading of a whole table (an initial load, a full scan) has told, so that a row's absence means something.

ALTER TABLE kept_row ADD COLUMN reading INTEGER NOT NULL DEFAULT 0;    -- the table's reading that told it last
ALTER TABLE kept_row ADD COLUMN content_hmac BLOB;                     -- of its values; NULL: not comparable

CREATE TABLE reading (
    table_name TEXT PRIMARY KEY,
    number INTEGER NOT NULL,
    is_open INTEGER NOT NULL           -- begun and not ended: one that is broken off goes on under its number
) STRICT, WITHOUT ROWID;
