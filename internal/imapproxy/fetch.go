package imapproxy

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/postseal/postseal/internal/mimeraw"
)

// A target is a message that a FETCH is about.
type target struct {
	seq, uid uint32
	expunges int // when seq was learned
	fact     *Fact
}

// errUnsure says that a message has changed its place meanwhile.
var errUnsure = errors.New("the sequence numbers have changed")

// fetchCommand answers a FETCH. Messages without S/MIME are left to the upstream;
// the others are answered from their renderings.
func (s *session) fetchCommand(tag string, uid bool, line string) error {
	held, ok, err := s.hold(tag, line)
	if !ok || err != nil {
		return err
	}
	_, rest := cutWord([]byte(held))
	_, rest = cutWord(rest)
	if uid {
		_, rest = cutWord(rest)
	}
	f, ok := parseFetch(tag, uid, string(rest))
	if !ok || !slices.ContainsFunc(f.items, func(i item) bool { return i.content() }) {
		return s.pass(tag, "FETCH", held+"\r\n")
	}
	targets, status, err := s.targets(f)
	if err != nil {
		return err
	}
	if status != "" {
		return s.say("%s %s", tag, status)
	}
	var ours, plain []*target
	for _, t := range targets {
		if t.fact != nil && t.fact.Plain {
			plain = append(plain, t)
		} else {
			ours = append(ours, t)
		}
	}
	if len(ours) == 0 {
		return s.pass(tag, "FETCH", held+"\r\n")
	}
	status, err = s.fetchMixed(f, plain, ours)
	if err != nil {
		return err
	}
	return s.say("%s %s", tag, status)
}

// verb is the command for the messages of f.
func (f *fetch) verb() string {
	if f.uid {
		return "UID FETCH"
	}
	return "FETCH"
}

// list names targets as f does.
func (f *fetch) list(targets []*target) string {
	var b strings.Builder
	for i, t := range targets {
		if i > 0 {
			b.WriteByte(',')
		}
		n := t.seq
		if f.uid {
			n = t.uid
		}
		fmt.Fprintf(&b, "%d", n)
	}
	return b.String()
}

// chunk is how many messages are named in a command.
const chunk = 500

// changedSince returns the modifiers that choose messages: VANISHED is about
// others.
func (f *fetch) changedSince() string {
	words := strings.Fields(strings.Trim(f.modifiers, "()"))
	for i, w := range words {
		if upper(w) == "CHANGEDSINCE" && i+1 < len(words) {
			return " (CHANGEDSINCE " + words[i+1] + ")"
		}
	}
	return ""
}

func (f *fetch) vanished() bool {
	return slices.Contains(strings.Fields(upper(strings.Trim(f.modifiers, "()"))), "VANISHED")
}

// targets finds out which messages f is about, and what is known of them. status
// is not empty when the upstream refuses.
func (s *session) targets(f *fetch) (out []*target, status string, err error) {
	take := func(r *response) bool {
		one := parseFetched(r)
		if one == nil || one.number("UID") == 0 || len(one.values) > 2 {
			return false // it tells of something else, too
		}
		if _, hasMod := one.values["MODSEQ"]; len(one.values) == 2 && !hasMod {
			return false
		}
		out = append(out, &target{seq: one.seq, uid: one.number("UID"), expunges: one.expunges})
		one.free()
		return true
	}
	text, err := s.run(f.verb()+" "+f.set+" (UID)"+f.changedSince(), take)
	if err != nil {
		return nil, "", err
	}
	if !strings.HasPrefix(upper(text), "OK") {
		return nil, text, nil
	}
	uids := make([]uint32, len(out))
	for i, t := range out {
		uids[i] = t.uid
	}
	facts, err := s.facts.Get(s.ctx, s.key(0), uids)
	if err != nil {
		return nil, "", err
	}
	var unknown []*target
	for _, t := range out {
		if fact, ok := facts[t.uid]; ok {
			t.fact = &fact
		} else {
			unknown = append(unknown, t)
		}
	}
	for len(unknown) > 0 {
		some := unknown[:min(chunk, len(unknown))]
		unknown = unknown[len(some):]
		if err = s.look(f, some); err != nil {
			return nil, "", err
		}
	}
	return out, "", nil
}

// key names a message of the selected mailbox.
func (s *session) key(uid uint32) Key {
	m := s.selected()
	return Key{Account: s.account, Mailbox: m.name, Validity: m.validity, UID: uid}
}

// lookedAt are the fields that tell whether a message may be S/MIME, or has
// fields that claim to be ours.
const lookedAt = "CONTENT-TYPE CONTENT-DISPOSITION AUTHENTICATION-RESULTS X-POSTSEAL-STATUS X-POSTSEAL-SIGNER X-POSTSEAL-ENCRYPTION X-POSTSEAL-PROBLEM X-POSTSEAL-WARNING"

// maxLooked bounds what is read of such a header, in octets.
const maxLooked = 64 << 10

// look finds out by their headers which messages are not S/MIME, and remembers
// it. The others have to be opened.
func (s *session) look(f *fetch, targets []*target) error {
	byUID := make(map[uint32]*target)
	for _, t := range targets {
		byUID[t.uid] = t
	}
	var problem error
	take := func(r *response) bool {
		one := parseFetched(r)
		if one == nil {
			return false
		}
		t := byUID[one.number("UID")]
		for name, v := range one.values {
			if t == nil || !strings.HasPrefix(name, "BODY[HEADER.FIELDS") {
				continue
			}
			header, err := v.bytes(maxLooked)
			if err != nil {
				problem = err
			}
			one.free()
			if err == nil && !mayBeProtected(header) {
				t.fact = &Fact{Plain: true}
			}
			return true
		}
		return false
	}
	_, err := s.run(f.verb()+" "+f.list(targets)+" (UID BODY.PEEK[HEADER.FIELDS ("+lookedAt+")])", take)
	if err = errors.Join(err, problem); err != nil {
		return err
	}
	for _, t := range targets {
		if t.fact == nil {
			continue
		}
		fact, putErr := s.facts.Put(s.ctx, s.key(t.uid), *t.fact)
		if putErr != nil {
			return putErr
		}
		t.fact = &fact
	}
	return nil
}

// mayBeProtected reports whether a header may be that of an S/MIME message, or
// has fields that claim to be ours. RFC 8551, Section 3.10: names of files tell,
// too.
func mayBeProtected(raw []byte) bool {
	h, err := mimeraw.ReadHeader(bufio.NewReader(bytes.NewReader(raw)), maxLooked)
	if err != nil {
		return true
	}
	for _, f := range h.Fields {
		if name := upper(f.Name()); strings.HasPrefix(name, "X-POSTSEAL-") || name == "AUTHENTICATION-RESULTS" && strings.Contains(strings.ToLower(f.Value()), "smime") {
			return true
		}
	}
	contentType, _ := h.Get("Content-Type")
	disposition, _ := h.Get("Content-Disposition")
	text := strings.ToLower(contentType + " " + disposition)
	for _, sign := range []string{"pkcs7", "multipart/signed", ".p7m", ".p7s", ".p7c", ".p7z"} {
		if strings.Contains(text, sign) {
			return true
		}
	}
	return false
}

// fetchMixed answers for messages of both kinds. It returns the completion.
func (s *session) fetchMixed(f *fetch, plain, ours []*target) (string, error) {
	if f.vanished() {
		// What has gone is told of once; the messages follow.
		if text, err := s.run(f.verb()+" "+f.set+" (UID FLAGS) "+f.modifiers, nil); err != nil || !strings.HasPrefix(upper(text), "OK") {
			return text, err
		}
	}
	items := make([]string, len(f.items))
	for i, one := range f.items {
		items[i] = one.raw
	}
	for len(plain) > 0 {
		some := plain[:min(chunk, len(plain))]
		plain = plain[len(some):]
		text, err := s.run(f.verb()+" "+f.list(some)+" ("+strings.Join(items, " ")+")", nil)
		if err != nil || !strings.HasPrefix(upper(text), "OK") {
			return text, err
		}
	}
	status := "OK Fetch completed"
	for _, t := range ours {
		err := s.answer(f, t)
		if me, ok := errors.AsType[*messageError](err); ok {
			s.p.log().Warn("a message cannot be shown", "account", s.account, "uid", t.uid, "error", me)
			status = "NO [SERVERBUG] Some messages cannot be shown now: " + me.forClient
			continue
		}
		if err != nil {
			return "", err
		}
	}
	return status, nil
}

// A messageError says that one message cannot be shown now.
type messageError struct {
	forClient string
	err       error
}

func (e *messageError) Error() string { return e.forClient + ": " + e.err.Error() }
func (e *messageError) Unwrap() error { return e.err }

// needs is what an answer needs of the upstream.
type needs struct {
	octets bool     // of the message
	other  []string // items that are not content
}

func (f *fetch) needs(t *target, held bool) needs {
	n := needs{other: []string{"UID", "FLAGS"}}
	for i := range f.items {
		one := &f.items[i]
		switch {
		case !one.content():
			if !slices.Contains(n.other, upper(one.raw)) {
				n.other = append(n.other, upper(one.raw))
			}
		case one.name == "RFC822.SIZE" && t.fact != nil:
		default:
			n.octets = n.octets || !held
		}
	}
	if n.octets && !slices.Contains(n.other, "INTERNALDATE") {
		n.other = append(n.other, "INTERNALDATE")
	}
	return n
}

// answer shows one message.
func (s *session) answer(f *fetch, t *target) error {
	o := s.rendered.get(t.uid)
	need := f.needs(t, o != nil)
	if !need.octets && t.fact == nil {
		need.octets = true
	}
	got, err := s.ask(f, t, need)
	if err != nil || got == nil {
		return err // nil: the message has gone meanwhile
	}
	defer got.free()
	if need.octets {
		if o, err = s.open(t, got); err != nil {
			return err
		}
	}
	if err = s.writeAnswer(f, t, got, o); errors.Is(err, errUnsure) {
		for range 10 {
			if err = s.place(f, t); err != nil || t.seq == 0 {
				return err
			}
			if err = s.writeAnswer(f, t, got, o); !errors.Is(err, errUnsure) {
				break
			}
		}
	}
	if err != nil {
		return err
	}
	return s.markSeen(f, t, got)
}

// ask gets what is needed of a message; nil when it has gone.
func (s *session) ask(f *fetch, t *target, need needs) (*fetched, error) {
	items := strings.Join(need.other, " ")
	if need.octets {
		items += " BODY.PEEK[]"
	}
	var got *fetched
	take := func(r *response) bool {
		one := parseFetched(r)
		hasBody := false
		if one != nil {
			_, hasBody = one.values["BODY[]"]
		}
		// What has not all that was asked for tells of something else.
		if one == nil || got != nil || one.number("UID") != t.uid || need.octets && !hasBody || len(one.values) < len(need.other) {
			return false
		}
		got = one
		return true
	}
	text, err := s.run(fmt.Sprintf("%s %s (%s)", f.verb(), f.list([]*target{t}), items), take)
	if err != nil {
		return nil, err
	}
	if got == nil {
		if !strings.HasPrefix(upper(text), "OK") {
			return nil, &messageError{"the mail server refused", errors.New(text)}
		}
		return nil, nil
	}
	t.seq, t.expunges = got.seq, got.expunges
	return got, nil
}

// place finds the sequence number of a message anew; 0 when it has gone.
func (s *session) place(f *fetch, t *target) error {
	t.seq = 0
	_, err := s.run(fmt.Sprintf("UID FETCH %d (UID)", t.uid), func(r *response) bool {
		one := parseFetched(r)
		if one == nil || one.number("UID") != t.uid {
			return false
		}
		t.seq, t.expunges = one.seq, one.expunges
		one.free()
		return true
	})
	return err
}

// writeAnswer writes the response. With errUnsure nothing has been written.
func (s *session) writeAnswer(f *fetch, t *target, got *fetched, o *opened) error {
	s.out.Lock()
	defer s.out.Unlock()
	if s.expunges != t.expunges {
		return errUnsure
	}
	_, _ = fmt.Fprintf(s.cw, "* %d FETCH (", t.seq) // cw keeps its error
	first := true
	blank := func() {
		if !first {
			_ = s.cw.WriteByte(' ')
		}
		first = false
	}
	if f.uid && !slices.ContainsFunc(f.items, func(i item) bool { return i.name == "UID" }) {
		blank()
		_, _ = fmt.Fprintf(s.cw, "UID %d", t.uid)
	}
	for i := range f.items {
		one := &f.items[i]
		switch {
		case !one.content():
			v, ok := got.values[one.name]
			if !ok || v.literal != nil {
				continue
			}
			blank()
			_, _ = s.cw.WriteString(one.name + " " + v.text)
		case one.name == "RFC822.SIZE" && o == nil:
			blank()
			_, _ = fmt.Fprintf(s.cw, "RFC822.SIZE %d", t.fact.Size)
		default:
			blank()
			if err := o.shown.write(s.cw, one); err != nil {
				return err // the client has half a response: there is no way on
			}
		}
	}
	_, _ = s.cw.WriteString(")\r\n")
	return s.cw.Flush()
}

// markSeen sets \Seen where the items ask for it.
func (s *session) markSeen(f *fetch, t *target, got *fetched) error {
	if s.selected().readOnly || strings.Contains(upper(got.values["FLAGS"].text), `\SEEN`) ||
		!slices.ContainsFunc(f.items, func(i item) bool { return i.seen() }) {
		return nil
	}
	verb := "STORE"
	if f.uid {
		verb = "UID STORE"
	}
	// The upstream tells the client of the new flags.
	_, err := s.run(fmt.Sprintf(`%s %s +FLAGS (\Seen)`, verb, f.list([]*target{t})), nil)
	return err
}
