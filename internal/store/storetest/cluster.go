package storetest

import (
	"testing"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

var clusterTests = map[string]func(*testing.T, *bench){
	"the set that was activated last is the active one, over a restart": lastActivation,
	"a set stays readable after others were activated":                  eachSetIsKept,
	"a node that was silent for long and holds nothing is forgotten":    silentIsForgotten,
	"nodes tell of themselves, and are alive while their lease holds":   nodesTell,
}

func lastActivation(t *testing.T, b *bench) {
	if set, err := b.Active(b.ctx()); err != nil || set.Hash != "" {
		t.Fatalf("before the first activation: %+v, %v", set, err)
	}
	for _, hash := range []string{"one", "two", "one"} {
		b.must(b.Activate(b.ctx(), store.RouteSet{
			Hash: hash, Node: node, Destinations: []core.Destination{route(hash)}, Text: []byte("text " + hash), Routes: []byte(`["` + hash + `"]`),
		}))
		b.restart()
		set, err := b.Active(b.ctx())
		b.must(err)
		if set.Hash != hash || set.Node != node || string(set.Text) != "text "+hash || string(set.Routes) != `["`+hash+`"]` || !set.ActivatedAt.Equal(b.clock.Now()) {
			t.Errorf("after activating %s: %+v", hash, set)
		}
	}
}

func silentIsForgotten(t *testing.T, b *bench) {
	const silent = 24 * time.Hour
	forget := func(node string, want bool) {
		t.Helper()
		got, err := b.Forget(b.ctx(), node, silent)
		b.must(err)
		if got != want {
			t.Errorf("%s was forgotten: %t, want %t", node, got, want)
		}
	}
	b.must(b.Beat(b.ctx(), node, 10*time.Second))
	b.send(b.event(route("facture")))
	held := b.claimOne()
	b.must(b.Tell(b.ctx(), "node-2", []byte(`{}`)))
	b.must(b.Beat(b.ctx(), "node-2", 10*time.Second))
	b.must(b.Tell(b.ctx(), "node-3", []byte(`{}`))) // it died before its first beat
	b.advance(silent + 10*time.Second)
	forget("node-2", false)
	forget("node-3", true)
	b.advance(time.Millisecond)
	forget(node, false) // something runs under its name
	forget("node-2", true)
	forget("node-2", false)
	forget("nobody", false)
	b.restart()
	nodes, err := b.Nodes(b.ctx())
	b.must(err)
	if len(nodes) != 1 || nodes[0].Name != node {
		t.Errorf("left are %+v", nodes)
	}
	b.must(b.Beat(b.ctx(), "node-2", 10*time.Second))
	if nodes, err = b.Nodes(b.ctx()); err != nil || len(nodes) != 2 || !nodes[1].Alive || len(nodes[1].Told) != 0 {
		t.Errorf("back is %+v, %v", nodes, err)
	}
	if d := b.delivery(held.Delivery.ID); d.State != core.StateRunning {
		t.Errorf("the delivery is %s", d.State)
	}
}

func eachSetIsKept(t *testing.T, b *bench) {
	for _, hash := range []string{"one", "two"} {
		b.must(b.Activate(b.ctx(), store.RouteSet{Hash: hash, Node: node, Routes: []byte(`["` + hash + `"]`)}))
	}
	b.restart()
	for hash, routes := range map[string]string{"one": `["one"]`, "two": `["two"]`, "three": ""} {
		set, err := b.RouteSet(b.ctx(), hash)
		b.must(err)
		if string(set.Routes) != routes || (set.Hash == hash) != (routes != "") {
			t.Errorf("the set %s is %+v", hash, set)
		}
	}
	named := b.event()
	named.FanOut, named.RouteSet = true, "four"
	b.send(named)
	if set, err := b.RouteSet(b.ctx(), "four"); err != nil || set.Hash != "" {
		t.Errorf("a set that is only named is %+v, %v", set, err)
	}
}

func nodesTell(t *testing.T, b *bench) {
	b.must(b.Beat(b.ctx(), "node-2", 10*time.Second))
	b.must(b.Tell(b.ctx(), "node-2", []byte(`{"version":"1.2"}`)))
	began := b.clock.Now()
	b.advance(4 * time.Second)
	b.must(b.Beat(b.ctx(), node, 10*time.Second))
	b.send(b.event(route("facture")))
	b.claimOne()
	b.advance(7 * time.Second)
	nodes, err := b.Nodes(b.ctx())
	b.must(err)
	if len(nodes) != 2 || nodes[0].Name != node || nodes[1].Name != "node-2" {
		t.Fatalf("listed %+v", nodes)
	}
	if !nodes[0].Alive || nodes[1].Alive {
		t.Errorf("alive: %t and %t, want only the first", nodes[0].Alive, nodes[1].Alive)
	}
	if nodes[0].Running != 1 || nodes[1].Running != 0 {
		t.Errorf("%d and %d deliveries run", nodes[0].Running, nodes[1].Running)
	}
	if string(nodes[1].Told) != `{"version":"1.2"}` || !nodes[1].BeatAt.Equal(began) || !nodes[1].Since.Equal(began) || nodes[1].Lease != 10*time.Second {
		t.Errorf("node-2 is told as %+v", nodes[1])
	}
}
