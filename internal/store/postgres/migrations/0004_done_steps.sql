-- The steps that came with the outcome of a delivery that succeeded stand with it, after those that stand in step: a
-- table and an index less are written for each delivery, and they go with its day. JSON: [{"step", "definition",
-- "result"}, …].
ALTER TABLE delivery_done ADD COLUMN steps bytea;
ALTER TABLE delivery_kept ADD COLUMN steps bytea;
