//go:build race

package source

// The race detector makes pools forget, on purpose, some of what they are given.
const poolsForget = true
