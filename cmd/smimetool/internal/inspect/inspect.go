// Package inspect tells how S/MIME messages and CMS files are built, without
// keys and without judging them: it says what is there, not what is true.
//
// # Promises
//
//   - Input of any size is read in one pass and constant memory: content is
//     counted, not kept.
//   - The number of nodes, the nesting and the size of every element that is
//     held in memory are bounded. No input makes the package panic.
//   - Text from the input has no control characters in the result.
package inspect

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// A Node is a part of a message.
type Node struct {
	Kind     string // what it is, such as "signed-data" or "certificate"
	Name     string // which one it is, for people; may be empty
	Fields   []Field
	Children []*Node
}

// A Field is something to know about a Node. The value is a string, []string,
// int64, bool, or nil.
type Field struct {
	Name  string // in lower case, with underscores
	Value any
}

func (n *Node) set(name string, value any) {
	switch v := value.(type) {
	case string:
		if v == "" {
			return
		}
		value = printable(v)
	case []string:
		for i := range v {
			v[i] = printable(v[i])
		}
	}
	n.Fields = append(n.Fields, Field{name, value})
}

// MarshalJSON returns an object with type, name, the fields in their order, and
// children.
func (n *Node) MarshalJSON() ([]byte, error) {
	fields := []Field{{"type", n.Kind}}
	if n.Name != "" {
		fields = append(fields, Field{"name", n.Name})
	}
	fields = append(fields, n.Fields...)
	if len(n.Children) > 0 {
		fields = append(fields, Field{"children", n.Children})
	}
	var b bytes.Buffer
	for i, f := range fields {
		sep := byte(',')
		if i == 0 {
			sep = '{'
		}
		b.WriteByte(sep)
		key, err := json.Marshal(f.Name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(f.Value)
		if err != nil {
			return nil, err
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// ErrTooMuch says that a message has more parts, or is nested deeper, than is
// looked at.
var ErrTooMuch = errors.New("there are too many parts, or they are nested too deeply")

// What is looked at of one message.
const (
	maxNodes   = 20000
	maxDepth   = 40       // of entities and CMS structures in one another
	maxElement = 16 << 20 // octets of an element that is held in memory
)

type walker struct {
	nodes int
	depth int
}

func (w *walker) node(parent *Node, kind, name string) (*Node, error) {
	if w.nodes++; w.nodes > maxNodes {
		return nil, ErrTooMuch
	}
	n := &Node{Kind: kind, Name: printable(name)}
	if parent != nil {
		parent.Children = append(parent.Children, n)
	}
	return n, nil
}

// enter goes a level deeper. The function that it returns goes back.
func (w *walker) enter() (leave func(), err error) {
	if w.depth++; w.depth > maxDepth {
		return func() {}, ErrTooMuch
	}
	return func() { w.depth-- }, nil
}

// Message reads a mail message, or another entity with a header. What could be
// read before an error is in the Node.
func Message(src io.Reader) (*Node, error) {
	root := &Node{Kind: "message"}
	err := (&walker{}).entity(root, newBuffered(src))
	note(root, err)
	return root, err
}

// CMS reads a ContentInfo in DER or BER. What could be read before an error is
// in the Node.
func CMS(src io.Reader) (*Node, error) {
	root := &Node{Kind: "file"}
	err := (&walker{}).contentInfo(root, newBuffered(src))
	note(root, err)
	return root, err
}

// note marks the last thing that was read before an error.
func note(n *Node, err error) {
	if err == nil {
		return
	}
	for len(n.Children) > 0 {
		n = n.Children[len(n.Children)-1]
	}
	n.set("error", err.Error())
}

const bufferSize = 32 << 10

func newBuffered(src io.Reader) *bufio.Reader {
	if br, ok := src.(*bufio.Reader); ok {
		return br
	}
	return bufio.NewReaderSize(src, bufferSize)
}

// A counter counts what is read.
type counter struct {
	src io.Reader
	n   int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.src.Read(p)
	c.n += int64(n)
	return n, err
}

// drain reads the rest of a stream.
func drain(src io.Reader) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{src}, make([]byte, bufferSize))
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case !unicode.IsPrint(r):
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// WriteTree writes n as a tree for people.
func (n *Node) WriteTree(w io.Writer) error {
	if err := writeLine(w, "", n.title()); err != nil {
		return err
	}
	return n.writeBelow(w, "")
}

func (n *Node) title() string {
	if n.Name == "" {
		return n.Kind
	}
	return n.Kind + ": " + n.Name
}

func (n *Node) writeBelow(w io.Writer, indent string) error {
	rest := len(n.Fields) + len(n.Children)
	branch := func() (string, string) {
		if rest--; rest == 0 {
			return indent + "└─ ", indent + "   "
		}
		return indent + "├─ ", indent + "│  "
	}
	for _, f := range n.Fields {
		prefix, _ := branch()
		if err := writeLine(w, prefix, strings.ReplaceAll(f.Name, "_", " ")+": "+text(f.Value)); err != nil {
			return err
		}
	}
	for _, c := range n.Children {
		prefix, below := branch()
		if err := writeLine(w, prefix, c.title()); err != nil {
			return err
		}
		if err := c.writeBelow(w, below); err != nil {
			return err
		}
	}
	return nil
}

func writeLine(w io.Writer, prefix, line string) error {
	_, err := fmt.Fprintln(w, prefix+line)
	return err
}

func text(v any) string {
	switch v := v.(type) {
	case []string:
		return strings.Join(v, ", ")
	case bool:
		if v {
			return "yes"
		}
		return "no"
	}
	return fmt.Sprint(v)
}
