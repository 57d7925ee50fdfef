// Package sqlstep is the steps sql/exec and sql/query, and the connections that they act on: PostgreSQL,
// MySQL or MariaDB, and a SQLite file.
//
// A statement is the file's own text and no ${{ }} may stand in it. Values come as arguments only, which the
// driver binds: whatever an event holds, it is never read as SQL. Every step is one transaction, in which all
// its statements happen or none. sql/query's can't change anything.
//
// A transaction that failed before its COMMIT left has done nothing, so it is tried again where the database
// says that it may work later. A connection that breaks during the COMMIT leaves two possibilities, and so
// does a crash between the COMMIT and relais' own record of it. Where the connection says effects: true, a row
// in the table relais_effects, written in the same transaction, tells them apart: the next attempt finds the
// row, takes the result that stands in it, and runs nothing (class exact). Two attempts at once wait for each
// other at that row. Without it the step is of class at least once.
//
// What remains: tables without transactions (MyISAM) change at once and stay changed, whatever this package
// does; and the effects are as lasting as the database's own COMMIT is set to be.
package sqlstep
