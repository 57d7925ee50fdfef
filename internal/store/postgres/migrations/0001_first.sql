-- Times are microseconds since 1970 by the database's clock, but for event.at, which is when the node
-- received it. A day is a number of days since 1970, in UTC. What came from outside and may hold any byte
-- stands in bytea: text refuses NUL and what isn't UTF-8. Text is compared by its bytes (COLLATE "C"), as
-- the other store does.

-- The clock. Tests give theirs; else it is the database's, read anew at each call.
CREATE FUNCTION relais_now(given bigint) RETURNS bigint LANGUAGE sql VOLATILE AS
$$ SELECT coalesce(given, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint) $$;

CREATE SEQUENCE event_seq;
CREATE SEQUENCE replay_seq;

-- flags: 1 redacted, 2 test. native is NULL where it is the type. Partitioned by day: event_d20579, ….
CREATE TABLE event (
  day       integer  NOT NULL,
  seq       bigint   NOT NULL,
  id        uuid     NOT NULL,
  tenant    text     COLLATE "C" NOT NULL,
  source    text     COLLATE "C" NOT NULL,
  type      text     COLLATE "C" NOT NULL,
  native    bytea,
  at        bigint   NOT NULL,
  format    text     COLLATE "C" NOT NULL,
  flags     smallint NOT NULL,
  repeat_of uuid,
  header    bytea,
  query     bytea,
  path      bytea,
  body      bytea
) PARTITION BY RANGE (day);
-- Nothing spends time on compressing bodies while somebody waits for an answer.
ALTER TABLE event ALTER COLUMN body SET STORAGE EXTERNAL, ALTER COLUMN header SET STORAGE EXTERNAL;
CREATE UNIQUE INDEX event_id ON event (id, day);
-- Pages of events are read by seq. It grows at its end only, so that a batch writes one of its pages.
CREATE INDEX event_by_seq ON event (seq);

-- What outlives its day's partition because a dead delivery that can be replayed needs it.
CREATE TABLE event_kept (LIKE event INCLUDING STORAGE);
CREATE UNIQUE INDEX event_kept_id ON event_kept (id);
CREATE INDEX event_kept_seq ON event_kept (seq);

CREATE TABLE dedup (
  key     uuid    PRIMARY KEY,
  event   uuid    NOT NULL,
  expires bigint  NOT NULL
);
CREATE INDEX dedup_expires ON dedup (expires);

CREATE TABLE fan_out (
  event     uuid    PRIMARY KEY,
  event_day integer NOT NULL,
  event_seq bigint  NOT NULL,
  route_set text    COLLATE "C" NOT NULL,
  cursor    text    COLLATE "C" NOT NULL
);
CREATE INDEX fan_out_seq ON fan_out (event_seq);

CREATE TABLE route_set (
  id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  hash text   COLLATE "C" NOT NULL UNIQUE,
  text bytea,
  routes bytea,
  node text   COLLATE "C",
  at   bigint,
  -- activation orders the sets: the highest is what every node matches.
  activation bigint
);
CREATE SEQUENCE activation_seq;

-- running, tokens and the breaker hold for all nodes together: who claims or finishes locks the row, many
-- rows in the order of their ids.
CREATE TABLE lane (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant     text   COLLATE "C" NOT NULL,
  kind       text   COLLATE "C" NOT NULL,
  name       text   COLLATE "C" NOT NULL,
  running    integer NOT NULL DEFAULT 0,
  tokens     double precision NOT NULL DEFAULT 0,
  tokens_at  bigint NOT NULL DEFAULT 0,
  failures   integer NOT NULL DEFAULT 0,
  rest_until bigint NOT NULL DEFAULT 0,
  since      bigint NOT NULL DEFAULT 0,
  UNIQUE (tenant, kind, name)
) WITH (fillfactor = 50);

-- Live deliveries: pending, running, and dead ones that stop what waits behind them.
-- state: 0 pending, 1 running, 2 succeeded, 3 dead, 4 cancelled.
-- wait: 1 behind another of its order key, 2 its source is paused; only 0 can be claimed.
-- class: priority*2, and 1 more for a retry.
CREATE SEQUENCE delivery_id;
CREATE TABLE delivery (
  id            bigint   PRIMARY KEY DEFAULT nextval('delivery_id'),
  event         uuid     NOT NULL,
  event_day     integer  NOT NULL,
  event_seq     bigint   NOT NULL,
  lane          bigint   NOT NULL,
  source        text     COLLATE "C" NOT NULL,
  state         smallint NOT NULL DEFAULT 0,
  wait          smallint NOT NULL DEFAULT 0,
  class         smallint NOT NULL,
  due           bigint   NOT NULL,
  claim         integer  NOT NULL DEFAULT 0,
  attempts      integer  NOT NULL DEFAULT 0,
  interruptions integer  NOT NULL DEFAULT 0,
  node          text     COLLATE "C",
  replay        bigint   NOT NULL DEFAULT 0,
  route_set     text     COLLATE "C" NOT NULL,
  created       bigint   NOT NULL,
  finished      bigint   NOT NULL DEFAULT 0,
  skipped       boolean  NOT NULL DEFAULT false,
  stops         boolean  NOT NULL DEFAULT false,
  order_key     bytea,
  from_step     text     COLLATE "C",
  reason        text     COLLATE "C",
  message       text     COLLATE "C"
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE UNIQUE INDEX delivery_of ON delivery (event, lane, replay);
CREATE INDEX delivery_claimable ON delivery (lane, class, due, id) WHERE state = 0 AND wait = 0;
CREATE INDEX delivery_running ON delivery (node) WHERE state = 1;
CREATE INDEX delivery_chain ON delivery (lane, order_key, id) WHERE order_key IS NOT NULL;
CREATE INDEX delivery_head ON delivery (lane, order_key) WHERE order_key IS NOT NULL AND wait & 1 = 0;
CREATE INDEX delivery_paused ON delivery (source, id) WHERE state = 0 AND wait >= 2;
CREATE INDEX delivery_stopping ON delivery (id) WHERE state = 3;

-- Ended deliveries, by the day they ended.
CREATE TABLE delivery_done (LIKE delivery, day integer NOT NULL) PARTITION BY RANGE (day);
CREATE UNIQUE INDEX delivery_done_id ON delivery_done (id, day);
CREATE INDEX delivery_done_event ON delivery_done (event);
CREATE INDEX delivery_done_dead ON delivery_done (id) WHERE state = 3;
-- Dead ones that can be replayed for longer than their day is kept.
CREATE TABLE delivery_kept (LIKE delivery_done);
CREATE UNIQUE INDEX delivery_kept_id ON delivery_kept (id);
CREATE INDEX delivery_kept_event ON delivery_kept (event);
CREATE INDEX delivery_kept_finished ON delivery_kept (finished);

CREATE TABLE step (
  delivery   bigint  NOT NULL,
  step       text    COLLATE "C" NOT NULL,
  definition text    COLLATE "C" NOT NULL,
  ordinal    integer NOT NULL,
  result     bytea,
  PRIMARY KEY (delivery, step)
);

CREATE TABLE attempt (
  day      integer NOT NULL,
  delivery bigint  NOT NULL,
  claim    integer NOT NULL,
  node     text    COLLATE "C" NOT NULL,
  started  bigint  NOT NULL,
  duration bigint  NOT NULL,
  verdict  text    COLLATE "C" NOT NULL,
  reason   text    COLLATE "C",
  message  text    COLLATE "C",
  trace    bytea
) PARTITION BY RANGE (day);
CREATE UNIQUE INDEX attempt_of ON attempt (delivery, claim, day);

CREATE TABLE effect (
  key         text    COLLATE "C" PRIMARY KEY,
  kind        text    COLLATE "C" NOT NULL,
  state       text    COLLATE "C" NOT NULL,
  delivery    bigint  NOT NULL,
  claim       integer NOT NULL,
  node        text    COLLATE "C" NOT NULL,
  opened      bigint  NOT NULL,
  sent        bigint  NOT NULL,
  done        bigint  NOT NULL,
  absent      bigint  NOT NULL,
  result      bytea,
  message     text    COLLATE "C" NOT NULL,
  resolved_by text    COLLATE "C" NOT NULL
);
CREATE INDEX effect_undecided ON effect (state, key) WHERE state <> 'done';
CREATE INDEX effect_delivery ON effect (delivery) WHERE state <> 'done';

CREATE TABLE rejection (
  id        bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant    text    COLLATE "C" NOT NULL,
  source    text    COLLATE "C" NOT NULL,
  at        bigint  NOT NULL,
  reason    text    COLLATE "C" NOT NULL,
  detail    bytea   NOT NULL,
  status    integer NOT NULL,
  address   bytea   NOT NULL,
  method    bytea   NOT NULL,
  path      bytea   NOT NULL,
  query     bytea   NOT NULL,
  body_size bigint  NOT NULL,
  complete  boolean NOT NULL,
  event     uuid,
  bytes     bigint  NOT NULL,
  header    bytea,
  body      bytea
);
CREATE INDEX rejection_source ON rejection (source, id);

-- How many rejections a source has, and their bytes: the bounds are kept without counting rows. Triggers keep
-- it, so that whoever deletes rejections, for whatever reason, needs not think of it.
CREATE TABLE rejection_tally (
  source text   COLLATE "C" PRIMARY KEY,
  rows   bigint NOT NULL,
  bytes  bigint NOT NULL
) WITH (fillfactor = 50);
CREATE FUNCTION relais_rejections_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO rejection_tally AS t (source, rows, bytes)
    SELECT source, count(*), sum(bytes) FROM added GROUP BY source ORDER BY source
    ON CONFLICT (source) DO UPDATE SET rows = t.rows + excluded.rows, bytes = t.bytes + excluded.bytes;
  RETURN NULL;
END $$;
CREATE FUNCTION relais_rejections_gone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE rejection_tally t SET rows = t.rows - g.rows, bytes = t.bytes - g.bytes
    FROM (SELECT source, count(*) AS rows, sum(bytes) AS bytes FROM gone GROUP BY source) g WHERE t.source = g.source;
  DELETE FROM rejection_tally t WHERE t.rows <= 0;
  RETURN NULL;
END $$;
CREATE TRIGGER rejections_added AFTER INSERT ON rejection REFERENCING NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION relais_rejections_added();
CREATE TRIGGER rejections_gone AFTER DELETE ON rejection REFERENCING OLD TABLE AS gone
  FOR EACH STATEMENT EXECUTE FUNCTION relais_rejections_gone();

CREATE TABLE pause (
  scope  text   COLLATE "C" NOT NULL,
  name   text   COLLATE "C" NOT NULL,
  reason text   COLLATE "C" NOT NULL,
  by     text   COLLATE "C" NOT NULL,
  at     bigint NOT NULL,
  PRIMARY KEY (scope, name)
);

CREATE TABLE audit (
  id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at     bigint NOT NULL,
  by     text   COLLATE "C" NOT NULL,
  act    text   COLLATE "C" NOT NULL,
  object text   COLLATE "C" NOT NULL,
  detail text   COLLATE "C" NOT NULL
);

-- A node is one process. told is what it says of itself, as JSON: version, hash of its routes, its spool.
CREATE TABLE node (
  name  text   COLLATE "C" PRIMARY KEY,
  since bigint NOT NULL,
  beat  bigint NOT NULL,
  lease bigint NOT NULL,
  told  bytea
);
