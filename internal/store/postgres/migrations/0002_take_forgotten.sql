-- relais_take_forgotten gives keys to these events whose holder's event is gone: there is nothing to link a repeat
-- to. Nearly always every key is this batch's own, and then no event is looked for: a statement that may do so
-- opens each day's partition, whether or not it reads a row.
CREATE FUNCTION relais_take_forgotten(given bigint, keys uuid[], events uuid[], spans bigint[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM unnest(keys, events) AS c (key, event)
    WHERE (SELECT d.event FROM dedup d WHERE d.key = c.key) <> c.event) THEN
    RETURN;
  END IF;
  WITH forgotten AS MATERIALIZED (
    SELECT u.key, u.event, u.span FROM (
      SELECT c.*, (SELECT d.event FROM dedup d WHERE d.key = c.key) AS holder
      FROM unnest(keys, events, spans) AS c (key, event, span) OFFSET 0) u
    WHERE u.holder <> u.event
      AND (SELECT e.seq FROM event e WHERE e.id = u.holder LIMIT 1) IS NULL
      AND (SELECT e.seq FROM event_kept e WHERE e.id = u.holder LIMIT 1) IS NULL)
  UPDATE dedup d SET event = f.event, expires = relais_now(given) + f.span FROM forgotten f WHERE d.key = f.key;
END $$;
