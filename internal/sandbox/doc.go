// Package sandbox imitates the part of the Sellsy API V2 that relais uses, so that the main job can be
// shown and tested without an account.
//
// It is as strict as Sellsy's published document (version 2.264.0): unknown and read-only keys, wrong
// types, amounts that aren't strings, missing members of a row, a parent in a status that isn't allowed,
// are refused with an error in Sellsy's shape. It is also as unpleasant as a remote system can be, on
// demand: it commits after the request has ended, drops an answer after committing, finds a new invoice
// only later, answers 401, 429, 503, slowly, or not at all. A client that makes one invoice for each
// estimate here, whatever happens, has a protocol; one that does so only on good days has luck.
//
// What Sellsy does and its document doesn't say is chosen to be the harder case: an estimate doesn't
// become "invoiced" when a draft invoice is made of it, so that nothing but the client's own care
// prevents a second one; and the last page of a search still carries a cursor.
package sandbox
