// Package hostile holds one table: what an attacker may write in an event, by every kind of step that may
// insert it somewhere.
//
// A kind joins with a row in the table of hostile_test.go and a file named after it. Its function opens what
// the step acts on, as real as it can be had, and returns a check: given a value, the check runs the step by
// attempt, with ${{ event.data.v }} wherever the kind takes one, and asserts how the value arrived. Either it
// is there to the byte, as a value and nothing else, or the step ended as dead with a reason that says so, and
// nothing was sent.
package hostile
