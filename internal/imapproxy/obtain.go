package imapproxy

import (
	"errors"
	"strings"

	"github.com/postseal/postseal/internal/spool"
)

// decide finds out about those messages of which nothing is known. The problems
// are *messageError.
func (s *session) decide(f *fetch, targets []*target) (problems map[uint32]error, err error) {
	var unknown []*target
	for _, t := range targets {
		if t.fact == nil && !t.big {
			unknown = append(unknown, t)
		}
	}
	if len(unknown) == 0 {
		return nil, nil
	}
	s.flush() // this may take a while
	problems = make(map[uint32]error)
	got, err := s.get(f, unknown)
	if me, ok := errors.AsType[*messageError](err); ok {
		for _, t := range unknown {
			problems[t.uid] = me
		}
		return problems, nil
	}
	if err != nil {
		return nil, err
	}
	if len(targets) == 1 && got[unknown[0].uid] != nil {
		raw := got[unknown[0].uid]
		_, err = s.openOne(unknown[0], raw.buffer, raw.date)
		if me, ok := errors.AsType[*messageError](err); ok {
			problems[unknown[0].uid], err = me, nil
		}
		return problems, err
	}
	var settled []*target
	var list []*opened
	defer func() {
		for _, o := range list {
			o.close()
		}
	}()
	for _, t := range unknown {
		raw := got[t.uid]
		if raw == nil {
			continue // it has gone meanwhile
		}
		o, openErr := s.open(t, raw.buffer, raw.date)
		if openErr == nil {
			settled, list = append(settled, t), append(list, o)
			continue
		}
		problems[t.uid] = openErr
		if _, ok := errors.AsType[*messageError](openErr); !ok {
			err = openErr
		}
	}
	if err != nil {
		return nil, err
	}
	return problems, s.settle(settled, list)
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
