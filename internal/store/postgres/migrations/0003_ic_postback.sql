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
-- finds it, and no event ever has so high a number. flags: see event; its sender's answer stands from bit 6 on.
CREATE VIEW ic_postback AS
SELECT e.seq AS id, e.source AS source, e.type AS event_type, relais_payload(e.format, e.body, e.query) AS payload,
  (SELECT s.found FROM (SELECT relais_signature(p.place, p.name, e.header, e.query, e.format, e.body) AS found
    FROM signature_place p WHERE p.source = e.source ORDER BY p.place, p.name) s WHERE s.found IS NOT NULL LIMIT 1) AS signature,
  CASE WHEN e.flags & 4 <> 0 THEN true END AS signature_valid,
  to_timestamp(e.at / 1000000.0) AS processed_at,
  nullif(e.flags >> 6, 0)::integer AS response_code,
  (SELECT d.reason || coalesce(': ' || nullif(d.message, ''), '') FROM (
      SELECT id, event, lane, state, reason, message FROM delivery UNION ALL
      SELECT id, event, lane, state, reason, message FROM delivery_done UNION ALL
      SELECT id, event, lane, state, reason, message FROM delivery_kept) d
    WHERE d.event = e.id AND d.state = 3 AND NOT EXISTS (SELECT FROM (
      SELECT id, event, lane FROM delivery UNION ALL SELECT id, event, lane FROM delivery_done UNION ALL
      SELECT id, event, lane FROM delivery_kept) n WHERE n.event = d.event AND n.lane = d.lane AND n.id > d.id)
    ORDER BY d.id DESC LIMIT 1) AS error
FROM (
  SELECT seq, id, source, type, at, format, flags, header, query, body FROM event
  UNION ALL SELECT seq, id, source, type, at, format, flags, header, query, body FROM event_kept) e
UNION ALL
SELECT r.id + 1000000000000000, nullif(r.source, ''), NULL, relais_payload(r.format, r.body, CASE WHEN r.method IN ('GET', 'HEAD') OR r.body_size = 0 THEN r.query END),
  (SELECT s.found FROM (SELECT relais_signature(p.place, p.name, r.header, r.query, r.format, r.body) AS found
    FROM signature_place p WHERE p.source = r.source ORDER BY p.place, p.name) s WHERE s.found IS NOT NULL LIMIT 1),
  CASE WHEN r.reason IN ('signature_missing', 'signature_invalid', 'timestamp_outside_tolerance', 'credentials_invalid') THEN false END,
  to_timestamp(r.at / 1000000.0), nullif(r.status, 0), r.reason || coalesce(': ' || nullif(relais_text(r.detail), ''), '')
FROM rejection r;
