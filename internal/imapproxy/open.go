package imapproxy

import (
	"strings"
	"time"

	"github.com/postseal/postseal/internal/render"
	"github.com/postseal/postseal/internal/spool"
	"github.com/postseal/postseal/smime"
)

// open makes what the client sees of a message, and remembers what was decided.
func (s *session) open(t *target, got *fetched) (*opened, error) {
	raw, err := takeLiteral(got, s.p.SpoolDir)
	if err != nil {
		return nil, err
	}
	o := &opened{uid: t.uid, raw: raw}
	opts := *s.options
	// Certificates are judged as of when the message came, so that the verdict is
	// the same tomorrow.
	if opts.Read.Time.IsZero() {
		opts.Read.Time = internalDate(got.values["INTERNALDATE"].text)
	}
	if t.fact != nil && !t.fact.Plain {
		opts.Remembered = &render.Remembered{Opened: t.fact.Opened, Status: smime.Status(t.fact.Status), Verdict: t.fact.Verdict}
	}
	made, err := render.Open(raw, raw.Size(), &opts)
	if err != nil {
		o.close()
		return nil, &messageError{"its key or its content cannot be used now", err}
	}
	o.made = made
	src, size := o.source()
	if o.shown, err = newShown(src, size); err != nil {
		o.close()
		return nil, &messageError{"its structure cannot be read", err}
	}
	if t.fact == nil {
		fact := Fact{Plain: !made.Changed, Opened: made.Opened, Status: string(made.Status), Verdict: made.Verdict, Size: size}
		if fact, err = s.facts.Put(s.ctx, s.key(t.uid), fact); err != nil {
			o.close()
			return nil, err
		}
		t.fact = &fact
		if s.p.Learn != nil && made.Message != nil {
			s.p.Learn(s.account, made.Message, opts.Read.Time)
		}
	}
	s.rendered.put(o)
	return o, nil
}

// takeLiteral takes the octets of a message out of a response.
func takeLiteral(got *fetched, dir string) (*spool.Buffer, error) {
	v := got.values["BODY[]"]
	if v.literal != nil {
		delete(got.values, "BODY[]")
		return v.literal, nil
	}
	// A short message may come as a quoted string.
	text, err := v.bytes(maxResponseLine)
	if err != nil {
		return nil, err
	}
	raw := spool.New(spool.Options{Dir: dir})
	_, err = raw.Write(text)
	return raw, err
}

// internalDate reads an INTERNALDATE; what cannot be read is now.
func internalDate(text string) time.Time {
	t, err := time.Parse("_2-Jan-2006 15:04:05 -0700", strings.Trim(text, `" `))
	if err != nil {
		return time.Now()
	}
	return t
}
