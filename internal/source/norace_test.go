//go:build !race

package source

const poolsForget = false
