-- Keys whose window has passed are found by going through the table: an entry of an index less is written for each event.
DROP INDEX dedup_expires;
