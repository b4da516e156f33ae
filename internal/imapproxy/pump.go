package imapproxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/postseal/postseal/internal/spool"
)

// A response is one that is held: its text, and its literals.
type response struct {
	segments []segment
	expunges int // when it came
}

// A segment is text, and the literal that follows it, or nil.
type segment struct {
	text    []byte
	literal *spool.Buffer
}

// free frees the literals that nobody has taken.
func (r *response) free() {
	for _, seg := range r.segments {
		if seg.literal != nil {
			_ = seg.literal.Close()
		}
	}
}

// pump passes on what the upstream says, until it leaves.
func (s *session) pump() {
	err := s.pumpAll()
	s.pending.Lock()
	s.pumpErr = err
	s.pending.Unlock()
	close(s.done)
	s.hangUp()
}

func (s *session) pumpAll() error {
	for {
		var err error
		if s.ur.Buffered() == 0 && !s.waiting.Load() {
			// Nothing is asked of the upstream, and it may be silent for long.
			if err = await(&s.ur, patient{s, s.upstream}); err != nil {
				return err
			}
		}
		line, err := readLine(s.ur, maxResponseLine)
		if err != nil {
			return err
		}
		switch word, rest := cutWord(line); {
		case word == "*":
			err = s.untagged(line, rest)
		case word == "+":
			err = s.continuation(line)
		case word == "":
			err = ErrSyntax
		default:
			err = s.completion(word, line, rest)
		}
		if err != nil {
			return err
		}
	}
}

// toClient writes to the client, and flushes when the upstream has nothing more
// to say for now.
func (s *session) toClient(f func() error) error {
	s.out.Lock()
	defer s.out.Unlock()
	if err := f(); err != nil {
		return err
	}
	if s.ur.Buffered() == 0 {
		return s.cw.Flush()
	}
	return nil
}

func (s *session) working() *command {
	s.pending.Lock()
	defer s.pending.Unlock()
	return s.current
}

// untagged handles a response that is not the end of a command.
func (s *session) untagged(line, rest []byte) error {
	first, more := cutBytes(rest)
	c := s.working()
	taken := c != nil && c.take != nil
	if second, _ := cutBytes(more); taken && c.takes == "" && bytes.EqualFold(second, fetchWord) && len(first) > 0 && first[0] >= '0' && first[0] <= '9' {
		return s.collect(c, line)
	}
	name := upper(string(first))
	if statusWords[name] {
		s.note(more)
		s.noteCapabilities(line)
		return s.toClient(func() error {
			_, err := s.cw.Write(s.view.filterLine(line))
			return err
		})
	}
	if name == "CAPABILITY" {
		if s.noteCapabilities(line); taken && c.takes == name {
			return nil
		}
		return s.toClient(func() error {
			_, err := s.cw.Write(s.view.filterLine(line))
			return err
		})
	}
	second, _ := cutWord(more)
	second = upper(second)
	if taken && name == c.takes {
		return s.collect(c, line)
	}
	return s.toClient(func() error {
		// RFC 7162, Section 3.2.10.1: VANISHED (EARLIER) changes no numbers.
		if second == "EXPUNGE" || name == "VANISHED" && second != "(EARLIER)" {
			s.expunges++
		}
		s.notePlaces(name, second, string(first))
		return s.relay(line)
	})
}

// notePlaces notes what a response says of sequence numbers.
func (s *session) notePlaces(name, second, first string) {
	switch {
	case name == "VANISHED":
		if second != "(EARLIER)" {
			s.places.clear() // until the next EXISTS
		}
	case second == "EXISTS", second == "EXPUNGE":
		n, ok := number32(first)
		switch {
		case !ok:
			s.places.clear()
		case second == "EXISTS":
			s.places.setExists(n)
		default:
			s.places.expunge(n)
		}
	}
}

var fetchWord = []byte("FETCH")

// note takes from a status response what has to be known of a mailbox.
func (s *session) note(text []byte) {
	if bytes.HasPrefix(text, []byte("[UIDNOTSTICKY]")) {
		s.pending.Lock()
		s.mailbox.fleeting = true
		s.pending.Unlock()
		return
	}
	code, ok := bytes.CutPrefix(text, []byte("[UIDVALIDITY "))
	if !ok {
		return
	}
	digits, _, _ := bytes.Cut(code, []byte("]"))
	n, err := strconv.ParseUint(string(digits), 10, 32)
	if err != nil {
		return
	}
	s.pending.Lock()
	s.mailbox.validity = uint32(n)
	s.pending.Unlock()
}

// relay passes a response on with its literals.
func (s *session) relay(line []byte) error {
	for {
		if _, err := s.cw.Write(line); err != nil {
			return err
		}
		l, ok := literalAt(line)
		if !ok {
			return nil
		}
		if _, err := io.CopyN(&s.cw, s.ur, l.size); err != nil {
			return err
		}
		var err error
		if line, err = readLine(s.ur, maxResponseLine); err != nil {
			return err
		}
	}
}

// mostHeld is how big a message may be that is opened, in octets. Nothing bigger is
// asked for.
func (s *session) mostHeld() int64 {
	if s.options != nil && s.options.Read.MaxContent > 0 {
		return s.options.Read.MaxContent
	}
	return math.MaxInt64
}

// collect reads a response to FETCH as a whole and gives it to the command that
// asked for it, or else to the client. line is used before s.ur is read again.
func (s *session) collect(c *command, line []byte) error {
	r := &response{}
	total := 0
	for {
		l, ok := literalAt(line)
		seg := segment{text: line}
		if total += len(line); total > maxResponseLine {
			r.free()
			return ErrTooLong
		}
		if ok {
			line = bytes.Clone(line)
			seg.text = line
			seg.literal = spool.New(spool.Options{Memory: 64 << 10, Dir: s.p.SpoolDir})
			if most := s.mostHeld(); l.size > most {
				r.free()
				return fmt.Errorf("%w: a message of %d octets", ErrTooLong, l.size)
			}
			if _, err := io.CopyN(seg.literal, s.ur, l.size); err != nil {
				r.segments = append(r.segments, seg)
				r.free()
				return err
			}
		}
		r.segments = append(r.segments, seg)
		if !ok {
			break
		}
		next, err := readLine(s.ur, maxResponseLine)
		if err != nil {
			r.free()
			return err
		}
		line = next
	}
	s.out.Lock()
	r.expunges = s.expunges
	s.out.Unlock()
	if c.take(r) {
		return nil
	}
	defer r.free()
	return s.toClient(func() error {
		for _, seg := range r.segments {
			_, _ = s.cw.Write(seg.text) // cw keeps its error
			if seg.literal == nil {
				continue
			}
			if _, err := io.Copy(&s.cw, seg.literal.NewReader()); err != nil {
				return err
			}
		}
		return nil
	})
}

// continuation passes on that the upstream waits for more.
func (s *session) continuation(line []byte) error {
	c := s.working()
	if c == nil {
		return fmt.Errorf("%w: a continuation that nobody waits for", ErrSyntax)
	}
	if !c.own && c.quiet.Add(-1) < 0 {
		err := s.toClient(func() error {
			_, err := s.cw.Write(line)
			return err
		})
		if err != nil {
			return err
		}
		s.flush()
	}
	if c.idles {
		s.waiting.Store(false)
	}
	select {
	case c.more <- struct{}{}:
		return nil
	default:
		return fmt.Errorf("%w: a continuation that nobody waits for", ErrSyntax)
	}
}

func (s *session) flush() {
	s.out.Lock()
	defer s.out.Unlock()
	_ = s.cw.Flush() // it keeps its error
}

// completion handles the end of a command.
func (s *session) completion(tag string, line, rest []byte) error {
	s.pending.Lock()
	c := s.current
	if c == nil || c.tag != tag {
		s.pending.Unlock()
		return fmt.Errorf("%w: the end of a command that was not given", ErrSyntax)
	}
	s.current = nil
	s.pending.Unlock()
	s.waiting.Store(false)
	text := strings.Clone(string(rest))
	s.noteCapabilities(line)
	if !c.own && !c.told {
		s.noteCompletion(text)
		err := s.toClient(func() error {
			_, err := s.cw.Write(s.view.filterLine(line))
			return err
		})
		if err != nil {
			return err
		}
	}
	c.finished <- text
	return nil
}

func (s *session) noteCompletion(text string) {
	if strings.Contains(upper(text), "[READ-ONLY]") {
		s.pending.Lock()
		s.mailbox.readOnly = true
		s.pending.Unlock()
	}
}

// ended is the error of a command when the upstream is gone.
func (s *session) ended() error {
	s.pending.Lock()
	defer s.pending.Unlock()
	if s.pumpErr != nil && s.pumpErr != io.EOF {
		return errors.Join(errLeft, s.pumpErr)
	}
	return errLeft
}
