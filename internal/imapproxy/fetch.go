package imapproxy

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A target is a message that a FETCH is about.
type target struct {
	seq, uid uint32
	expunges int     // when seq was learned
	values   []value // of the items that are not content
	fact     *fact   // nil when it is not known yet
	size     int64   // as it is stored, when fact is nil and it was looked at
	big      bool    // it is too big to be opened
	done     bool    // it was answered
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
	if set, plain := s.plainSet(f); plain {
		return s.pass(tag, "FETCH", f.line(set))
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
		if t.done {
			continue
		}
		if t.fact != nil && t.fact.plain {
			plain = append(plain, t)
		} else {
			ours = append(ours, t)
		}
	}
	if len(ours) == 0 && len(plain) == len(targets) && !f.vanished() {
		if len(targets) > 0 && strings.ContainsAny(f.set, "*$") {
			f.set = f.list(targets) // of those that come meanwhile nothing is known
		}
		return s.pass(tag, "FETCH", f.line(f.set))
	}
	if status, err = s.fetchMixed(f, plain, ours); err != nil {
		return err
	}
	return s.say("%s %s", tag, status)
}

// verb is the command for the messages of f. RFC 3501, Section 7.4.1: no message
// may go while a FETCH or STORE is answered that names them by their places, so
// these are never mixed.
func (f *fetch) verb() string {
	if f.uid {
		return "UID FETCH"
	}
	return "FETCH"
}

// line is f as a command about a set of messages.
func (f *fetch) line(set string) string {
	return f.tag + " " + f.verb() + " " + set + " " + f.rest + "\r\n"
}

// list names targets as f does.
func (f *fetch) list(targets []*target) string {
	var b strings.Builder
	number := func(t *target) uint32 {
		if f.uid {
			return t.uid
		}
		return t.seq
	}
	for i := 0; i < len(targets); i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		first := number(targets[i])
		last := first
		for i+1 < len(targets) && number(targets[i+1]) == last+1 {
			i++
			last++
		}
		b.WriteString(strconv.FormatUint(uint64(first), 10))
		if last != first {
			fmt.Fprintf(&b, ":%d", last)
		}
	}
	return b.String()
}

// chunk is how many messages are named in a command.
const chunk = 500

// modifier reports whether a FETCH has a modifier.
func (f *fetch) modifier(name string) bool {
	return slices.Contains(strings.Fields(upper(strings.Trim(f.modifiers, "()"))), name)
}

func (f *fetch) vanished() bool { return f.modifier("VANISHED") }

// others are the items that are not content, as they are asked for.
func (f *fetch) others() []string {
	out := []string{"UID"}
	for i := range f.items {
		if one := &f.items[i]; !one.content() && !slices.Contains(out, one.is) {
			out = append(out, one.is)
		}
	}
	return out
}

// targets finds out which messages f is about, and what is known of them. status
// is not empty when the upstream refuses.
func (s *session) targets(f *fetch) (out []*target, status string, err error) {
	if out = s.knownTargets(f); out == nil {
		if out, status, err = s.askTargets(f); err != nil || status != "" {
			return nil, status, err
		}
	}
	if err = s.recall(out); err != nil {
		return nil, "", err
	}
	var unknown []*target
	for _, t := range out {
		if t.fact == nil {
			unknown = append(unknown, t)
		}
	}
	for some := range slices.Chunk(unknown, chunk) {
		if err = s.look(f, some); err != nil {
			return nil, "", err
		}
	}
	return out, "", nil
}

// askTargets asks the upstream which messages f is about, and for what it asks
// that is not content.
func (s *session) askTargets(f *fetch) (out []*target, status string, err error) {
	others, set := f.others(), f.set
	known, byPlace := s.knownSet(f)
	if byPlace = byPlace && len(others) > 1; byPlace {
		others, set = others[1:], known // the UIDs are known
	}
	byUID := make(map[uint32]*target)
	box := s.mailboxKey()
	_, held := s.kept()
	var failed error
	take := func(r *response) bool {
		one := parseFetched(r)
		if one == nil {
			return false
		}
		if byPlace {
			s.completePlace(one)
		}
		s.learnPlace(one)
		number := one.seq
		if f.uid {
			number = one.uid
		}
		// What tells of other messages, or has not all that was asked for, was not
		// asked for.
		if one.uid == 0 || !inSet(f.set, number) || slices.ContainsFunc(others, func(name string) bool { return one.get(name) == nil }) {
			return false
		}
		t := byUID[one.uid]
		if t == nil {
			t = &target{uid: one.uid}
			byUID[one.uid] = t
			out = append(out, t)
		}
		if t.done {
			return false
		}
		t.seq, t.expunges, t.values = one.seq, one.expunges, one.values
		// And what has more than that tells the client something.
		if slices.ContainsFunc(one.values, func(v value) bool { return v.name != "MODSEQ" && v.name != "UID" && !slices.Contains(others, v.name) }) {
			return false
		}
		if failed == nil {
			t.done, failed = s.answerNow(f, t, held.one(box, t.uid))
		}
		return true
	}
	command := f.verb() + " " + set + " (" + strings.Join(others, " ") + ")"
	if f.modifiers != "" {
		command += " " + f.modifiers
	}
	text, err := s.run(command, take)
	if err = errors.Join(err, failed); err != nil {
		return nil, "", err
	}
	if !strings.HasPrefix(upper(text), "OK") {
		return nil, text, nil
	}
	return out, "", nil
}

// answerNow answers for a message by what is remembered of it, while the upstream
// speaks of the next ones. It returns false when that is not enough.
func (s *session) answerNow(f *fetch, t *target, known *fact) (bool, error) {
	t.fact = known
	if f.needs(t) {
		t.fact = nil // which is found out with the others
		return false, nil
	}
	err := s.writeAnswer(f, t, nil)
	if errors.Is(err, errUnsure) {
		return false, nil
	}
	return err == nil, err
}

// inSet reports whether a number may be in a set. What the asterisk and the dollar
// sign mean is not known here.
func inSet(set string, n uint32) bool {
	if strings.ContainsAny(set, "*$") {
		return true
	}
	for part := range strings.SplitSeq(set, ",") {
		low, high, isRange := strings.Cut(part, ":")
		a, ok := number32(low)
		b := a
		if isRange {
			var okHigh bool
			b, okHigh = number32(high)
			ok = ok && okHigh
		}
		if ok && min(a, b) <= n && n <= max(a, b) {
			return true
		}
	}
	return false
}

// fetchMixed answers for messages of both kinds. It returns the completion.
func (s *session) fetchMixed(f *fetch, plain, ours []*target) (string, error) {
	items := make([]string, len(f.items))
	for i, one := range f.items {
		items[i] = one.raw
	}
	// RFC 7162, Section 3.1.4.1: CHANGEDSINCE asks for MODSEQ, too.
	if f.modifier("CHANGEDSINCE") && !slices.ContainsFunc(f.items, func(i item) bool { return i.name == "MODSEQ" }) {
		items = append(items, "MODSEQ")
	}
	for some := range slices.Chunk(plain, chunk) {
		text, err := s.run(f.verb()+" "+f.list(some)+" ("+strings.Join(items, " ")+")", nil)
		if err != nil || !strings.HasPrefix(upper(text), "OK") {
			return text, err
		}
	}
	return s.fetchOurs(f, ours)
}

// fetchOurs answers for messages that the upstream cannot answer for.
func (s *session) fetchOurs(f *fetch, ours []*target) (status string, err error) {
	status = "OK Fetch completed"
	shown := make([]*target, 0, len(ours))
	held := s.takeHeld(f, ours)
	next := s.openAhead(f, ours, held)
	defer func() {
		next.end(err)
		closeAll(held) // which is empty, but after an error
	}()
	for _, b := range next.batches {
		next.wait(b)
		problems, settleErr := s.settleAll(f, b, held)
		if settleErr != nil {
			return "", settleErr
		}
		for _, t := range b.targets {
			one := problems[t.uid]
			if t.big {
				one = &messageError{"LIMIT", "it is too big to be looked into, and claims a verdict", ErrTooLong}
			} else if one == nil {
				one = s.answer(f, t, held[t.uid])
			}
			if o := held[t.uid]; o != nil {
				delete(held, t.uid)
				s.rendered.put(o)
			}
			if me, ok := errors.AsType[*messageError](one); ok {
				s.p.log().Warn("a message cannot be shown", "account", s.account, "uid", t.uid, "error", me)
				status = "NO [" + me.code + "] Some messages cannot be shown now: " + me.forClient
				continue
			}
			if one != nil {
				return "", one
			}
			shown = append(shown, t)
		}
		next.release(b)
	}
	return status, s.markSeen(f, shown)
}

// A messageError says that one message cannot be shown now.
type messageError struct {
	code      string // of RFC 5530 or RFC 3516
	forClient string
	err       error
}

func (e *messageError) Error() string { return e.forClient + ": " + e.err.Error() }
func (e *messageError) Unwrap() error { return e.err }

// answer shows one message. o is it when it was opened for that.
func (s *session) answer(f *fetch, t *target, o *opened) error {
	if f.needs(t) && o == nil {
		return nil // the message has gone meanwhile
	}
	err := s.writeAnswer(f, t, o)
	for range 10 {
		if !errors.Is(err, errUnsure) {
			break
		}
		if err = s.place(t); err != nil || t.seq == 0 {
			return err
		}
		err = s.writeAnswer(f, t, o)
	}
	return err
}

// place finds the sequence number of a message anew; 0 when it has gone.
func (s *session) place(t *target) error {
	t.seq = 0
	_, err := s.run(fmt.Sprintf("UID FETCH %d (UID)", t.uid), func(r *response) bool {
		one := parseFetched(r)
		if one == nil || one.uid != t.uid {
			return false
		}
		t.seq, t.expunges = one.seq, one.expunges
		return len(one.values) == 1
	})
	return err
}

// tellFlags tells the client of flags.
func (s *session) tellFlags(seq uint32, flags string) {
	s.out.Lock()
	defer s.out.Unlock()
	_, _ = fmt.Fprintf(&s.cw, "* %d FETCH (FLAGS %s)\r\n", seq, flags) // cw keeps its error
}

// writeAnswer writes the response. With errUnsure or a *messageError nothing has
// been written.
func (s *session) writeAnswer(f *fetch, t *target, o *opened) error {
	if o != nil {
		if err := o.shown.check(f.items); err != nil {
			return err
		}
	}
	s.out.Lock()
	defer s.out.Unlock()
	if s.expunges != t.expunges {
		return errUnsure
	}
	_, _ = s.cw.WriteString("* ") // cw keeps its error
	s.cw.writeNumber(int64(t.seq))
	_, _ = s.cw.WriteString(" FETCH (")
	first := true
	blank := func() {
		if !first {
			_ = s.cw.WriteByte(' ')
		}
		first = false
	}
	for i := range t.values {
		// RFC 3501, Section 6.4.8: UID FETCH always tells the UID.
		if v := &t.values[i]; v.name == "UID" && f.uid && !f.asks("UID") || v.name == "MODSEQ" && !f.asks("MODSEQ") {
			blank()
			s.writeValue(v)
		}
	}
	for i := range f.items {
		one := &f.items[i]
		if !one.content() {
			for j := range t.values {
				if v := &t.values[j]; v.name == one.is {
					blank()
					s.writeValue(v)
				}
			}
			continue
		}
		blank()
		if err := s.writeItem(t, o, one); err != nil {
			return err // the client has half a response: there is no way on
		}
	}
	_, err := s.cw.WriteString(")\r\n")
	return err
}

// writeValue answers an item that is not content.
func (s *session) writeValue(v *value) {
	_, _ = s.cw.WriteString(v.name) // cw keeps its error
	_ = s.cw.WriteByte(' ')
	_, _ = s.cw.WriteString(v.text)
}

// writeItem answers an item of content.
func (s *session) writeItem(t *target, o *opened, one *item) error {
	switch {
	case o != nil:
		return o.shown.write(s.cw.buffer(), one)
	case one.name == "RFC822.SIZE":
		_, err := s.cw.WriteString("RFC822.SIZE ")
		s.cw.writeNumber(t.fact.size)
		return err
	}
	_, err := s.cw.Write(t.fact.view(one))
	return err
}

// markSeen sets \Seen where the items ask for it. The upstream tells the client of
// the new flags.
func (s *session) markSeen(f *fetch, shown []*target) error {
	if s.selected().readOnly || !slices.ContainsFunc(f.items, func(i item) bool { return i.seen() }) {
		return nil
	}
	unseen := slices.DeleteFunc(shown, func(t *target) bool {
		return slices.ContainsFunc(t.values, func(v value) bool { return v.name == "FLAGS" && strings.Contains(upper(v.text), `\SEEN`) })
	})
	verb := "STORE"
	if f.uid {
		verb = "UID STORE"
	}
	for some := range slices.Chunk(unseen, chunk) {
		if _, err := s.run(verb+" "+f.list(some)+` +FLAGS (\Seen)`, nil); err != nil {
			return err
		}
	}
	return nil
}
