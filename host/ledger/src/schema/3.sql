-- No table is another. But the start of a run says which run stands before it (`after`; see succession.rs), and one that does not would be
-- taken for a forged one. A program of schema 2 that still has the ledger open knows nothing of that: what it has begun it may bring
-- to its end, and no more.
CREATE TRIGGER runs_tell_what_stands_before BEFORE UPDATE OF head ON runs
    WHEN OLD.events = 0 AND NOT EXISTS (
        SELECT 1 FROM events WHERE key = (OLD.number << 32) | 1
            AND (substr(body, -15) = ',"after":null}}' OR substr(body, -77) GLOB '"first":"*"}}}'))
    BEGIN SELECT RAISE(ABORT, 'a newer version of vespiary keeps this ledger now; start this program again'); END;
