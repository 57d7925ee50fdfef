// Package telemetry is what an operator sees of a running relais: metrics and logs.
//
// Two things always hold. The number of series is bounded by the configuration: a request can't make a
// label, whatever it says (a source that isn't configured counts as "(unknown)", and neither event types
// nor addresses are labels). And no line holds a body or a secret: attributes that are named like one
// are dropped, values that are one print as [secret], and the configured secrets' own text is taken out
// of the finished line, so that an error of a library that quotes a URL gives nothing away.
package telemetry
