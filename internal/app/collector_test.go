package app

import "testing"

func TestCollectorPercent(t *testing.T) {
	for _, test := range []struct {
		live uint64
		want int
	}{
		{0, 1000}, {4 << 20, 1000}, {16 << 20, 400}, {32 << 20, 200}, {64 << 20, 100}, {2 << 30, 100},
	} {
		if got := collectorPercent(test.live); got != test.want {
			t.Errorf("with %d MiB alive: %d %%, want %d %%", test.live>>20, got, test.want)
		}
	}
}
