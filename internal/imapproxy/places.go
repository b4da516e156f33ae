package imapproxy

import (
	"slices"
	"strings"
	"time"
)

// maxPlaces bounds the messages of a mailbox whose places are known.
const maxPlaces = 1 << 20

// freshTime is how long an upstream is not asked about messages of which all is
// known: it would tell of what is new, and it may end connections that are silent.
const freshTime = time.Minute

// places are the UIDs of the messages of the selected mailbox, by their sequence
// numbers less one, as far as the upstream has told them; 0 where it has not. What
// it tells comes in its order: RFC 3501, Section 7.4.1 wants each side to have the
// same numbers all the time.
type places struct {
	exists uint32 // how many messages there are, as it has said; 0: nobody knows
	uids   []uint32
	known  int // of uids
}

func (p *places) clear() { *p = places{} }

// rest forgets what can be asked for again.
func (p *places) rest() { p.uids, p.known = nil, 0 }

// setExists notes EXISTS. It never becomes less but by EXPUNGE.
func (p *places) setExists(n uint32) {
	if n < p.exists {
		p.rest()
	}
	p.exists = n
}

// expunge notes EXPUNGE.
func (p *places) expunge(seq uint32) {
	if seq == 0 || seq > p.exists {
		p.clear()
		return
	}
	p.exists--
	if int(seq) <= len(p.uids) {
		if p.uids[seq-1] != 0 {
			p.known--
		}
		p.uids = slices.Delete(p.uids, int(seq)-1, int(seq))
	}
}

// learn notes the UID of a message.
func (p *places) learn(seq, uid uint32) {
	if seq == 0 || uid == 0 || seq > p.exists || seq > maxPlaces {
		return
	}
	for int(seq) > len(p.uids) {
		p.uids = append(p.uids, 0)
	}
	switch p.uids[seq-1] {
	case uid:
		return
	case 0:
	default:
		// The upstream and we do not agree: nothing that was known is believed.
		clear(p.uids)
		p.known = 0
	}
	p.uids[seq-1] = uid
	p.known++
}

// find returns the sequence numbers that a set names. It returns false when the
// upstream has to be asked.
func (p *places) find(set string, byUID bool) ([]uint32, bool) {
	if p.exists == 0 || byUID && p.known != int(p.exists) || byUID && !slices.IsSorted(p.uids) {
		return nil, false
	}
	last := p.exists
	if byUID {
		last = p.uids[p.exists-1]
	}
	asked := make([]bool, p.exists)
	n := 0
	for part := range strings.SplitSeq(set, ",") {
		low, high, ok := limits(part, last)
		if !ok {
			return nil, false
		}
		if byUID {
			from, _ := slices.BinarySearch(p.uids, low)
			to, there := slices.BinarySearch(p.uids, high)
			if there {
				to++
			}
			low, high = uint32(from+1), uint32(to)
		} else if int64(high) > int64(len(p.uids)) {
			return nil, false
		}
		for i := low; i <= high; i++ {
			if p.uids[i-1] == 0 {
				return nil, false
			}
			if !asked[i-1] {
				asked[i-1] = true
				n++
			}
		}
	}
	out := make([]uint32, 0, n)
	for i, is := range asked {
		if is {
			out = append(out, uint32(i+1))
		}
	}
	return out, true
}

// knownSet returns the messages that f names by their places, without an asterisk:
// of those that come meanwhile nothing is known. It returns false where not all UIDs
// are known.
func (s *session) knownSet(f *fetch) (string, bool) {
	if f.uid || f.modifiers != "" {
		return "", false
	}
	s.out.Lock()
	defer s.out.Unlock()
	_, ok := s.places.find(f.set, false)
	return s.places.fixed(f), ok
}

// fixed is the set of f without an asterisk.
func (p *places) fixed(f *fetch) string {
	last := p.exists
	if f.uid && p.known > 0 {
		last = p.uids[len(p.uids)-1]
	}
	return strings.ReplaceAll(f.set, "*", decimal(last))
}

// plainSet returns the messages that f is about, without an asterisk, when all of
// them are known to have no S/MIME.
func (s *session) plainSet(f *fetch) (string, bool) {
	if f.modifiers != "" {
		return "", false
	}
	box := s.mailboxKey()
	_, held := s.kept()
	s.out.Lock()
	defer s.out.Unlock()
	numbers, ok := s.places.find(f.set, f.uid)
	if !ok || len(numbers) == 0 {
		return "", false
	}
	uids := make([]uint32, len(numbers))
	for i, seq := range numbers {
		uids[i] = s.places.uids[seq-1]
	}
	return s.places.fixed(f), held.plain(box, uids)
}

// learnPlace notes the place of a message.
func (s *session) learnPlace(f *fetched) {
	s.out.Lock()
	defer s.out.Unlock()
	s.places.learn(f.seq, f.uid)
}

// completePlace adds the UID that a response has not told, where it is known.
func (s *session) completePlace(f *fetched) {
	s.out.Lock()
	defer s.out.Unlock()
	if f.uid == 0 && f.seq > 0 && int64(f.seq) <= int64(len(s.places.uids)) {
		if f.uid = s.places.uids[f.seq-1]; f.uid != 0 {
			f.values = append(f.values, value{name: "UID", text: decimal(f.uid)})
		}
	}
}

// limits reads a part of a set: a number, or a range in any order. last is what the
// asterisk means.
func limits(part string, last uint32) (low, high uint32, ok bool) {
	first, second, isRange := strings.Cut(part, ":")
	if !isRange {
		second = first
	}
	number := func(text string) (uint32, bool) {
		if text == "*" {
			return last, true
		}
		n, fine := number32(text)
		return n, fine && n > 0
	}
	low, okLow := number(first)
	high, okHigh := number(second)
	return min(low, high), max(low, high), okLow && okHigh
}

// knownTargets returns the messages that f is about, without asking the upstream;
// nil when it has to be asked.
func (s *session) knownTargets(f *fetch) []*target {
	if f.modifiers != "" || len(f.others()) > 1 || time.Since(s.asked) > freshTime {
		return nil
	}
	s.out.Lock()
	defer s.out.Unlock()
	numbers, ok := s.places.find(f.set, f.uid)
	if !ok {
		return nil
	}
	all, out := make([]target, len(numbers)), make([]*target, len(numbers))
	for i, seq := range numbers {
		uid := s.places.uids[seq-1]
		all[i] = target{seq: seq, uid: uid, expunges: s.expunges}
		if f.uid || f.asks("UID") {
			all[i].values = []value{{name: "UID", text: decimal(uid)}}
		}
		out[i] = &all[i]
	}
	return out
}
