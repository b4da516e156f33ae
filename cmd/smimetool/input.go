package main

import (
	"bytes"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"os"
)

// maxFile bounds files with keys and certificates, in octets.
const maxFile = 16 << 20

// An input is what a command reads.
type input struct {
	name string
	size int64 // in octets; -1 when it is not known
	src  io.Reader
	file *os.File // nil for a stream that is not a file
	a    *app

	regular *os.File // where it can be read from any place; else nil
	start   int64    // where in it the input starts
}

// open opens the input in args, of which there is one at most: none and "-"
// are the standard input.
func (a *app) open(args []string) (*input, error) {
	if len(args) == 0 || args[0] == "-" {
		if isTerminal(a.stdin) {
			a.say("reading from the terminal; Ctrl-D on a line of its own ends the input")
		}
		in := &input{name: inputName(args), size: -1, src: a.stdin, a: a}
		if f, ok := a.stdin.(*os.File); ok {
			in.measure(f)
		}
		a.progress = a.startProgress(in.size)
		return in, nil
	}
	in, err := a.openFile(args[0])
	if err == nil {
		a.progress = a.startProgress(in.size)
	}
	return in, err
}

// openFile opens a file, without progress.
func (a *app) openFile(name string) (*input, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = usagef("%s: is a folder, not a file", name)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	in := &input{name: name, size: -1, src: f, a: a, file: f}
	in.measure(f)
	return in, nil
}

// measure finds out how much a file has to give.
func (in *input) measure(f *os.File) {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return
	}
	at, err := f.Seek(0, io.SeekCurrent)
	if err == nil && at <= info.Size() {
		in.size, in.regular, in.start = info.Size()-at, f, at
	}
}

// rewind goes back to where a file starts.
func (in *input) rewind() error {
	if _, err := in.regular.Seek(in.start, io.SeekStart); err != nil {
		return in.failed(err)
	}
	return nil
}

// ReadAt implements io.ReaderAt, for an input with a size.
func (in *input) ReadAt(p []byte, off int64) (int, error) {
	n, err := in.regular.ReadAt(p, in.start+off)
	in.a.progress.add(n)
	if err != nil && err != io.EOF {
		err = in.failed(err)
	}
	return n, err
}

// failed says which input could not be read.
func (in *input) failed(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	return &readError{&namedError{in.name, err}}
}

// known returns the size as the options of package cms want it.
func (in *input) known() int64 { return max(in.size, 0) }

// Read implements io.Reader.
func (in *input) Read(p []byte) (int, error) {
	n, err := in.src.Read(p)
	in.a.progress.add(n)
	if err != nil && err != io.EOF {
		err = in.failed(err)
	}
	return n, err
}

// A readError is about reading, not about what was read.
type readError struct{ err error }

func (e *readError) Error() string { return e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

// Close closes a file that open has opened.
func (in *input) Close() {
	if in != nil && in.file != nil {
		_ = in.file.Close() // it was only read
	}
}

// readFile reads a small file, such as one with certificates.
func (a *app) readFile(name string) ([]byte, error) {
	in, err := a.openFile(name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	data, err := io.ReadAll(io.LimitReader(in.src, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = usagef("%s: has more than 16 MiB, which is no file of keys or certificates", name)
	}
	return data, err
}

// pemBlocks returns the blocks of one kind in PEM, or DER as it is.
func pemBlocks(data []byte, kind string) [][]byte {
	if !bytes.Contains(data, []byte("-----BEGIN ")) {
		return [][]byte{data}
	}
	var out [][]byte
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == kind {
			out = append(out, block.Bytes)
		}
	}
	return out
}
