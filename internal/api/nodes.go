package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"relais/internal/store"
)

// Told is what a node says of itself, every few seconds.
type Told struct {
	Version string `json:"version"`
	Role    string `json:"role" enum:"all,ingest,worker"`
	// Routes is the hash of the routes of the configuration that the node read; Active of those by which
	// it matches, which are the store's newest.
	Routes string `json:"routes" doc:"Hash of the routes of the configuration that the node read"`
	Active string `json:"active" doc:"Hash of the routes by which it matches"`
	Unread string `json:"unread,omitempty" doc:"Why it can't read the active routes, which a newer relais put in force: it takes events in, and leaves their deliveries to others"`
	Spool  *Spool `json:"spool,omitempty" doc:"What waits in its spool; none where it has no spool, or where a later node has that spool"`
}

// Spool is what a node acknowledged while the database was away.
type Spool struct {
	ID     string    `json:"id,omitempty" doc:"Names the spool's folder, which outlives the node"`
	State  string    `json:"state" enum:"direct,spooling,draining"`
	Events int       `json:"events"`
	Bytes  int64     `json:"bytes"`
	Oldest time.Time `json:"oldest,omitzero"`
	Aside  int       `json:"aside" doc:"Events that the database refuses for a fault of their own; they are kept in the spool"`
}

// Node is one process that works on the store, or did.
type Node struct {
	Name    string    `json:"name"`
	State   string    `json:"state" enum:"alive,gone" doc:"gone: its lease has lapsed, and others take over what it ran"`
	Since   time.Time `json:"since"`
	BeatAt  time.Time `json:"beat_at"`
	Running int       `json:"running" doc:"Deliveries that stand as running under its name"`
	Told
}

type nodeList struct{ Body List[Node] }

func (s *server) registerNodes() {
	register(s, operation(http.MethodGet, "/nodes", "list-nodes", "status", "List the nodes of the store, with what each says of itself", 503), s.listNodes)
}

func (s *server) listNodes(ctx context.Context, _ *struct{}) (*nodeList, error) {
	nodes, err := s.Store.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	out, err := Nodes(nodes)
	if err != nil {
		return nil, err
	}
	return &nodeList{List[Node]{Items: out}}, nil
}

// Nodes reads what nodes said of themselves. What a node said of its spool counts until another one, a later life of
// the same folder, says it.
func Nodes(nodes []store.Node) ([]Node, error) {
	out := make([]Node, len(nodes))
	for i, n := range nodes {
		out[i] = Node{Name: n.Name, State: "gone", Since: n.Since.UTC(), BeatAt: n.BeatAt.UTC(), Running: n.Running}
		if n.Alive {
			out[i].State = "alive"
		}
		if len(n.Told) > 0 {
			if err := json.Unmarshal(n.Told, &out[i].Told); err != nil {
				return nil, err
			}
		}
	}
	last := map[string]time.Time{}
	for _, n := range out {
		if n.Spool != nil && n.Spool.ID != "" && n.BeatAt.After(last[n.Spool.ID]) {
			last[n.Spool.ID] = n.BeatAt
		}
	}
	for i, n := range out {
		if n.Spool != nil && n.Spool.ID != "" && n.BeatAt.Before(last[n.Spool.ID]) {
			out[i].Spool = nil
		}
	}
	return out, nil
}
