-- One run, or one audit: `meta` says which, and an audit has tables of its own beside these. Times and memory stand in columns named seconds* and in `phase`: they are the only values that may differ
-- between two runs of the same settings and seed.
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;

CREATE TABLE IF NOT EXISTS network (                -- start networks and candidates that were traced
    id TEXT PRIMARY KEY,              -- 'start/NAME' or 'CYCLE/INDEX'
    source TEXT NOT NULL,
    graph TEXT NOT NULL,              -- JSON
    graph_hash TEXT NOT NULL,
    signature BLOB NOT NULL,          -- MinHash, little-endian u64
    parameters INTEGER NOT NULL,
    macs INTEGER NOT NULL,
    activation_bytes INTEGER NOT NULL -- of one image
) STRICT;

CREATE TABLE IF NOT EXISTS candidate (
    cycle INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    parent TEXT NOT NULL,             -- network.id
    prompt_hash TEXT NOT NULL,        -- SHA-256 of the prompt's token ids
    completion TEXT NOT NULL,         -- bytes that are not UTF-8 stand as U+FFFD
    completion_bytes BLOB,            -- the completion where it is not UTF-8; else NULL
    tokens BLOB NOT NULL,             -- little-endian u32; empty where no LLM proposed
    log_p REAL,                       -- sum over the completion, end token included
    log_q REAL,
    ended INTEGER NOT NULL,
    -- NULL until screened, from here on
    stage TEXT,                       -- the last gate it passed: asked, parsed, applied, traced, within budget, novel, trained
    reason TEXT,                      -- why it went no further, in a word
    detail TEXT,                      -- the same with its particulars, for people
    line INTEGER,                     -- of `source`, from 1, where the tracer names one
    source TEXT,
    nearest TEXT,                     -- network.id of the nearest neighbour
    jaccard REAL,
    parent_jaccard REAL,
    PRIMARY KEY (cycle, idx)
) STRICT;

CREATE TABLE IF NOT EXISTS training (               -- one seed of one network
    network TEXT NOT NULL,
    seed_index INTEGER NOT NULL,
    seed INTEGER NOT NULL,
    repeat INTEGER NOT NULL,          -- 1: trained again to measure the noise of the quality, not part of it
    accuracy REAL,                    -- on the validation split; NULL where it failed
    curve TEXT NOT NULL,              -- JSON, one entry an epoch
    failure TEXT,
    seconds REAL NOT NULL,
    estimates TEXT,                   -- JSON, scores of the fresh parameters; NULL where it failed
    PRIMARY KEY (network, seed_index)
) STRICT;

CREATE TABLE IF NOT EXISTS full_training (          -- of candidates drawn at random; not part of any quality
    network TEXT PRIMARY KEY,
    epochs INTEGER NOT NULL,
    seed INTEGER NOT NULL,
    accuracy REAL,                    -- on the validation split; NULL where it failed
    failure TEXT,
    seconds REAL NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS cycle (                  -- written when a cycle closes, all at once
    cycle INTEGER PRIMARY KEY,
    gamma REAL,                       -- elite threshold; NULL where nothing was trained
    adapter_hash TEXT NOT NULL,       -- of the adapter that the next cycle samples from
    tuning TEXT                       -- JSON; NULL where nothing was tuned
) STRICT;

CREATE TABLE IF NOT EXISTS elite (                  -- written with its cycle
    cycle INTEGER NOT NULL,
    network TEXT NOT NULL,            -- may be of an earlier cycle where elites are cumulative
    quality REAL NOT NULL,
    held_out INTEGER NOT NULL,
    example_hash TEXT NOT NULL,       -- SHA-256 over prompt and completion tokens
    PRIMARY KEY (cycle, network)
) STRICT;

CREATE TABLE IF NOT EXISTS phase (
    cycle INTEGER NOT NULL,
    name TEXT NOT NULL,
    seconds REAL NOT NULL,
    peak_mib REAL NOT NULL
) STRICT;

-- Written with its cycle, from here to `chain`: see record/chain.rs.
CREATE TABLE IF NOT EXISTS processor (
    cycle INTEGER PRIMARY KEY,
    kind TEXT NOT NULL                -- of the processor that closed the cycle, and after '; ' others that trained for it
) STRICT;

CREATE TABLE IF NOT EXISTS checkpoint (             -- files of cycle-NNNN/ as they were written; some are removed later, by [record] of run.toml
    cycle INTEGER NOT NULL,
    file TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    PRIMARY KEY (cycle, file)
) STRICT;

CREATE TABLE IF NOT EXISTS chain (
    cycle INTEGER PRIMARY KEY,
    hash TEXT NOT NULL                -- SHA-256 over the hash before it and all rows of the cycle but times and memory
) STRICT;

-- Stores of before this table lack it; a run that goes on gets it then.
CREATE TABLE IF NOT EXISTS label (    -- of the candidates that an LLM proposed, once they are screened
    cycle INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    valid BLOB NOT NULL,              -- one byte a token, 1 where it is valid
    PRIMARY KEY (cycle, idx)
) STRICT;

-- For whoever asks with SQL: what the JSON of `training` says, as columns.
CREATE VIEW IF NOT EXISTS learning_curve AS
SELECT network, seed_index, repeat,
    json_extract(entry.value, '$.epoch') AS epoch,
    json_extract(entry.value, '$.train_loss') AS train_loss,
    json_extract(entry.value, '$.train_accuracy') AS train_accuracy,
    json_extract(entry.value, '$.valid_loss') AS valid_loss,
    json_extract(entry.value, '$.valid_accuracy') AS valid_accuracy
FROM training, json_each(training.curve) AS entry;

CREATE VIEW IF NOT EXISTS score AS
SELECT network, seed_index, repeat, accuracy,
    json_array_length(curve) AS epochs,     -- fewer than the recipe's where halving dropped it
    json_extract(estimates, '$.parameters') AS parameters,
    json_extract(estimates, '$.synflow') AS synflow,
    json_extract(estimates, '$.nwot') AS nwot
FROM training;

-- log p of every sample before and after the update of its cycle, out of the JSON of `cycle`.
CREATE VIEW IF NOT EXISTS rescored AS
SELECT cycle,
    json_extract(sample.value, '$.network') AS network,
    json_extract(sample.value, '$.before') AS log_p_before,
    json_extract(sample.value, '$.after') AS log_p_after
FROM cycle, json_each(cycle.tuning, '$.change.samples') AS sample;
