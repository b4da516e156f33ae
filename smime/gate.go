package smime

import (
	"io"

	"github.com/postseal/postseal/internal/mimeraw"
)

// A gate holds what is written to it until it is opened. It lets a writer be
// made, and with it the caller's mistakes be found, before the header that goes
// in front of what it writes is known.
type gate struct {
	dst  io.Writer
	held []byte
	open bool
}

// Write implements io.Writer.
func (g *gate) Write(p []byte) (int, error) {
	if g.open {
		return g.dst.Write(p)
	}
	g.held = append(g.held, p...)
	return len(p), nil
}

// Lend makes a gate a [mimeraw.Lender] when it is open and its destination
// is one.
func (g *gate) Lend() []byte {
	if lender, ok := g.dst.(mimeraw.Lender); ok && g.open {
		return lender.Lend()
	}
	return nil
}

// pass writes head and all that is held, and opens the gate.
func (g *gate) pass(head []byte) error {
	held := g.held
	g.open, g.held = true, nil
	if err := writeAll(g.dst, head); err != nil {
		return err
	}
	return writeAll(g.dst, held)
}

// A chain is a writer whose Close ends several, the first one first.
type chain struct {
	io.Writer
	ends [3]io.Closer // up to the first nil
}

// Close implements io.Closer. It stops at the first error.
func (c *chain) Close() error {
	for _, end := range c.ends {
		if end == nil {
			break
		}
		if err := end.Close(); err != nil {
			return err
		}
	}
	c.ends = [len(c.ends)]io.Closer{}
	return nil
}

// A closerFunc is a function as an io.Closer.
type closerFunc func() error

// Close implements io.Closer.
func (f closerFunc) Close() error { return f() }
