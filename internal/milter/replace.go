package milter

import (
	"bufio"
	"errors"
	"io"
	"strings"

	gomilter "github.com/emersion/go-milter"

	"github.com/postseal/postseal/internal/mimeraw"
	"github.com/postseal/postseal/internal/outgoing"
)

// replace has the mail server put a message in the place of the one that it has,
// whose header is old; and the body as well.
func replace(m *gomilter.Modifier, old []field, content *outgoing.Content, body bool) error {
	br := bufio.NewReaderSize(content.NewReader(), chunk)
	header, err := mimeraw.ReadHeader(br, 2*maxHeader)
	if err != nil {
		return err
	}
	if err = replaceHeader(m, old, header); err != nil || !body {
		return err
	}
	return replaceBody(m, br)
}

// replaceHeader changes the fields that differ. Fields of a name are counted from
// 1; those that are too many go from the last, since the numbers of those behind
// one that is gone are not the same for every mail server.
func replaceHeader(m *gomilter.Modifier, old []field, header *mimeraw.Header) error {
	was, order := byName(old)
	fields := make([]field, 0, len(header.Fields))
	for _, f := range header.Fields {
		_, value, ok := strings.Cut(string(f.Raw), ":")
		if !ok {
			continue // such as a first line without a name, which was never a field
		}
		value = strings.TrimPrefix(strings.TrimRight(value, "\r\n"), " ")
		fields = append(fields, field{f.Name(), strings.ReplaceAll(value, "\r\n", "\n")})
	}
	is, more := byName(fields)
	for _, name := range append(order, more...) {
		before, after := was[name], is[name]
		delete(is, name) // a name that is in both lists is done once
		delete(was, name)
		for i := range min(len(before), len(after)) {
			if before[i].value != after[i].value {
				if err := m.ChangeHeader(i+1, before[i].name, after[i].value); err != nil {
					return err
				}
			}
		}
		for i := len(before); i > len(after); i-- {
			if err := m.ChangeHeader(i, before[i-1].name, ""); err != nil {
				return err
			}
		}
		for _, f := range after[min(len(before), len(after)):] {
			if err := m.AddHeader(f.name, f.value); err != nil {
				return err
			}
		}
	}
	return nil
}

// byName sorts fields by their names in lower case, which are also returned in
// order.
func byName(list []field) (map[string][]field, []string) {
	out := make(map[string][]field)
	var order []string
	for _, f := range list {
		name := strings.ToLower(f.name)
		if out[name] == nil {
			order = append(order, name)
		}
		out[name] = append(out[name], f)
	}
	return out, order
}

// chunk is how much of a body goes in one packet, in octets; 65,535 is the most.
const chunk = 60 << 10

// replaceBody sends a body. go-milter makes LF of CRLF in each piece, so pieces
// end with lines.
func replaceBody(m *gomilter.Modifier, br *bufio.Reader) error {
	buf := make([]byte, 0, 2*chunk)
	sent := false
	for {
		line, err := br.ReadSlice('\n')
		if len(buf)+len(line) > chunk && len(buf) > 0 {
			if sendErr := m.ReplaceBody(buf); sendErr != nil {
				return sendErr
			}
			buf, sent = buf[:0], true
		}
		buf = append(buf, line...)
		switch {
		case errors.Is(err, io.EOF):
			if len(buf) > 0 || !sent {
				return m.ReplaceBody(buf)
			}
			return nil
		case err != nil:
			return err // a line that does not fit is not made here
		}
	}
}
