package main

import (
	"strconv"
	"time"

	"relais/internal/api"
)

type nodesCommand struct{ output }

// Run lists the nodes of the store.
func (n *nodesCommand) Run(p *program) error {
	return p.with(func(c *client) error {
		var out api.List[api.Node]
		if err := c.get("/nodes", nil, &out); err != nil {
			return err
		}
		return show(p, n.output, &out, p.nodes)
	})
}

func (p *program) nodes(list *api.List[api.Node]) error {
	if len(list.Items) == 0 {
		p.say("no_nodes")
		return nil
	}
	rows := make([][]string, len(list.Items))
	for i, n := range list.Items {
		rows[i] = []string{
			n.Name, p.lang.say(nodeState(n)), n.Role, n.Version, when(n.Since), p.lang.short(time.Since(n.BeatAt)),
			strconv.Itoa(n.Running), clip(n.Routes, 13), p.lang.say(sameRoutes(n)), p.spool(n.Spool),
		}
	}
	return p.table("head_nodes", rows)
}

func nodeState(n api.Node) string {
	if n.State == "alive" {
		return "node_alive"
	}
	return "node_gone"
}

// sameRoutes tells whether a node read the routes that are in force.
func sameRoutes(n api.Node) string {
	switch {
	case n.Unread != "":
		return "routes_unread"
	case n.Routes == n.Active:
		return "routes_same"
	default:
		return "routes_other"
	}
}

func (p *program) spool(s *api.Spool) string {
	switch {
	case s == nil:
		return "-"
	case s.Events == 0 && s.Aside == 0:
		return p.lang.say("spool_empty")
	default:
		return p.lang.say("spool_holds", s.Events, p.lang.size(s.Bytes), s.Aside)
	}
}
