// Package core holds the words of relais as types, and the rules that need nothing but their inputs:
// identifiers, event types and their patterns, reasons, the retry schedule, the breaker, the fairness
// of lanes. It does no input or output and reads no clock: the time is handed in.
package core
