-- What a spool holds. Times are microseconds since 1970; what came from the network is kept as bytes.
-- waiting is in line, least seq first. aside is what the store refused for its own fault, with the reason.

CREATE TABLE waiting (
  seq          INTEGER PRIMARY KEY,
  size         INTEGER NOT NULL,
  received     INTEGER NOT NULL,
  id           BLOB NOT NULL UNIQUE,
  tenant       BLOB NOT NULL,
  source       BLOB NOT NULL,
  type         BLOB NOT NULL,
  native       BLOB NOT NULL,
  format       BLOB NOT NULL,
  redacted     INTEGER NOT NULL,
  test         INTEGER NOT NULL,
  dedup_key    BLOB NOT NULL,
  dedup_window INTEGER NOT NULL, -- nanoseconds
  force        INTEGER NOT NULL,
  query        BLOB NOT NULL,
  path         BLOB NOT NULL,
  header       BLOB NOT NULL,
  body         BLOB NOT NULL,
  flags        INTEGER NOT NULL DEFAULT 0 -- as the store keeps them
);

CREATE TABLE aside (
  seq          INTEGER PRIMARY KEY,
  size         INTEGER NOT NULL,
  received     INTEGER NOT NULL,
  id           BLOB NOT NULL UNIQUE,
  tenant       BLOB NOT NULL,
  source       BLOB NOT NULL,
  type         BLOB NOT NULL,
  native       BLOB NOT NULL,
  format       BLOB NOT NULL,
  redacted     INTEGER NOT NULL,
  test         INTEGER NOT NULL,
  dedup_key    BLOB NOT NULL,
  dedup_window INTEGER NOT NULL,
  force        INTEGER NOT NULL,
  query        BLOB NOT NULL,
  path         BLOB NOT NULL,
  header       BLOB NOT NULL,
  body         BLOB NOT NULL,
  reason       TEXT NOT NULL,
  at           INTEGER NOT NULL,
  flags        INTEGER NOT NULL DEFAULT 0
);
