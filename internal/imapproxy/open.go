package imapproxy

import (
	"bufio"
	"strings"
	"time"

	"github.com/postseal/postseal/internal/mimeraw"
	"github.com/postseal/postseal/internal/render"
	"github.com/postseal/postseal/internal/spool"
	"github.com/postseal/postseal/smime"
)

// open makes what the client sees of a message. It takes raw, the message as it is
// stored, which came at date. What it decided anew is in o.fresh, and is to be
// settled.
func (s *session) open(t *target, raw *spool.Buffer, date string) (_ *opened, err error) {
	o := &opened{uid: t.uid, raw: raw, date: date}
	defer func() {
		if err != nil {
			o.close()
		}
	}()
	opts := *s.options
	// Certificates are judged as of when the message came, so that the verdict is
	// the same tomorrow.
	if opts.Read.Time.IsZero() {
		opts.Read.Time = internalDate(date)
	}
	if t.fact != nil && !t.fact.plain {
		opts.Remembered = &render.Remembered{Opened: t.fact.opened, Status: t.fact.status, Verdict: t.fact.verdict}
	}
	if o.made, err = render.Open(raw, raw.Size(), &opts); err != nil {
		return nil, &messageError{"UNAVAILABLE", "its key or its content cannot be used now", err}
	}
	src, size := o.source()
	if o.shown, err = newShown(src, size); err != nil {
		return nil, &messageError{"SERVERBUG", "its structure cannot be read", err}
	}
	if o.digest, err = digestOf(src, size); err != nil {
		return nil, err
	}
	if t.fact != nil && (t.fact.plain || t.fact.digest == o.digest) {
		return o, nil
	}
	o.fresh = &fact{plain: !o.made.Changed, opened: o.made.Opened, status: o.made.Status, verdict: o.made.Verdict, size: size, digest: o.digest}
	if !o.fresh.plain {
		err = o.fresh.addViews(o.shown)
	}
	return o, err
}

// settle remembers what was decided anew of messages, and tells others of those
// that were opened for the first time.
func (s *session) settle(targets []*target, list []*opened) error {
	var fresh []*target
	var changed []uint32
	var firsts []*opened
	for i, o := range list {
		if o.fresh == nil {
			continue
		}
		t := targets[i]
		if t.fact != nil {
			// The program shows messages otherwise than it did.
			s.p.log().Warn("a message is shown otherwise than before", "account", s.account, "uid", t.uid)
			changed = append(changed, t.uid)
		} else {
			firsts = append(firsts, o)
		}
		t.fact = o.fresh
		fresh = append(fresh, t)
	}
	if err := s.forget(changed); err != nil {
		return err
	}
	if err := s.remember(fresh); err != nil {
		return err
	}
	return s.learn(firsts)
}

// agree returns a message as what was decided of it says: another connection may
// have decided otherwise meanwhile, whose word counts. It takes o.
func (s *session) agree(t *target, o *opened) (*opened, error) {
	for !t.fact.plain && t.fact.digest != o.digest {
		raw, date := o.raw, o.date
		o.raw = spool.New(spool.Options{})
		o.close()
		var err error
		if o, err = s.open(t, raw, date); err != nil {
			return nil, err
		}
		if err = s.settle([]*target{t}, []*opened{o}); err != nil {
			o.close()
			return nil, err
		}
	}
	return o, nil
}

// learn lets others know of messages that were opened for the first time.
func (s *session) learn(list []*opened) error {
	var ids []string
	for _, o := range list {
		m := o.made.Message
		if m == nil {
			continue
		}
		if s.p.Learn != nil {
			s.p.Learn(s.account, m, internalDate(o.date))
		}
		if cameEncrypted(m) {
			ids = append(ids, messageIDs(o)...)
		}
	}
	if s.p.Facts == nil || len(ids) == 0 {
		return nil
	}
	return s.p.Facts.NoteEncrypted(s.ctx, s.account, ids)
}

// cameEncrypted reports whether any layer of a message is encrypted, opened or not.
func cameEncrypted(m *smime.Message) bool {
	for _, l := range m.Layers {
		if l.Encrypted {
			return true
		}
	}
	return false
}

// messageIDs returns those that an answer may name, without angle brackets: that of
// the message as it is stored, and that of what was in it.
func messageIDs(o *opened) []string {
	var out []string
	for _, part := range []*mimeraw.Header{headerOf(o.raw), o.shown.tree.Fields} {
		if part == nil {
			continue
		}
		for _, value := range part.Values("Message-ID") {
			if id := strings.Trim(strings.TrimSpace(value), "<>"); id != "" {
				out = append(out, id)
			}
		}
	}
	return out
}

// headerOf reads the header of a message; nil when it cannot be read.
func headerOf(raw *spool.Buffer) *mimeraw.Header {
	h, err := mimeraw.ReadHeader(bufio.NewReader(raw.NewReader()), 0)
	if err != nil {
		return nil
	}
	return h
}

// internalDate reads an INTERNALDATE; what cannot be read is now.
func internalDate(text string) time.Time {
	t, err := time.Parse("_2-Jan-2006 15:04:05 -0700", strings.Trim(text, `" `))
	if err != nil {
		return time.Now()
	}
	return t
}
