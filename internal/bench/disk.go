package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	// syncBytes is written before each sync, syncFile is where the file begins again: a log that is
	// written over once it has been checkpointed, as SQLite's is.
	syncBytes = 16 << 10
	syncFile  = 16 << 20
)

// syncs measures what the disk under dir takes to make a write durable, at most perSecond times a
// second for that long. A sync that takes longer than its turn delays the next one: only the disk is
// measured, no queue before it.
func syncs(ctx context.Context, dir string, perSecond int, d time.Duration) (*hdrhistogram.Histogram, error) {
	file, err := os.CreateTemp(dir, "sync-")
	if err != nil {
		return nil, fmt.Errorf("make a file to sync: %w", err)
	}
	defer func() {
		_ = file.Close() // its content is worth nothing
		_ = os.Remove(filepath.Join(file.Name()))
	}()
	seen := hdrhistogram.New(1, longest.Microseconds(), 3)
	block := make([]byte, syncBytes)
	total := int64(d.Seconds() * float64(perSecond))
	begin := time.Now()
	var failed error
	err = pace(ctx, begin, time.Second/time.Duration(perSecond), total, func(i int64) {
		if failed != nil || time.Since(begin) > d {
			return
		}
		block[0]++
		at := time.Now()
		if _, failed = file.WriteAt(block, i*syncBytes%syncFile); failed != nil {
			return
		}
		if failed = syncData(file); failed == nil {
			failed = seen.RecordValue(time.Since(at).Microseconds())
		}
	})
	if err == nil && failed != nil {
		err = fmt.Errorf("write and sync %s: %w", file.Name(), failed)
	}
	return seen, err
}

// size is the bytes of all files of a folder.
func size(dir string) (int64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, fmt.Errorf("measure a data folder: %w", err)
	}
	var total int64
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			if os.IsNotExist(err) {
				continue // gone since the folder was read
			}
			return 0, fmt.Errorf("measure a data folder: %w", err)
		}
		total += info.Size()
	}
	return total, nil
}
