package recent

import (
	"sync"
	"testing"
)

func TestMap(t *testing.T) {
	m := NewMap[int, string](10)
	if _, ok := m.Get(1); ok {
		t.Error("an empty map has a value")
	}
	m.Put(-1, "kept")
	for i := range 1000 {
		m.Put(i, "x")
		for back := range 9 {
			if v, ok := m.Get(i - back); i >= back && (!ok || v != "x") {
				t.Fatalf("%d is forgotten after %d others", i-back, back)
			}
		}
		if v, ok := m.Get(-1); !ok || v != "kept" {
			t.Fatalf("what is used is forgotten after %d", i)
		}
		if n := len(m.young) + len(m.old); n > 20 {
			t.Fatalf("there are %d values", n)
		}
	}
	if _, ok := m.Get(5); ok {
		t.Error("nothing is forgotten")
	}
	m.Put(-1, "other")
	if v, _ := m.Get(-1); v != "other" {
		t.Error("a value is not replaced")
	}
}

func TestConcurrent(t *testing.T) {
	m := NewMap[int, int](8)
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for i := range 2000 {
				m.Put(i%50, i%50)
				if v, ok := m.Get(i % 30); ok && v != i%30 {
					t.Errorf("%d is %d", i%30, v)
				}
			}
		})
	}
	wait.Wait()
}
