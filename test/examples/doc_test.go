//go:build linux

// Package examples plays the folders of examples from end to end: the built program on the file as it stands
// there, with real servers beside it, and imitations only of what can't be had (Sellsy, Slack, carriers). A
// night of TecDoc's catalogue is played in the same way, from testdata; what it took is told, and not judged.
package examples
