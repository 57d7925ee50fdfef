package core

// Pattern chooses event types; see ParsePattern. The zero Pattern matches all.
type Pattern struct{ segments []string }
