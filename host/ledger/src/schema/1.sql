-- What happened. One row an event; see chain.rs for what `hash` covers. Rows are added and never changed.
-- `key` is the run's number times 2^32 plus the event's place in its run, which keeps a run together and in order in one
-- tree, without an index beside it.
CREATE TABLE events (
    key     INTEGER PRIMARY KEY,
    time_us INTEGER NOT NULL,   -- microseconds since 1970 UTC
    body    TEXT    NOT NULL,   -- the event as JSON, exactly as hashed
    hash    BLOB    NOT NULL    -- SHA-256
) STRICT;

-- An index over the events, kept in the same transaction: nothing here that the events do not say.
CREATE TABLE runs (
    number        INTEGER PRIMARY KEY,
    id            TEXT    NOT NULL UNIQUE,
    title         TEXT    NOT NULL,
    status        TEXT    NOT NULL,
    started_ms    INTEGER NOT NULL,
    ended_ms      INTEGER,
    agents        INTEGER NOT NULL DEFAULT 0,
    agents_failed INTEGER NOT NULL DEFAULT 0,
    calls         INTEGER NOT NULL DEFAULT 0,
    calls_failed  INTEGER NOT NULL DEFAULT 0,
    events        INTEGER NOT NULL DEFAULT 0,
    head          BLOB    NOT NULL    -- hash of the last event
) STRICT;

-- Large values and artifacts, once each, by SHA-256.
CREATE TABLE blobs (
    number  INTEGER PRIMARY KEY,
    digest  BLOB NOT NULL UNIQUE,
    content BLOB NOT NULL
) STRICT;

-- For people with an SQLite shell.
CREATE VIEW record AS
    SELECT runs.id AS run, events.key & 4294967295 AS seq, events.time_us, events.body, lower(hex(events.hash)) AS hash
    FROM events JOIN runs ON runs.number = events.key >> 32;

-- These stop mistakes. A forger can drop them; the chain is what shows forgery.
CREATE TRIGGER events_stay_as_written BEFORE UPDATE ON events
    BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER events_stay BEFORE DELETE ON events
    BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER blobs_stay_as_written BEFORE UPDATE ON blobs
    BEGIN SELECT RAISE(ABORT, 'blobs are append-only'); END;
CREATE TRIGGER blobs_stay BEFORE DELETE ON blobs
    BEGIN SELECT RAISE(ABORT, 'blobs are append-only'); END;
