package sandbox

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// The journal holds one JSON line for each version of an object, so that a sandbox in its own process can
// be read afterwards and started again. A line that was cut by the process's death is left out.

type journalLine struct {
	Kind   string          `json:"kind"`
	Object json.RawMessage `json:"object"`
}

// openJournal reads what is there and goes on behind it.
func (s *Sandbox) openJournal(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // the path of whoever starts the sandbox
	if err != nil {
		return err
	}
	end, err := s.replayJournal(file)
	if err == nil {
		err = file.Truncate(end)
	}
	if err == nil {
		_, err = file.Seek(end, io.SeekStart)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("the sandbox's journal %s: %w", path, err), file.Close())
	}
	s.file = file
	return nil
}

func (s *Sandbox) replayJournal(file *os.File) (end int64, err error) {
	reader := bufio.NewReader(file)
	for {
		data, err := reader.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return end, nil
		}
		if err != nil {
			return end, err
		}
		var line journalLine
		if err := json.Unmarshal(data, &line); err != nil {
			return end, fmt.Errorf("line at byte %d: %w", end, err)
		}
		o, err := decodeObject(line.Object)
		if err != nil {
			return end, fmt.Errorf("line at byte %d: %w", end, err)
		}
		s.restore(line.Kind, o)
		end += int64(len(data))
	}
}

func (s *Sandbox) restore(kind string, o object) {
	id := integerOf(o["id"])
	switch kind {
	case "estimate":
		s.keepEstimate(o)
	case "invoice":
		if inv := s.invoices[id]; inv != nil {
			inv.object = o
			return
		}
		inv := makeInvoice(o)
		s.keepInvoice(inv, inv.created)
	case "webhook":
		s.webhooks[id] = o
		s.lastID = max(s.lastID, id)
	case "webhook-deleted":
		delete(s.webhooks, id)
	}
}

// journal writes a version of an object. It is not synced: what the sandbox survives is the death of
// relais, not of the machine.
func (s *Sandbox) journal(kind string, o object) error {
	if s.file == nil {
		return nil
	}
	data, err := json.Marshal(o)
	if err != nil {
		return err
	}
	line, err := json.Marshal(journalLine{Kind: kind, Object: data})
	if err != nil {
		return err
	}
	_, err = s.file.Write(append(line, '\n'))
	return err
}
