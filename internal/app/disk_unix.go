//go:build !windows

package app

import (
	"golang.org/x/sys/unix"

	"relais/internal/telemetry"
)

// diskOf tells how full the file system is that holds a folder. What is kept for root isn't free.
func diskOf(dir string) (telemetry.Disk, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		return telemetry.Disk{}, err
	}
	block := uint64(stat.Bsize) //nolint:gosec // never negative, and of another type on each system
	return telemetry.Disk{Free: stat.Bavail * block, Size: stat.Blocks * block}, nil
}
