// Package recent remembers what was computed lately, in a bounded amount of
// memory: what is looked up again and again stays, and the rest is forgotten.
//
// # Security
//
// Who writes messages decides what is remembered. Whatever that is, a [Map] holds
// no more than twice its size, and what is forgotten is computed again.
package recent

import "sync"

// A Map remembers values. It is safe for concurrent use. It has two generations:
// when the young one is full it becomes the old one, which is forgotten; what is
// found in the old one becomes young again.
type Map[K comparable, V any] struct {
	mu         sync.Mutex
	size       int
	young, old map[K]V
}

// NewMap returns an empty Map that remembers size values at least, and twice as
// many at most.
func NewMap[K comparable, V any](size int) *Map[K, V] { return &Map[K, V]{size: size} }

// Get returns the value of a key, if it is remembered.
func (m *Map[K, V]) Get(key K) (V, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.young[key]
	if !ok {
		if v, ok = m.old[key]; ok {
			m.put(key, v)
		}
	}
	return v, ok
}

// Put remembers a value.
func (m *Map[K, V]) Put(key K, value V) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.put(key, value)
}

func (m *Map[K, V]) put(key K, value V) {
	if m.young == nil || len(m.young) >= m.size {
		m.young, m.old = make(map[K]V), m.young
	}
	m.young[key] = value
}
