-- The requests that came, as one view for whoever asks by SQL.

-- How a refused request's body can be read; NULL where it can't, or where that wasn't kept yet.
ALTER TABLE rejection ADD COLUMN format text COLLATE "C";

-- Where the requests of a source carry their signature: in a header, the query, a form's field, or at a path of
-- JSON. Never a credential's place. A row stays when the source has gone: its requests are still there.
CREATE TABLE signature_place (
  source text COLLATE "C" NOT NULL,
  place  text COLLATE "C" NOT NULL,
  name   text COLLATE "C" NOT NULL,
  PRIMARY KEY (source, place, name)
);

-- The functions of the view call nothing of relais': who reads it may have another search_path. None of them fails,
-- whatever bytes it is given: one odd request must not hide all others.

CREATE FUNCTION relais_text(given bytea) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN convert_from(given, 'UTF8');
EXCEPTION WHEN others THEN
  RETURN encode(given, 'escape');
END $$;

-- relais_payload is what a request says: its JSON, or its form's fields; of one without a body its query's. What can't
-- be written as JSON is {"hex": "…"}. A text of a form that isn't UTF-8 is read as ISO 8859-1, and a NUL as U+FFFD.
CREATE FUNCTION relais_payload(format text, body bytea, query bytea) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  form   bytea := CASE WHEN coalesce(length(body), 0) = 0 THEN query WHEN format LIKE 'form%' THEN body END;
  raw    bytea := CASE WHEN coalesce(length(body), 0) = 0 THEN query ELSE body END;
  fields jsonb := '{}';
  pair   text;
  texts  text[];
  part   text;
  chunk  text[];
  bytes  bytea;
BEGIN
  IF coalesce(length(raw), 0) = 0 THEN
    RETURN NULL;
  END IF;
  IF form IS NULL THEN
    IF format = 'json' THEN
      RETURN convert_from(body, 'UTF8')::jsonb;
    END IF;
    RETURN jsonb_build_object('hex', encode(raw, 'hex'));
  END IF;
  IF length(form) > 16384 THEN
    RETURN jsonb_build_object('hex', encode(raw, 'hex'));
  END IF;
  FOREACH pair IN ARRAY string_to_array(convert_from(form, 'UTF8'), '&') LOOP
    CONTINUE WHEN pair = '';
    texts := ARRAY[]::text[];
    FOREACH part IN ARRAY ARRAY[split_part(pair, '=', 1), substr(pair, length(split_part(pair, '=', 1)) + 2)] LOOP
      bytes := ''::bytea;
      FOR chunk IN SELECT regexp_matches(replace(part, '+', ' '), '%[0-9A-Fa-f]{2}|%|[^%]+', 'g') LOOP
        bytes := bytes || CASE
          WHEN chunk[1] = '%00' THEN '\xefbfbd'::bytea
          WHEN chunk[1] LIKE '\%__' THEN decode(substr(chunk[1], 2), 'hex')
          ELSE convert_to(chunk[1], 'UTF8') END;
      END LOOP;
      BEGIN
        texts := texts || convert_from(bytes, 'UTF8');
      EXCEPTION WHEN others THEN
        texts := texts || convert_from(bytes, 'LATIN1');
      END;
    END LOOP;
    fields := fields || jsonb_build_object(texts[1], CASE
      WHEN NOT fields ? texts[1] THEN to_jsonb(texts[2])
      WHEN jsonb_typeof(fields -> texts[1]) = 'array' THEN (fields -> texts[1]) || to_jsonb(texts[2])
      ELSE jsonb_build_array(fields -> texts[1], texts[2]) END);
  END LOOP;
  IF format LIKE 'form-json:%' AND fields ? substr(format, 11) AND length(body) > 0 THEN
    BEGIN
      RETURN (fields ->> substr(format, 11))::jsonb;
    EXCEPTION WHEN others THEN
      RETURN fields;
    END;
  END IF;
  RETURN fields;
EXCEPTION WHEN others THEN
  RETURN jsonb_build_object('hex', encode(raw, 'hex'));
END $$;

-- relais_signature is the text at a place of a request. What isn't printable ASCII is no signature.
CREATE FUNCTION relais_signature(place text, name text, header bytea, query bytea, format text, body bytea) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  hay    bytea;
  needle bytea;
  ends   bytea := '&';
  at     integer;
  found  text;
BEGIN
  IF place = 'json' THEN
    found := CASE WHEN format = 'json' THEN convert_from(body, 'UTF8')::jsonb #>> string_to_array(name, '.') END;
  ELSE
    IF place = 'header' THEN
      ends := '\x0d0a';
      hay := ends || header || ends;
      needle := ends || convert_to(name || ': ', 'UTF8');
    ELSE
      hay := '&'::bytea || CASE place WHEN 'query' THEN query WHEN 'form' THEN CASE WHEN format LIKE 'form%' THEN body END END || '&'::bytea;
      needle := convert_to('&' || name || '=', 'UTF8');
    END IF;
    at := position(needle IN hay);
    IF at IS NULL OR at = 0 THEN
      RETURN NULL;
    END IF;
    hay := substr(hay, at + length(needle));
    found := encode(substr(hay, 1, position(ends IN hay) - 1), 'escape');
  END IF;
  RETURN CASE WHEN found ~ '^[ -~]+$' AND found NOT LIKE '%\\%' THEN left(found, 512) END;
EXCEPTION WHEN others THEN
  RETURN NULL;
END $$;

-- A refused request's id is its number with 10^15 added: an accepted one's is its event's own, so that the index
-- finds it, and no event ever has so high a number. flags: see event; its sender's answer stands from bit 6 on. said is the
-- query where it is all that came: not that of a refused request whose body wasn't kept.
--
-- What takes time is computed outside of the union: "ORDER BY id DESC LIMIT 10" then merges both kinds of requests in the
-- order of their indexes and computes ten payloads, and so it does after it has sorted by another column.
CREATE INDEX rejection_postback ON rejection ((id + 1000000000000000));
CREATE VIEW ic_postback AS
SELECT q.id, q.source, q.event_type, relais_payload(q.format, q.body, q.said) AS payload,
  (SELECT s.found FROM (SELECT relais_signature(p.place, p.name, q.header, q.query, q.format, q.body) AS found
    FROM signature_place p WHERE p.source = q.source ORDER BY p.place, p.name) s WHERE s.found IS NOT NULL LIMIT 1) AS signature,
  q.signature_valid,
  to_timestamp(q.at / 1000000.0) AS processed_at,
  nullif(q.status, 0) AS response_code,
  CASE WHEN q.event IS NULL THEN q.reason || coalesce(': ' || nullif(relais_text(q.detail), ''), '') ELSE
    (SELECT d.reason || coalesce(': ' || nullif(d.message, ''), '') FROM (
      SELECT id, event, lane, state, reason, message FROM delivery UNION ALL
      SELECT id, event, lane, state, reason, message FROM delivery_done UNION ALL
      SELECT id, event, lane, state, reason, message FROM delivery_kept) d
    WHERE d.event = q.event AND d.state = 3 AND NOT EXISTS (SELECT FROM (
      SELECT id, event, lane FROM delivery UNION ALL SELECT id, event, lane FROM delivery_done UNION ALL
      SELECT id, event, lane FROM delivery_kept) n WHERE n.event = d.event AND n.lane = d.lane AND n.id > d.id)
    ORDER BY d.id DESC LIMIT 1) END AS error
FROM (
  SELECT seq AS id, source, type AS event_type, format, header, query, query AS said, body, at, (flags >> 6)::integer AS status,
    CASE WHEN flags & 4 <> 0 THEN true END AS signature_valid, id AS event, NULL::text COLLATE "C" AS reason, NULL::bytea AS detail FROM event
  UNION ALL
  SELECT seq, source, type, format, header, query, query, body, at, (flags >> 6)::integer,
    CASE WHEN flags & 4 <> 0 THEN true END, id, NULL::text COLLATE "C", NULL::bytea FROM event_kept
  UNION ALL
  SELECT id + 1000000000000000, nullif(source, ''), NULL::text COLLATE "C", format, header, query, CASE WHEN method IN ('GET', 'HEAD') OR body_size = 0 THEN query END, body, at, status,
    CASE WHEN reason IN ('signature_missing', 'signature_invalid', 'timestamp_outside_tolerance', 'credentials_invalid') THEN false END,
    NULL::uuid, reason, detail FROM rejection) q;
