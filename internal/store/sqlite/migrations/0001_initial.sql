-- Times are microseconds since 1970. Names that recur (tenants, sources, formats) stand in name, and are
-- numbers elsewhere. Sequence numbers are given by the writer and never used twice.

CREATE TABLE name (
  id   INTEGER PRIMARY KEY,
  text TEXT NOT NULL UNIQUE
);

-- One row. Floors are the highest numbers ever given whose rows may be gone.
CREATE TABLE tally (
  id              INTEGER PRIMARY KEY CHECK (id = 1),
  pending         INTEGER NOT NULL,
  running         INTEGER NOT NULL,
  dead            INTEGER NOT NULL,
  replay          INTEGER NOT NULL,
  event_floor     INTEGER NOT NULL,
  delivery_floor  INTEGER NOT NULL,
  rejection_floor INTEGER NOT NULL,
  rejection_bytes INTEGER NOT NULL,
  route_set       INTEGER NOT NULL,
  keys_merged     INTEGER NOT NULL
);
INSERT INTO tally VALUES (1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);

-- What is searched of an event. What is only shown or delivered stands in payload, so that a search
-- doesn't read bodies. flags: 1 redacted, 2 test. native is NULL where it is the type.
CREATE TABLE event (
  seq       INTEGER PRIMARY KEY,
  id        BLOB NOT NULL UNIQUE,
  tenant    INTEGER NOT NULL,
  source    INTEGER NOT NULL,
  type      TEXT NOT NULL,
  native    TEXT,
  at        INTEGER NOT NULL,
  format    INTEGER NOT NULL,
  flags     INTEGER NOT NULL,
  repeat_of BLOB,
  -- Its dedup key, until tally.keys_merged passes its seq; see dedup.
  key_bucket INTEGER,
  key        BLOB,
  key_at     INTEGER
);

CREATE TABLE payload (
  seq    INTEGER PRIMARY KEY,
  header BLOB,
  query  TEXT,
  path   TEXT,
  body   BLOB
);

-- The keys of events up to tally.keys_merged; newer ones stand in their events' rows, and in memory. A row
-- holds what one merge brought for one part: keys of 16 bytes, each with its event and when it was seen in
-- milliseconds, 8 bytes each, least first. bucket is when the last key of it has lapsed, in seconds: a bucket
-- goes as one range. part is a key's first ten bits.
CREATE TABLE dedup (
  bucket INTEGER NOT NULL,
  part   INTEGER NOT NULL,
  run    INTEGER NOT NULL,
  keys   BLOB NOT NULL,
  PRIMARY KEY (bucket, part, run)
) WITHOUT ROWID;

CREATE TABLE fan_out (
  event     INTEGER PRIMARY KEY,
  route_set INTEGER NOT NULL,
  cursor    TEXT NOT NULL
);

CREATE TABLE route_set (
  id   INTEGER PRIMARY KEY,
  hash TEXT NOT NULL UNIQUE,
  text BLOB,
  node TEXT,
  at   INTEGER
);

CREATE TABLE lane (
  id         INTEGER PRIMARY KEY,
  tenant     INTEGER NOT NULL,
  kind       TEXT NOT NULL,
  name       TEXT NOT NULL,
  tokens     REAL NOT NULL DEFAULT 0,
  tokens_at  INTEGER NOT NULL DEFAULT 0,
  failures   INTEGER NOT NULL DEFAULT 0,
  rest_until INTEGER NOT NULL DEFAULT 0,
  since      INTEGER NOT NULL DEFAULT 0,
  UNIQUE (tenant, kind, name)
);

-- state: 0 pending, 1 running, 2 succeeded, 3 dead, 4 cancelled.
-- wait: 1 behind another of its order key, 2 its source is paused; only 0 can be claimed.
-- class: priority*2, and 1 more for a retry.
-- stops: 1 while a dead delivery keeps what waits behind it waiting.
CREATE TABLE delivery (
  id            INTEGER PRIMARY KEY,
  event         INTEGER NOT NULL,
  lane          INTEGER NOT NULL,
  source        INTEGER NOT NULL,
  state         INTEGER NOT NULL,
  wait          INTEGER NOT NULL,
  class         INTEGER NOT NULL,
  due           INTEGER NOT NULL,
  claim         INTEGER NOT NULL,
  attempts      INTEGER NOT NULL,
  interruptions INTEGER NOT NULL,
  life          INTEGER NOT NULL,
  replay        INTEGER NOT NULL,
  route_set     INTEGER NOT NULL,
  created       INTEGER NOT NULL,
  finished      INTEGER NOT NULL,
  skipped       INTEGER NOT NULL,
  stops         INTEGER NOT NULL,
  order_key     TEXT,
  from_step     TEXT,
  reason        TEXT,
  message       TEXT
);
CREATE UNIQUE INDEX delivery_of ON delivery (event, lane, replay);
CREATE INDEX delivery_claimable ON delivery (lane, class, due) WHERE state = 0 AND wait = 0;
CREATE INDEX delivery_running ON delivery (lane) WHERE state = 1;
CREATE INDEX delivery_chain ON delivery (lane, order_key, id) WHERE order_key IS NOT NULL AND (state < 2 OR stops = 1);
CREATE INDEX delivery_paused ON delivery (source, id) WHERE state = 0 AND wait >= 2;
CREATE INDEX delivery_dead ON delivery (id) WHERE state = 3;

CREATE TABLE step (
  delivery   INTEGER NOT NULL,
  step       TEXT NOT NULL,
  definition TEXT NOT NULL,
  ordinal    INTEGER NOT NULL,
  result     BLOB,
  PRIMARY KEY (delivery, step)
) WITHOUT ROWID;

CREATE TABLE attempt (
  delivery INTEGER NOT NULL,
  claim    INTEGER NOT NULL,
  node     INTEGER NOT NULL,
  started  INTEGER NOT NULL,
  duration INTEGER NOT NULL,
  verdict  TEXT NOT NULL,
  reason   TEXT,
  message  TEXT,
  trace    BLOB,
  PRIMARY KEY (delivery, claim)
) WITHOUT ROWID;

CREATE TABLE effect (
  key         TEXT PRIMARY KEY,
  kind        TEXT NOT NULL,
  state       TEXT NOT NULL,
  delivery    INTEGER NOT NULL,
  claim       INTEGER NOT NULL,
  node        TEXT NOT NULL,
  opened      INTEGER NOT NULL,
  sent        INTEGER NOT NULL,
  done        INTEGER NOT NULL,
  absent      INTEGER NOT NULL,
  result      BLOB,
  message     TEXT NOT NULL,
  resolved_by TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX effect_undecided ON effect (state, key) WHERE state <> 'done';

CREATE TABLE rejection (
  id        INTEGER PRIMARY KEY,
  tenant    TEXT NOT NULL,
  source    TEXT NOT NULL,
  at        INTEGER NOT NULL,
  reason    TEXT NOT NULL,
  detail    TEXT NOT NULL,
  status    INTEGER NOT NULL,
  address   TEXT NOT NULL,
  method    TEXT NOT NULL,
  path      TEXT NOT NULL,
  query     TEXT NOT NULL,
  body_size INTEGER NOT NULL,
  complete  INTEGER NOT NULL,
  event     BLOB,
  bytes     INTEGER NOT NULL,
  header    BLOB,
  body      BLOB
);
CREATE INDEX rejection_source ON rejection (source, id);
CREATE TABLE rejection_count (
  source TEXT PRIMARY KEY,
  rows   INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE pause (
  scope  TEXT NOT NULL,
  name   TEXT NOT NULL,
  reason TEXT NOT NULL,
  by     TEXT NOT NULL,
  at     INTEGER NOT NULL,
  PRIMARY KEY (scope, name)
) WITHOUT ROWID;

CREATE TABLE audit (
  id     INTEGER PRIMARY KEY,
  at     INTEGER NOT NULL,
  by     TEXT NOT NULL,
  act    TEXT NOT NULL,
  object TEXT NOT NULL,
  detail TEXT NOT NULL
);

-- A life is a node's name during one opening of the folder.
CREATE TABLE life (
  id    INTEGER PRIMARY KEY,
  node  TEXT NOT NULL,
  since INTEGER NOT NULL,
  beat  INTEGER NOT NULL,
  lease INTEGER NOT NULL
);
