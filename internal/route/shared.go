package route

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"relais/internal/config"
	"relais/internal/core"
)

// shared is what every node needs of a route to match events by it, whichever configuration it read
// itself. Definition identifies the whole route: a node runs the deliveries of a route that it knows as it
// is in force, and leaves others to nodes that do.
type shared struct {
	Name       string        `json:"name"`
	Definition string        `json:"definition"`
	On         []string      `json:"on"`
	Test       bool          `json:"test,omitempty"`
	Delay      time.Duration `json:"delay_ns,omitempty"`
	OrderBy    string        `json:"order_by,omitempty"`
	FIFO       bool          `json:"fifo,omitempty"`
	OnFIFO     string        `json:"fifo_on_dead,omitempty"`
	Priority   core.Priority `json:"priority"`
	Expression string        `json:"priority_expression,omitempty"`
}

// Encode writes what other nodes need of the set. with is what the routes run with besides what they say: a
// node with other connections runs other routes. The values of hide are kept out of what definitions are made
// from: a digest of a short secret would tell it. An unchanged route has the same definition in all versions of
// relais: see config.Canonical.
func (s *Set) Encode(hide *strings.Replacer, with any) (json.RawMessage, error) {
	out := make([]shared, len(s.routes))
	for i := range s.routes {
		r := &s.routes[i].Route
		definition, err := definitionOf(r, hide, with)
		if err != nil {
			return nil, fmt.Errorf("routes.%s: %w", r.Name, err)
		}
		out[i] = shared{
			Name: r.Name, Definition: definition, On: r.On, Test: r.Test, Delay: r.Delay, OrderBy: r.OrderBy,
			FIFO: r.FIFO, OnFIFO: r.OnFIFO, Priority: r.Priority, Expression: r.PriorityExpr,
		}
	}
	return json.Marshal(out)
}

func definitionOf(r *config.Route, hide *strings.Replacer, with any) (string, error) {
	text, err := config.Canonical([]any{r, with})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(hide.Replace(string(text))))
	return hex.EncodeToString(sum[:16]), nil
}

// Decode makes the set that a node encoded: what it matches, and each route's definition. It can't run
// any step. A set that says more than this version knows is refused, not read in part: events would go
// elsewhere than on the nodes that understand it. So a later version writes down a new member only for a
// route that uses it.
func Decode(text json.RawMessage, hash string) (*Set, map[core.Destination]string, error) {
	var list []shared
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&list); err != nil {
		return nil, nil, fmt.Errorf("the routes that another node put in force can't be read: %w", err)
	}
	routes := make([]config.Route, len(list))
	definitions := make(map[core.Destination]string, len(list))
	for i, r := range list {
		routes[i] = config.Route{
			Name: r.Name, On: r.On, Test: r.Test, Delay: r.Delay, OrderBy: r.OrderBy, FIFO: r.FIFO,
			OnFIFO: r.OnFIFO, Priority: r.Priority, PriorityExpr: r.Expression,
		}
		definitions[Destination(r.Name)] = r.Definition
	}
	set, err := Compile(routes, hash)
	return set, definitions, err
}
