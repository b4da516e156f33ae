package smtpproxy

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Limits of what an upstream may say, and how long it may take. The times are
// those of RFC 5321, Section 4.5.3.2.
const (
	maxReplyLine  = 4096 // octets; RFC 5321 has 512
	maxReplyLines = 200
	replyTimeout  = 5 * time.Minute
	dataTimeout   = 10 * time.Minute // after the final dot
	writeTimeout  = 3 * time.Minute  // for each block of a message
)

// A Reply is what an SMTP server says.
type Reply struct {
	Code  int
	Lines []string // at least one, without code and line end
}

// Error returns the reply in a line.
func (r *Reply) Error() string {
	return fmt.Sprintf("the mail server said: %d %s", r.Code, strings.Join(r.Lines, " / "))
}

// good reports whether a reply is of the class 2.
func (r *Reply) good() bool { return r.Code/100 == 2 }

// Errors of an upstream.
var (
	// ErrUpstreamReply says that an upstream does not speak SMTP.
	ErrUpstreamReply = errors.New("the mail server's answer is not one of SMTP")
	// ErrUpstreamLost says that the connection to the upstream has ended.
	ErrUpstreamLost = errors.New("the connection to the mail server was lost")
	// ErrUnknownOutcome says that the connection ended after the end of a message
	// and before the reply to it, so that nobody knows whether it was taken.
	ErrUnknownOutcome = errors.New("whether the mail server has taken the message is not known")
)

// errCommand is a mistake of this program.
var errCommand = errors.New("a line end in a command")

// An upstream is a connection to a mail server. It belongs to one goroutine.
type upstream struct {
	conn net.Conn
	br   *bufio.Reader // nil while nothing was read that nobody has asked for
	err  error         // sticky: the connection is of no use any more

	readDue, writeDue deadline

	extensions map[string]string // of EHLO, the names in upper case
}

// newUpstream takes over a connection. Unless it has been read, as on a
// connection after STARTTLS, the greeting is read.
func newUpstream(conn net.Conn, greeted bool) (*upstream, error) {
	u := &upstream{conn: conn}
	if greeted {
		return u, nil
	}
	r, err := u.read(replyTimeout)
	if err == nil && r.Code != 220 {
		err = r
	}
	return u, err
}

// hello says EHLO and notes what the upstream can do.
func (u *upstream) hello(name string) error {
	r, err := u.command("EHLO %s", name)
	if err != nil {
		return err
	}
	if !r.good() {
		return r
	}
	u.extensions = make(map[string]string)
	for _, line := range r.Lines[1:] {
		keyword, params, _ := strings.Cut(line, " ")
		u.extensions[strings.ToUpper(keyword)] = params
	}
	return nil
}

// has reports whether the upstream has an extension.
func (u *upstream) has(extension string) bool {
	_, ok := u.extensions[extension]
	return ok
}

// size returns the greatest size of a message, 0 for no limit that is known
// (RFC 1870).
func (u *upstream) size() int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(u.extensions["SIZE"]), 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// mechanisms returns those of AUTH, in upper case.
func (u *upstream) mechanisms() []string {
	return strings.Fields(strings.ToUpper(u.extensions["AUTH"]))
}

// command sends a line and reads the reply. An argument with a line end is a
// programming mistake that would let others speak for us: it is refused.
func (u *upstream) command(format string, args ...any) (*Reply, error) {
	line := fmt.Sprintf(format, args...)
	replies, err := u.commands([]string{line})
	if err != nil {
		return nil, err
	}
	return replies[0], nil
}

func (u *upstream) write(p []byte) error {
	if u.err != nil {
		return u.err
	}
	err := u.writeDue.extend(time.Now().Add(writeTimeout), u.conn.SetWriteDeadline)
	if err == nil {
		_, err = u.conn.Write(p)
	}
	return u.fail(err)
}

// fail makes an error of the connection sticky.
func (u *upstream) fail(err error) error {
	if err != nil && u.err == nil {
		u.err = errors.Join(ErrUpstreamLost, err)
	}
	return u.err
}

// read reads a reply (RFC 5321, Section 4.2).
func (u *upstream) read(timeout time.Duration) (*Reply, error) {
	if u.err != nil {
		return nil, u.err
	}
	if err := u.readDue.extend(time.Now().Add(timeout), u.conn.SetReadDeadline); err != nil {
		return nil, u.fail(err)
	}
	if u.br == nil {
		u.br = readers.Get().(*bufio.Reader)
		u.br.Reset(u.conn)
	}
	defer u.rest()
	r := &Reply{}
	for len(r.Lines) < maxReplyLines {
		raw, err := u.br.ReadSlice('\n')
		if err != nil {
			if errors.Is(err, bufio.ErrBufferFull) {
				err = ErrUpstreamReply
			}
			return nil, u.fail(err)
		}
		line := strings.TrimRight(string(raw), "\r\n")
		code, err := strconv.Atoi(line[:min(3, len(line))])
		if err != nil || len(line) < 3 || code < 200 || code > 599 || r.Code != 0 && code != r.Code || len(line) > 3 && line[3] != ' ' && line[3] != '-' {
			return nil, u.fail(ErrUpstreamReply)
		}
		r.Code = code
		text := ""
		if len(line) > 4 {
			text = line[4:]
		}
		r.Lines = append(r.Lines, text)
		if len(line) == 3 || line[3] == ' ' {
			if code == 421 {
				// RFC 5321, Section 3.8: the server closes.
				u.err = errors.Join(ErrUpstreamLost, r)
			}
			return r, nil
		}
	}
	return nil, u.fail(ErrUpstreamReply)
}

// readers are those of connections that nobody reads from: most of the time a
// client says nothing.
var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, maxReplyLine) }}

// rest gives the reader back, when it is empty.
func (u *upstream) rest() {
	if u.br != nil && u.br.Buffered() == 0 {
		u.br.Reset(nil)
		readers.Put(u.br)
		u.br = nil
	}
}

// maxInitial is how long a command with an initial response may be (RFC 4954,
// Section 4); a longer response goes on a line of its own.
const maxInitial = 512

// auth begins an exchange. response is nil when there is no initial response.
func (u *upstream) auth(mechanism string, response []byte) (*Reply, error) {
	if !slices.Contains(u.mechanisms(), mechanism) {
		return &Reply{504, []string{"5.5.4 the mail server does not have this mechanism"}}, nil
	}
	if response == nil {
		return u.command("AUTH %s", mechanism)
	}
	encoded := base64.StdEncoding.EncodeToString(response)
	if encoded == "" {
		encoded = "=" // RFC 4954, Section 4
	}
	if len("AUTH "+mechanism+" "+encoded)+2 <= maxInitial {
		return u.command("AUTH %s %s", mechanism, encoded)
	}
	r, err := u.command("AUTH %s", mechanism)
	if err != nil || r.Code != 334 {
		return r, err
	}
	return u.command("%s", encoded)
}

// respond goes on with an exchange.
func (u *upstream) respond(response []byte) (*Reply, error) {
	return u.command("%s", base64.StdEncoding.EncodeToString(response))
}

// challenge decodes what a reply of 334 says.
func (r *Reply) challenge() ([]byte, error) {
	return base64.StdEncoding.DecodeString(strings.TrimSpace(r.Lines[0]))
}

// commands sends lines and reads a reply to each. Where the upstream takes that,
// several go at once (RFC 2920), though not so many that both sides could wait
// for the other to read.
func (u *upstream) commands(lines []string) ([]*Reply, error) {
	at := 1
	if u.has("PIPELINING") {
		at = 50
	}
	replies := make([]*Reply, 0, len(lines))
	for group := range slices.Chunk(lines, at) {
		for _, line := range group {
			if strings.ContainsAny(line, "\r\n\x00") {
				return nil, fmt.Errorf("%w: %.100q", errCommand, line)
			}
		}
		if err := u.quiet(); err != nil {
			return nil, err
		}
		if err := u.write([]byte(strings.Join(group, "\r\n") + "\r\n")); err != nil {
			return nil, err
		}
		for range group {
			r, err := u.read(replyTimeout)
			if err != nil {
				return nil, err
			}
			replies = append(replies, r)
		}
	}
	return replies, nil
}

// quiet fails when a reply is there that nobody has asked for: the next one would
// be taken for the answer to something else.
func (u *upstream) quiet() error {
	if u.err == nil && u.br != nil && u.br.Buffered() > 0 {
		if r, err := u.read(time.Second); err != nil || r.Code != 421 { // RFC 5321, Section 3.8
			return u.fail(ErrUpstreamReply)
		}
	}
	return u.err
}

// message sends a message of a size that is known, whose line ends are CRLF, and
// returns the reply to its end. An error of src aborts the connection, so that the
// upstream cannot take half a message for a whole one. When the connection is
// lost after the end, the error wraps ErrUnknownOutcome.
func (u *upstream) message(src io.Reader, size int64) (*Reply, error) {
	if u.has("CHUNKING") {
		return u.chunk(src, size)
	}
	r, err := u.command("DATA")
	if err == nil && r.Code < 400 && r.Code != 354 {
		err = u.fail(ErrUpstreamReply) // a success before there was anything
	}
	if err == nil && r.Code == 354 {
		err = u.quiet()
	}
	if err != nil || r.Code != 354 {
		return r, err
	}
	b := getBuffer()
	w := &dotWriter{u: u, text: dotted{out: b.out}}
	if _, err = io.CopyBuffer(w, src, b.in); err == nil {
		err = w.end()
	}
	b.written(&w.text)
	b.usedIn = min(w.most, len(b.in)) // src may have written itself
	b.free()
	return u.sent(err)
}

// chunk sends a message in one chunk (RFC 3030, Section 2), whose size says where
// it ends.
func (u *upstream) chunk(src io.Reader, size int64) (*Reply, error) {
	if err := u.quiet(); err != nil {
		return nil, err
	}
	head := fmt.Sprintf("BDAT %d LAST\r\n", size)
	b := getBuffer()
	defer b.free()
	buf := b.out[:cap(b.out)]
	n := copy(buf, head)
	var err error
	for left := size; err == nil && (left > 0 || n > 0); {
		var m int
		m, err = io.ReadFull(src, buf[n:n+int(min(int64(len(buf)-n), left))])
		b.usedOut = max(b.usedOut, n+m)
		if left -= int64(m); err == nil {
			err = u.write(buf[:n+m])
		}
		n = 0
	}
	return u.sent(err)
}

// sent reads the reply to a message that was sent up to its end, or that failed
// with an error.
func (u *upstream) sent(err error) (*Reply, error) {
	if err != nil {
		if u.err != nil {
			// It may have said why, before it closed.
			if r := u.lastWord(); r != nil {
				return r, nil
			}
		}
		_ = u.conn.Close() // nothing more is said
		return nil, u.fail(err)
	}
	r, err := u.read(dataTimeout)
	if err != nil {
		return nil, errors.Join(ErrUnknownOutcome, err)
	}
	return r, nil
}

// lastWord returns the refusal of an upstream that closed while it was written to,
// or nil.
func (u *upstream) lastWord() *Reply {
	kept := u.err
	u.err = nil
	r, err := u.read(time.Second)
	u.err = kept
	if err != nil || r.Code < 400 {
		return nil
	}
	return r
}

// quit ends the conversation; nothing is waiting for an answer.
func (u *upstream) quit() {
	if u.err == nil {
		_ = u.conn.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = io.WriteString(u.conn, "QUIT\r\n")
	}
	_ = u.conn.Close()
}
