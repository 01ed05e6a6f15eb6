-- What only an audit has. Cycles, elites (by the sample that proposed them first), tunings and times stand in the tables of runs.
CREATE TABLE IF NOT EXISTS sample (           -- one thing the policy proposed
    cycle INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    parent TEXT,                      -- a cell; NULL where whole cells are written
    text TEXT NOT NULL,               -- a cell, or what was written instead
    tokens BLOB NOT NULL,             -- little-endian u32; empty where no LLM proposed
    log_p REAL,                       -- under the model as it is; NULL where the policy has no probabilities
    log_q REAL,                       -- under what it was drawn from: the model under its mask
    quality REAL,                     -- as the audit measures it, from 0 to 1; NULL for what is no cell or was refused
    log_p_after REAL,                 -- under the policy after the update of its cycle; NULL where that is not enumerated
    PRIMARY KEY (cycle, idx)
) STRICT;

CREATE TABLE IF NOT EXISTS exact (            -- exact numbers of a policy's distribution
    cycle INTEGER NOT NULL,
    moment TEXT NOT NULL,             -- 'before' or 'after' the update of the cycle
    outside REAL NOT NULL,
    expected REAL NOT NULL,
    elite REAL NOT NULL,
    entropy REAL NOT NULL,
    dependence REAL NOT NULL,
    best REAL NOT NULL,
    objective REAL NOT NULL,          -- E[S] and C of the quality in force
    reached REAL NOT NULL,
    PRIMARY KEY (cycle, moment)
) STRICT;

CREATE TABLE IF NOT EXISTS exact_update (     -- how much of the cross-entropy update a tuning was; NULL is infinite
    cycle INTEGER PRIMARY KEY,
    to_elites_before REAL,
    to_elites_after REAL,
    share REAL,
    alpha REAL NOT NULL,
    distance REAL,
    to_table REAL,
    target REAL NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS exact_beyond (     -- what the update did beyond the claims: JSON, the fields of audit/beyond.rs
    cycle INTEGER PRIMARY KEY,
    measures TEXT NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS search (           -- where the search stands after a cycle
    cycle INTEGER PRIMARY KEY,
    distinct_cells INTEGER NOT NULL,
    best_found_at INTEGER,            -- the distinct cells queried when the best cell of the space was
    incumbent REAL NOT NULL,
    highest REAL NOT NULL
) STRICT;
