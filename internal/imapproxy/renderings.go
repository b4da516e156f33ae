package imapproxy

import (
	"crypto/sha256"
	"io"

	"github.com/postseal/postseal/internal/render"
	"github.com/postseal/postseal/internal/spool"
)

// maxRenderings is how many messages a session holds opened.
const maxRenderings = 2

// An opened message is one that is held.
type opened struct {
	uid   uint32
	raw   *spool.Buffer     // as it is stored
	date  string            // its INTERNALDATE
	made  *render.Rendering // nil before it was made
	shown *shown

	digest [sha256.Size]byte // of what is shown
	fresh  *fact             // what was decided anew; nil when all was known
}

func (o *opened) close() {
	if o.made != nil {
		_ = o.made.Close()
	}
	_ = o.raw.Close()
}

// renderings are the messages that a session has opened last, of one mailbox.
// They belong to one goroutine, but for clear when the session has ended.
type renderings struct{ list []*opened }

// take returns a message, which is the caller's; nil when it is not held.
func (r *renderings) take(uid uint32) *opened {
	for i, o := range r.list {
		if o.uid == uid {
			r.list = append(r.list[:i:i], r.list[i+1:]...)
			return o
		}
	}
	return nil
}

func (r *renderings) put(o *opened) {
	r.list = append(r.list, o)
	if len(r.list) > maxRenderings {
		r.list[0].close()
		r.list = r.list[1:]
	}
}

func (r *renderings) clear() {
	for _, o := range r.list {
		o.close()
	}
	r.list = nil
}

// source returns what the client sees.
func (o *opened) source() (io.ReaderAt, int64) {
	if o.made != nil && o.made.Changed {
		return o.made, o.made.Size()
	}
	return o.raw, o.raw.Size()
}
