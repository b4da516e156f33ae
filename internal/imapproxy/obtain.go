package imapproxy

import (
	"errors"
	"iter"
	"slices"
	"strings"

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

// weight is how many octets of a message have to be there for f.
func (f *fetch) weight(t *target) int64 {
	switch {
	case !f.needs(t):
		return 0
	case t.fact != nil && !t.fact.plain:
		return t.fact.size
	}
	return t.size
}

// batches splits messages into those that are opened together.
func (f *fetch) batches(targets []*target) iter.Seq[[]*target] {
	return func(yield func([]*target) bool) {
		for len(targets) > 0 {
			n, size := 0, int64(0)
			for n < len(targets) && n < atOnce {
				size += f.weight(targets[n])
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

// takeHeld returns those of targets that are needed as a whole and are held already,
// by UID: they are the caller's.
func (s *session) takeHeld(f *fetch, targets []*target) map[uint32]*opened {
	held := make(map[uint32]*opened)
	if s.rendered.list == nil {
		return held
	}
	for _, t := range targets {
		if t.big || !f.needs(t) {
			continue
		}
		if o := s.rendered.take(t.uid); o != nil && t.fact != nil {
			held[t.uid] = o
		} else if o != nil {
			o.close() // nobody knows what was decided of it
		}
	}
	return held
}

// settleAll settles the messages of a batch that were opened. Those that are needed
// as a whole come into held, by UID, and are the caller's. The problems are
// *messageError. What is needed, and neither in held nor has a problem, has gone.
func (s *session) settleAll(f *fetch, b *batch, held map[uint32]*opened) (problems map[uint32]error, err error) {
	if len(b.needed) == 0 {
		return nil, nil
	}
	problems = make(map[uint32]error)
	if me, ok := errors.AsType[*messageError](b.err); ok {
		for _, t := range b.needed {
			problems[t.uid] = me
		}
		return problems, nil
	}
	if err = b.err; err != nil {
		return nil, err
	}
	var settled []*target
	var list []*opened
	for i, t := range b.needed {
		switch _, ok := errors.AsType[*messageError](b.errs[i]); {
		case b.errs[i] != nil && !ok:
			err = b.errs[i]
		case b.errs[i] != nil:
			problems[t.uid] = b.errs[i]
		case b.all[i] != nil:
			settled, list, held[t.uid] = append(settled, t), append(list, b.all[i]), b.all[i]
		}
	}
	b.all = nil // they are in held
	if err == nil {
		err = s.settle(settled, list)
	}
	for _, t := range settled {
		if err == nil {
			err = s.keep(f, t, held, problems)
		}
	}
	return problems, err
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

// A rawMessage is a message as it is stored.
type rawMessage struct {
	buffer *spool.Buffer
	date   string // INTERNALDATE
}

// get gets messages, and gives each of them to take, with its place in targets, as
// it comes; those that have gone do not. take is not to wait for anything.
func (s *session) get(f *fetch, targets []*target, take func(i int, raw *rawMessage)) error {
	byUID := make(map[uint32]int)
	for i, t := range targets {
		byUID[t.uid] = i
	}
	count := 0
	text, err := s.run(f.verb()+" "+f.list(targets)+" (UID INTERNALDATE BODY.PEEK[])", func(r *response) bool {
		one := parseFetched(r)
		if one == nil {
			return false
		}
		i, wanted := byUID[one.uid]
		body, at := one.get("BODY[]"), one.get("INTERNALDATE")
		if !wanted || body == nil || at == nil {
			return false // it tells of something else
		}
		delete(byUID, one.uid)
		count++
		raw := &rawMessage{body.literal, at.text}
		if raw.buffer == nil {
			raw.buffer = spool.New(spool.Options{Dir: s.p.SpoolDir})
			short, _ := body.bytes(maxResponseLine) // a quoted string, or NIL
			_, _ = raw.buffer.Write(short)          // an error is met by who reads it
		}
		t := targets[i]
		t.seq, t.expunges = one.seq, one.expunges
		// Flags that came along are for the client.
		if flags := one.get("FLAGS"); flags != nil {
			s.tellFlags(t.seq, flags.text)
		}
		take(i, raw)
		return true
	})
	if err == nil && count == 0 && !strings.HasPrefix(upper(text), "OK") {
		err = &messageError{"SERVERBUG", "the mail server refused", errors.New(text)}
	}
	return err
}
