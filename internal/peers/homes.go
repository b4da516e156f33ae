package peers

import "sync"

// homes are folders with a peer's database, made when they are first needed:
// one for every person, with that person's private key and no other, so that
// it is known whose key opened a message.
type homes struct {
	make func(person string) (dir string, err error) // person is "" for a home without private key

	mu   sync.Mutex
	dirs map[string]string
}

func newHomes(build func(person string) (string, error)) *homes {
	return &homes{make: build, dirs: make(map[string]string)}
}

// of returns the home of a person.
func (h *homes) of(person string) (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if dir, ok := h.dirs[person]; ok {
		return dir, nil
	}
	dir, err := h.make(person)
	if err == nil {
		h.dirs[person] = dir
	}
	return dir, err
}
