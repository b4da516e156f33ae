package smtpproxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

// Limits of a client. The time is that of RFC 5321, Section 4.5.3.2.5.
const (
	maxLine     = 12288           // octets of a line that is a command (RFC 4954, Section 4)
	blockTime   = 3 * time.Minute // for each block of a message
	messageTime = time.Hour       // for all of it
	farewell    = 2 * time.Second // for a last word
	surplus     = 1 << 20         // octets beyond twice the largest message that are still read
)

// errSurplus says that a client goes on to send a message that is far too large.
var errSurplus = errors.New("the client does not stop sending a message that is too large")

// errChunk says that a chunk follows that nobody knows the size of.
var errChunk = errors.New("a BDAT command that cannot be read: what follows it is no command")

// What a front reads.
const (
	readLines = iota // commands, and responses of AUTH
	readText         // after DATA
	readChunk        // after BDAT
)

// A front is the connection to a client as go-smtp sees it. It does what go-smtp
// leaves open:
//
//   - Commands come one line at a time, of at most 12,288 octets; those of
//     messages have no limit.
//   - The text of DATA ends at CRLF.CRLF and nowhere else; bare CR and LF
//     in it are line ends that end nothing (RFC 5321, Sections 2.3.8 and 4.1.1.4).
//     go-smtp gets it in a form that can be read in one way only.
//   - A connection that ends in the middle of something is never the end of a
//     message: go-smtp takes the end of the connection for the end of a chunk.
//   - Time: a command has to come whole within the idle time, a message in blocks
//     of three minutes and in an hour.
//   - Replies go out whole; each line has the enhanced status code (RFC 2034,
//     Section 4); the one to EHLO has what the upstream has; after 421 the
//     connection ends (RFC 5321, Section 3.8).
//   - go-smtp goes while the client says nothing (see visit).
//
// One goroutine reads and writes; end and Close may be called by others.
type front struct {
	net.Conn
	idle    time.Duration
	max     int64           // octets of a message, for surplus
	swallow bool            // the greeting, which was said before
	again   bool            // swallow the reply to EHLO, which we have said
	edit    func() []string // the keywords that go-smtp may offer, and others to add
	rest    time.Duration   // after which go-smtp goes
	mayRest func() bool     // nil: it does not

	what    int
	pending []byte // was read and not given to go-smtp yet
	in      []byte // buffer for text, nil between messages
	text    textFilter
	ready   []byte    // text that was filtered and not given to go-smtp yet
	ended   bool      // it is the last
	left    int64     // octets of the chunk
	got     int64     // octets of the message
	due     time.Time // until when the line or the message has to be there
	line    int       // octets of the line
	start   []byte    // of the line
	verb    string    // of the last command
	code    int       // of the last reply
	err     error     // sticky, of reading
	resting bool      // go-smtp goes, and the client stays
	first   [1]byte   // that the client says after that
	readDue deadline

	mu       sync.Mutex // for what follows
	reply    []byte     // lines of a reply that is not whole
	writeDue deadline
	closed   chan struct{}
	once     sync.Once
}

func newFront(conn net.Conn, idle time.Duration, maxMessage int64, swallow bool, edit func() []string) *front {
	return &front{Conn: conn, idle: idle, max: maxMessage, swallow: swallow, edit: edit, closed: make(chan struct{})}
}

// SetDeadline does nothing: a front has its own.
func (f *front) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing.
func (f *front) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing.
func (f *front) SetWriteDeadline(time.Time) error { return nil }

// Close implements net.Conn.
func (f *front) Close() error {
	var err error
	f.once.Do(func() {
		err = f.Conn.Close()
		close(f.closed)
	})
	return err
}

// Read implements net.Conn.
func (f *front) Read(p []byte) (n int, err error) {
	select {
	case <-f.closed:
		// go-smtp goes on with what it can read, and would begin another message in a
		// session that is none any more.
		return 0, net.ErrClosed
	default:
	}
	if f.err == nil {
		switch f.what {
		case readText:
			n, f.err = f.readText(p)
		case readChunk:
			n, f.err = f.readChunk(p)
		default:
			n, f.err = f.readLine(p)
		}
	}
	if f.err == errRest {
		f.err, f.resting = nil, true
		return 0, errRest
	}
	if n == 0 && errors.Is(f.err, io.EOF) {
		// An end that is none would be taken for that of a chunk.
		return 0, io.ErrUnexpectedEOF
	}
	if n > 0 {
		return n, nil
	}
	return 0, f.err
}

// readLine gives out one line, or a part of it.
func (f *front) readLine(p []byte) (int, error) {
	if len(f.pending) == 0 {
		due := f.due
		if f.line == 0 {
			now := time.Now()
			f.due = now.Add(f.idle)
			if due = f.due; f.code != 334 && f.rest < f.idle && f.mayRest != nil && f.mayRest() {
				due = now.Add(f.rest)
			}
		}
		n, err := f.fill(p, due)
		if n == 0 && due != f.due && errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, errRest
		}
		if n == 0 {
			return 0, err
		}
		end := bytes.IndexByte(p[:n], '\n') + 1
		if end == 0 {
			return f.took(p[:n], false)
		}
		if end < n {
			f.pending = bytes.Clone(p[end:n])
		}
		return f.took(p[:end], true)
	}
	end := bytes.IndexByte(f.pending, '\n') + 1
	whole := end > 0
	if !whole {
		end = len(f.pending)
	}
	n := copy(p, f.pending[:end])
	f.drop(n)
	return f.took(p[:n], whole && n == end)
}

// drop forgets the first octets of what is pending.
func (f *front) drop(n int) {
	if f.pending = f.pending[n:]; len(f.pending) == 0 {
		f.pending = nil
	}
}

// fill reads from the connection until a deadline.
func (f *front) fill(p []byte, due time.Time) (int, error) {
	if err := f.readDue.extend(due, f.Conn.SetReadDeadline); err != nil {
		return 0, err
	}
	return f.Conn.Read(p)
}

// took looks at a part of a line, which may be its last.
func (f *front) took(p []byte, last bool) (int, error) {
	f.line += len(p)
	if f.line > maxLine {
		return 0, smtp.ErrTooLongLine
	}
	const enough = 64
	f.start = append(f.start, p[:min(len(p), max(0, enough-len(f.start)))]...)
	if !last {
		return len(p), nil
	}
	err := f.command(string(bytes.TrimRight(f.start, "\r\n")))
	f.line, f.start = 0, f.start[:0]
	return len(p), err
}

// command notes which command a line is. What follows BDAT is a chunk, in the
// cases in which it is one for go-smtp.
func (f *front) command(line string) error {
	if f.code == 334 { // a response of AUTH
		return nil
	}
	verb, args, _ := strings.Cut(line, " ")
	f.verb = strings.ToUpper(verb)
	if f.verb != "BDAT" {
		return nil
	}
	words := strings.Fields(args)
	if len(words) == 0 || len(words) > 2 || len(words) == 2 && !strings.EqualFold(words[1], "LAST") {
		return errChunk
	}
	size, err := strconv.ParseUint(words[0], 10, 32)
	if err != nil {
		return errChunk
	}
	if f.due = time.Now().Add(messageTime); size > 0 {
		f.what, f.left = readChunk, int64(size)
	}
	return nil
}

// soon is when the next block of a message has to be there.
func (f *front) soon() time.Time {
	if at := time.Now().Add(min(blockTime, f.idle)); at.Before(f.due) {
		return at
	}
	return f.due
}

func (f *front) readChunk(p []byte) (n int, err error) {
	p = p[:min(int64(len(p)), f.left)]
	if len(f.pending) > 0 {
		n = copy(p, f.pending)
		f.drop(n)
	} else if n, err = f.fill(p, f.soon()); n > 0 {
		err = nil
	}
	if f.left -= int64(n); f.left == 0 {
		f.what = readLines
	}
	return n, err
}

// textBuffer is how much of a message is read at once, in octets.
const textBuffer = 32 << 10

func (f *front) readText(p []byte) (int, error) {
	for len(f.ready) == 0 {
		raw := f.pending
		f.pending = nil
		if len(raw) == 0 {
			if f.in == nil {
				f.in = make([]byte, textBuffer)
			}
			n, err := f.fill(f.in, f.soon())
			if n == 0 {
				return 0, err
			}
			raw = f.in[:n]
		}
		if f.got += int64(len(raw)); f.got > 2*f.max+surplus {
			return 0, errSurplus
		}
		var rest []byte
		if f.ready, rest, f.ended = f.text.filter(raw); len(rest) > 0 {
			f.pending = bytes.Clone(rest)
		}
	}
	n := copy(p, f.ready)
	if f.ready = f.ready[n:]; f.ended && len(f.ready) == 0 {
		f.what, f.ended, f.in, f.ready, f.text = readLines, false, nil, nil, textFilter{}
	}
	return n, nil
}

// Write implements net.Conn. What is written is replies.
func (f *front) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reply = append(f.reply, p...)
	lines := bytes.SplitAfter(f.reply, []byte("\n"))
	if last := lines[len(lines)-1]; len(last) > 0 {
		return len(p), nil
	}
	lines = lines[:len(lines)-1]
	if last := lines[len(lines)-1]; len(last) > 3 && last[3] == '-' {
		return len(p), nil
	}
	f.reply = nil
	for _, line := range lines {
		printable(line)
	}
	f.code, _ = strconv.Atoi(string(lines[0][:min(3, len(lines[0]))])) // 0 is as good as any that is unknown
	switch {
	case f.swallow && f.code == 220:
		f.swallow = false
		return len(p), nil
	case f.again && f.verb == "EHLO" && f.code == 250:
		f.again = false
		return len(p), nil
	}
	if f.code == 354 {
		f.what, f.got, f.due = readText, 0, time.Now().Add(messageTime)
	}
	if f.verb == "EHLO" && f.code == 250 {
		lines = f.hello(lines)
	} else {
		enhance(lines)
	}
	if err := f.flush(bytes.Join(lines, nil)); err != nil {
		return 0, err
	}
	if f.code == 421 {
		_ = f.Close() // it has been said why
	}
	return len(p), nil
}

func (f *front) flush(p []byte) error {
	if err := f.writeDue.extend(time.Now().Add(f.idle), f.Conn.SetWriteDeadline); err != nil {
		return err
	}
	_, err := f.Conn.Write(p)
	return err
}

// hello takes out of the reply to EHLO what the upstream does not have, and adds
// what go-smtp does not say.
func (f *front) hello(lines [][]byte) [][]byte {
	out := lines[:1:1]
	keywords := f.edit()
	for _, line := range lines[1:] {
		text := strings.TrimRight(string(line[4:]), "\r\n")
		keyword, _, _ := strings.Cut(text, " ")
		if i := slices.Index(keywords, keyword); i >= 0 {
			keywords = slices.Delete(keywords, i, i+1)
			out = append(out, []byte("250-"+text+"\r\n"))
		}
	}
	for _, keyword := range keywords {
		if added, ok := strings.CutPrefix(keyword, "+"); ok {
			out = append(out, []byte("250-"+added+"\r\n"))
		}
	}
	last := out[len(out)-1]
	last[3] = ' '
	return out
}

// end says that the server stops, and closes. It is for a moment when nothing is
// under way; a reply that is being written is written before.
func (f *front) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	_ = f.Conn.SetWriteDeadline(time.Now().Add(farewell))
	_, _ = io.WriteString(f.Conn, "421 4.3.2 The server stops, try again later\r\n") // nobody has to be there
	_ = f.Close()
}
