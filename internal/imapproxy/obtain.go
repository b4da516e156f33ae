package imapproxy

import (
	"errors"
	"iter"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/postseal/postseal/internal/spool"
)

// What is opened together: so many messages, of so many octets, but at least one.
const (
	atOnce    = 50
	maxAtOnce = 8 << 20
)

// needs reports whether f cannot be answered for a message by what is remembered.
func (f *fetch) needs(t *target) bool {
	return t.fact == nil || t.fact.plain || slices.ContainsFunc(f.items, func(i item) bool { return i.content() && !t.fact.answers(&i) })
}

// batches splits messages into those that are opened together.
func (f *fetch) batches(targets []*target) iter.Seq[[]*target] {
	return func(yield func([]*target) bool) {
		for len(targets) > 0 {
			n, size := 0, int64(0)
			for n < len(targets) && n < atOnce {
				t := targets[n]
				if f.needs(t) {
					if t.fact != nil && !t.fact.plain {
						size += t.fact.size
					} else {
						size += t.size
					}
				}
				if n > 0 && size > maxAtOnce {
					break
				}
				n++
			}
			if !yield(targets[:n]) {
				return
			}
			targets = targets[n:]
		}
	}
}

// obtain opens those messages of which nothing is known, and those that are needed
// as a whole, which it returns, by UID: they are the caller's. The problems are
// *messageError. What is needed, and neither in held nor has a problem, has gone.
func (s *session) obtain(f *fetch, targets []*target) (held map[uint32]*opened, problems map[uint32]error, err error) {
	held = make(map[uint32]*opened)
	var needed []*target
	for _, t := range targets {
		if t.big || !f.needs(t) {
			continue
		}
		if o := s.rendered.take(t.uid); o != nil && t.fact != nil {
			held[t.uid] = o
			continue
		} else if o != nil {
			o.close() // nobody knows what was decided of it
		}
		needed = append(needed, t)
	}
	if len(needed) == 0 {
		return held, nil, nil
	}
	s.flush() // this may take a while
	problems = make(map[uint32]error)
	got, err := s.get(f, needed)
	if me, ok := errors.AsType[*messageError](err); ok {
		for _, t := range needed {
			problems[t.uid] = me
		}
		return held, problems, nil
	}
	if err != nil {
		closeAll(held)
		return nil, nil, err
	}
	all, errs := s.openAll(needed, got)
	var settled []*target
	var list []*opened
	for i, t := range needed {
		switch _, ok := errors.AsType[*messageError](errs[i]); {
		case errs[i] != nil && !ok:
			err = errs[i]
		case errs[i] != nil:
			problems[t.uid] = errs[i]
		case all[i] != nil:
			settled, list, held[t.uid] = append(settled, t), append(list, all[i]), all[i]
		}
	}
	if err == nil {
		err = s.settle(settled, list)
	}
	for _, t := range settled {
		if err == nil {
			err = s.keep(f, t, held, problems)
		}
	}
	if err != nil {
		closeAll(held)
		return nil, nil, err
	}
	return held, problems, nil
}

// keep keeps a message that was settled, if it is needed, as what was decided of it
// says.
func (s *session) keep(f *fetch, t *target, held map[uint32]*opened, problems map[uint32]error) error {
	o, err := s.agree(t, held[t.uid])
	switch _, ok := errors.AsType[*messageError](err); {
	case ok:
		problems[t.uid] = err
		delete(held, t.uid)
		return nil
	case err != nil:
		delete(held, t.uid)
		return err
	case !f.needs(t):
		o.close()
		delete(held, t.uid)
	default:
		held[t.uid] = o
	}
	return nil
}

func closeAll(held map[uint32]*opened) {
	for _, o := range held {
		o.close()
	}
}

// openAll opens messages on all cores. It takes what was got.
func (s *session) openAll(targets []*target, got map[uint32]*rawMessage) ([]*opened, []error) {
	all, errs := make([]*opened, len(targets)), make([]error, len(targets))
	var next atomic.Int64
	var wg sync.WaitGroup
	work := func() {
		for i := int(next.Add(1)) - 1; i < len(targets); i = int(next.Add(1)) - 1 {
			if raw := got[targets[i].uid]; raw != nil { // else it has gone meanwhile
				all[i], errs[i] = s.open(targets[i], raw.buffer, raw.date)
			}
		}
	}
	for range min(runtime.GOMAXPROCS(0), len(targets)) - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
	return all, errs
}

// A rawMessage is a message as it is stored.
type rawMessage struct {
	buffer *spool.Buffer
	date   string // INTERNALDATE
}

// get gets messages, by UID; those that have gone are not there. They are the
// caller's.
func (s *session) get(f *fetch, targets []*target) (map[uint32]*rawMessage, error) {
	out := make(map[uint32]*rawMessage)
	byUID := make(map[uint32]*target)
	for _, t := range targets {
		byUID[t.uid] = t
	}
	take := func(r *response) bool {
		one := parseFetched(r)
		if one == nil || byUID[one.uid] == nil || out[one.uid] != nil {
			return false
		}
		body, at := one.get("BODY[]"), one.get("INTERNALDATE")
		if body == nil || at == nil {
			return false // it tells of something else
		}
		raw := &rawMessage{body.literal, at.text}
		if raw.buffer == nil {
			raw.buffer = spool.New(spool.Options{Dir: s.p.SpoolDir})
			short, _ := body.bytes(maxResponseLine) // a quoted string, or NIL
			_, _ = raw.buffer.Write(short)          // an error is met by who reads it
		}
		out[one.uid] = raw
		t := byUID[one.uid]
		t.seq, t.expunges = one.seq, one.expunges
		// Flags that came along are for the client.
		if flags := one.get("FLAGS"); flags != nil {
			s.tellFlags(t.seq, flags.text)
		}
		return true
	}
	text, err := s.run(f.verb()+" "+f.list(targets)+" (UID INTERNALDATE BODY.PEEK[])", take)
	if err == nil && len(out) == 0 && !strings.HasPrefix(upper(text), "OK") {
		err = &messageError{"SERVERBUG", "the mail server refused", errors.New(text)}
	}
	if err != nil {
		for _, raw := range out {
			_ = raw.buffer.Close()
		}
		return nil, err
	}
	return out, nil
}
