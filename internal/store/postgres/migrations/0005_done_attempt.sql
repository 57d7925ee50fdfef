-- The attempt by which a delivery succeeded stands with it: a row and an entry of an index less are written for each
-- delivery. Its claim and its node are the delivery's. started is NULL where the attempt stands in attempt, or was old
-- enough to go.
ALTER TABLE delivery_done ADD COLUMN started bigint, ADD COLUMN duration bigint, ADD COLUMN trace bytea;
ALTER TABLE delivery_kept ADD COLUMN started bigint, ADD COLUMN duration bigint, ADD COLUMN trace bytea;
