package cms

import (
	"io"

	"github.com/postseal/postseal/internal/aead"
	"github.com/postseal/postseal/internal/stage"
)

// An aeadReader decrypts what has been authenticated. While a block is read by
// its caller, the next one is decrypted.
type aeadReader struct {
	src    io.Reader // what has been spooled: nobody else reads it
	stream aead.Stream
	small  bool // not worth it
	task   stage.Task
	out    *stage.Block
	plain  []byte // of out, not yet given out
	ahead  *stage.Block
	err    error // after plain
	over   error // after ahead
}

func (a *aeadReader) Read(p []byte) (int, error) {
	if a.small || !stage.Parallel() {
		return a.open(p)
	}
	for len(a.plain) == 0 {
		if a.err != nil {
			return 0, a.err
		}
		if a.ahead == nil {
			a.start(stage.Get())
		}
		_ = a.task.Wait() // its errors are in over
		done, free := a.ahead, a.out
		a.out, a.plain, a.err, a.ahead = done, done.Buf, a.over, nil
		if a.err == nil {
			if free == nil {
				free = stage.Get()
			}
			a.start(free)
		} else {
			stage.Put(free)
		}
	}
	n := copy(p, a.plain)
	a.plain = a.plain[n:]
	return n, nil
}

// start reads and decrypts ahead.
func (a *aeadReader) start(b *stage.Block) {
	a.ahead = b
	_ = a.task.Go(func() error { // its errors are in over
		n := 0
		for n < chunkSize && a.over == nil {
			var more int
			more, a.over = a.open(b.Buf[n:chunkSize])
			n += more
		}
		b.Resize(n)
		return nil
	})
}

// stop ends what is under way.
func (a *aeadReader) stop() {
	_ = a.task.Wait() // its errors are in over
	stage.Put(a.ahead)
	if len(a.plain) == 0 {
		stage.Put(a.out)
		a.out = nil
	}
	a.ahead = nil
}

// open reads and decrypts.
func (a *aeadReader) open(p []byte) (int, error) {
	n, err := a.src.Read(p)
	if n > 0 {
		if oerr := a.stream.Open(p[:n], p[:n]); oerr != nil {
			return 0, ErrDecrypt
		}
	}
	return n, err
}
