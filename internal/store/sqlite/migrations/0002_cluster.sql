-- What other nodes would match by, and what a node says of itself.
ALTER TABLE route_set ADD COLUMN routes BLOB;
ALTER TABLE life ADD COLUMN told BLOB;
