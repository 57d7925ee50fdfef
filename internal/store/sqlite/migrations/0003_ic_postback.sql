-- The requests that came, as one view for whoever asks by SQL. It is written for SQLite 3.38 and later: those who read it bring
-- their own.

-- How a refused request's body can be read; NULL where it can't, or where that wasn't kept yet.
ALTER TABLE rejection ADD COLUMN format TEXT;

-- Where the requests of a source carry their signature: in a header, the query, a form's field, or at a path of
-- JSON. Never a credential's place. A row stays when the source has gone: its requests are still there.
CREATE TABLE signature_place (
  source TEXT NOT NULL,
  place  TEXT NOT NULL,
  name   TEXT NOT NULL,
  PRIMARY KEY (source, place, name)
) WITHOUT ROWID;

-- payload is what a request says: its JSON, or its form's fields; of one without a body its query's. What can't be written as
-- JSON is {"hex": "…"}. A text of a form that isn't UTF-8 is read as ISO 8859-1, and a NUL as U+FFFD: there is
-- no function for that, so the escapes are undone here, one after the other.
--
-- A refused request's id is its number with 10^15 added: an accepted one's is its event's own, so that the index
-- finds it, and no event ever has so high a number. flags: see event; its sender's answer stands from bit 6 on. said is the
-- query where it is all that came: not that of a refused request whose body wasn't kept.
--
-- "ORDER BY id DESC LIMIT 10" merges both kinds of requests in the order of their indexes, and computes ten payloads. For
-- that each column must have the same affinity in both, hence the casts, and a refused request's id an index as it is
-- written here.
CREATE INDEX rejection_postback ON rejection (CAST(id + 1000000000000000 AS INTEGER));
CREATE VIEW ic_postback AS
SELECT q.id, q.source, q.event_type,
  CASE
    WHEN length(q.body) > 0 AND q.format = 'json' AND instr(q.body, x'00') = 0 AND json_valid(CAST(q.body AS TEXT)) THEN CAST(q.body AS TEXT)
    WHEN length(q.body) > 16384 THEN json_object('hex', lower(hex(q.body)))
    WHEN length(q.body) > 0 AND (q.format NOT GLOB 'form*' OR q.format IS NULL) THEN json_object('hex', lower(hex(q.body)))
    WHEN length(q.body) > 0 OR q.said <> '' AND q.said NOT GLOB '*[^' || char(1) || '-' || char(127) || ']*' AND length(q.said) <= 16384 THEN (
    WITH RECURSIVE pair (n, one, rest) AS (
      SELECT 0, '', CASE WHEN length(q.body) > 0 THEN CAST(q.body AS TEXT) ELSE q.said END || '&'
      UNION ALL SELECT n + 1, substr(rest, 1, instr(rest, '&') - 1), substr(rest, instr(rest, '&') + 1) FROM pair WHERE rest <> ''),
    -- out grows by a stretch without escapes, or by what an escape ends. byte is an escape that was read; point, need
    -- and lead are a character of several bytes so far: how many are missing, and its first one.
    piece (n, side, raw, out, byte, point, need, lead) AS (
      SELECT n, 0, replace(substr(one, 1, instr(one || '=', '=') - 1), '+', ' '), '', NULL, 0, 0, 0 FROM pair WHERE one <> ''
      UNION ALL
      SELECT n, 1, replace(substr(one, instr(one || '=', '=') + 1), '+', ' '), '', NULL, 0, 0, 0 FROM pair WHERE one <> ''
      UNION ALL
      SELECT n, side,
        CASE WHEN byte IS NOT NULL THEN raw WHEN raw GLOB '%[0-9A-Fa-f][0-9A-Fa-f]*' THEN substr(raw, 4)
          WHEN instr(substr(raw, 2), '%') > 0 THEN substr(raw, instr(substr(raw, 2), '%') + 1) ELSE '' END,
        out || CASE
          WHEN byte BETWEEN 128 AND 191 AND need > 1 THEN ''
          WHEN byte BETWEEN 128 AND 191 AND need = 1 THEN CASE
            WHEN point * 64 + byte - 128 BETWEEN 55296 AND 57343 OR point * 64 + byte - 128 > 1114111 THEN char(65533)
            ELSE char(point * 64 + byte - 128) END
          WHEN byte IS NOT NULL THEN CASE WHEN need > 0 THEN char(lead) ELSE '' END
            || CASE WHEN byte = 0 THEN char(65533) WHEN byte BETWEEN 194 AND 244 THEN '' ELSE char(byte) END
          WHEN raw GLOB '%[0-9A-Fa-f][0-9A-Fa-f]*' THEN ''
          ELSE CASE WHEN need > 0 THEN char(lead) ELSE '' END
            || CASE WHEN instr(substr(raw, 2), '%') > 0 THEN substr(raw, 1, instr(substr(raw, 2), '%')) ELSE raw END END,
        CASE WHEN byte IS NULL AND raw GLOB '%[0-9A-Fa-f][0-9A-Fa-f]*' THEN
          (instr('0123456789ABCDEF', upper(substr(raw, 2, 1))) - 1) * 16 + instr('0123456789ABCDEF', upper(substr(raw, 3, 1))) - 1 END,
        CASE WHEN byte BETWEEN 128 AND 191 AND need > 0 THEN point * 64 + byte - 128
          WHEN byte BETWEEN 240 AND 244 THEN byte - 240 WHEN byte BETWEEN 224 AND 239 THEN byte - 224
          WHEN byte BETWEEN 194 AND 223 THEN byte - 192 ELSE point END,
        CASE WHEN byte BETWEEN 128 AND 191 AND need > 0 THEN need - 1
          WHEN byte BETWEEN 240 AND 244 THEN 3 WHEN byte BETWEEN 224 AND 239 THEN 2 WHEN byte BETWEEN 194 AND 223 THEN 1
          WHEN byte IS NULL AND raw GLOB '%[0-9A-Fa-f][0-9A-Fa-f]*' THEN need ELSE 0 END,
        CASE WHEN byte BETWEEN 194 AND 244 THEN byte ELSE lead END
      FROM piece WHERE raw <> '' OR byte IS NOT NULL),
    done (n, side, text) AS (
      SELECT n, side, out || CASE WHEN need > 0 THEN char(lead) ELSE '' END FROM piece WHERE raw = '' AND byte IS NULL),
    field (n, name, value) AS (
      SELECT min(n), name, CASE count(*) WHEN 1 THEN json_quote(min(value)) ELSE json_group_array(value) END
      FROM (SELECT a.n AS n, a.text AS name, b.text AS value FROM done a JOIN done b ON b.n = a.n AND b.side = 1 WHERE a.side = 0 ORDER BY a.n)
      GROUP BY name),
    fields (whole) AS (SELECT json_group_object(name, json(value)) FROM (SELECT name, value FROM field ORDER BY n))
    SELECT coalesce(CASE WHEN q.format GLOB 'form-json:*' AND length(q.body) > 0 THEN
        (SELECT i.value FROM json_each(whole) i WHERE i.key = substr(q.format, 11) AND i.type = 'text' AND json_valid(i.value)) END, whole)
      FROM fields)
    WHEN q.said <> '' THEN json_object('hex', lower(hex(q.said)))
  END AS payload,
  (SELECT found FROM (
    SELECT CASE WHEN place = 'json' THEN CASE WHEN json_valid(CAST(hay AS TEXT)) THEN
          json_extract(CAST(hay AS TEXT), '$."' || replace(name, '.', '"."') || '"') END
        WHEN instr(hay, needle) > 0 THEN CAST(substr(substr(hay, instr(hay, needle) + length(needle)), 1,
          instr(substr(hay, instr(hay, needle) + length(needle)), ends) - 1) AS TEXT) END AS found
    FROM (SELECT p.place, p.name,
        CAST(CASE p.place WHEN 'header' THEN x'0d0a' || q.header || x'0d0a' WHEN 'query' THEN '&' || q.query || '&'
          WHEN 'form' THEN CASE WHEN q.format GLOB 'form*' THEN '&' || q.body || '&' END
          WHEN 'json' THEN CASE q.format WHEN 'json' THEN q.body END END AS BLOB) AS hay,
        CAST(CASE p.place WHEN 'header' THEN x'0d0a' || p.name || ': ' ELSE '&' || p.name || '=' END AS BLOB) AS needle,
        CASE p.place WHEN 'header' THEN x'0d0a' ELSE CAST('&' AS BLOB) END AS ends
      FROM signature_place p WHERE p.source = q.source ORDER BY p.place, p.name))
    WHERE typeof(found) = 'text' AND found <> '' AND length(found) <= 512 AND found NOT GLOB '*[^ -~]*' LIMIT 1) AS signature,
  q.signature_valid, strftime('%Y-%m-%d %H:%M:%f', q.at / 1000000.0, 'unixepoch') AS processed_at, q.response_code, q.error
FROM (
  SELECT e.seq AS id, s.text AS source, e.type AS event_type, f.text AS format, p.header AS header, p.query AS query, p.query AS said, p.body AS body,
    CASE WHEN e.flags & 4 THEN 1 END AS signature_valid, e.at AS at, nullif(e.flags >> 6, 0) AS response_code,
    (SELECT d.reason || ifnull(': ' || nullif(d.message, ''), '') FROM delivery d WHERE d.event = e.seq AND d.state = 3
      AND NOT EXISTS (SELECT 1 FROM delivery n WHERE n.event = d.event AND n.lane = d.lane AND n.id > d.id)
      ORDER BY d.id DESC LIMIT 1) AS error
  FROM event e JOIN name s ON s.id = e.source JOIN name f ON f.id = e.format LEFT JOIN payload p ON p.seq = e.seq
  UNION ALL
  SELECT CAST(r.id + 1000000000000000 AS INTEGER), CAST(nullif(r.source, '') AS TEXT), CAST(NULL AS TEXT), r.format, r.header,
    r.query, CAST(CASE WHEN r.method IN ('GET', 'HEAD') OR r.body_size = 0 THEN r.query END AS TEXT), r.body,
    CASE WHEN r.reason IN ('signature_missing', 'signature_invalid', 'timestamp_outside_tolerance', 'credentials_invalid') THEN 0 END,
    r.at, nullif(r.status, 0), r.reason || ifnull(': ' || nullif(r.detail, ''), '')
  FROM rejection r) q;
