-- All attempts, wherever they stand.
CREATE VIEW every_attempt AS
  SELECT day, delivery, claim, node, started, duration, verdict, reason, message, trace FROM attempt
  UNION ALL
  SELECT day, id, claim, node, started, duration, 'succeeded', NULL, NULL, trace FROM delivery_done WHERE started IS NOT NULL;
