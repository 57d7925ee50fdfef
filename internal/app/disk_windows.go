package app

import (
	"golang.org/x/sys/windows"

	"relais/internal/telemetry"
)

// diskOf tells how full the file system is that holds a folder.
func diskOf(dir string) (telemetry.Disk, error) {
	path, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return telemetry.Disk{}, err
	}
	var disk telemetry.Disk
	err = windows.GetDiskFreeSpaceEx(path, &disk.Free, &disk.Size, nil)
	return disk, err
}
