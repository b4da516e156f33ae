package smime

import "errors"

// ErrSurvey is the error of Close, of a writer with a [Survey], when the message
// turned out to be other than the Survey had it. What was written is to be thrown
// away. The Survey knows the message now: when it is written to another writer
// with the same Survey, that one succeeds.
var ErrSurvey = errors.New("smime: the message has to be written again, with what is known of it now")

// A Survey is for who has a message at hand and can write it twice, as one in a
// file. Whether a part has to be encoded before it is signed is known at its end
// alone, and its header, which tells, comes first: so without a Survey the part is
// held. With one nothing is held. The zero value takes it that all parts can stay
// as they are, and have no characters but US-ASCII. Where that is wrong, Close
// returns [ErrSurvey].
//
// A Survey is for one message, and for one writer at a time.
type Survey struct {
	known []finding // of the time before
	found []finding // of this time
	wrong bool
}

// A finding is what has to be done to a part.
type finding struct {
	encode  bool
	charset string // "" where it is not asked for
}

// begin starts a time.
func (s *Survey) begin() {
	if s != nil {
		s.found, s.wrong = nil, false
	}
}

// expect returns the number of the next part, and what is taken to be done to it.
func (s *Survey) expect(untyped bool) (int, finding) {
	i := len(s.found)
	f := finding{}
	if untyped {
		f.charset = usASCII
	}
	s.found = append(s.found, f)
	if i < len(s.known) && (s.known[i].charset != "") == untyped {
		f = s.known[i]
	}
	return i, f
}

// learn takes what was found out about part i, which was taken to be other than
// that when expected is not the same.
func (s *Survey) learn(i int, expected, found finding) {
	s.found[i] = found
	s.wrong = s.wrong || expected != found
}

// verdict ends a time.
func (s *Survey) verdict() error {
	if !s.wrong {
		return nil
	}
	s.known = s.found
	return ErrSurvey
}
