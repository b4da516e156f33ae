package spool

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"os"
)

// disk is the part of a Buffer that lives in a file. Data passes through one
// block: full blocks are in the file, the last one, not yet full, is in block.
type disk struct {
	file *os.File
	name string // not empty while the file still has its name

	key    []byte       // AES-256 key; nil when the data is public
	cipher cipher.Block // nil when the data is public

	done  int64  // octets in the file, a multiple of chunkSize
	block []byte // plaintext that is not in the file yet, capacity chunkSize
}

// fileHook, when set by a test, sees each temporary file after it was opened.
var fileHook func(*os.File)

// newDisk creates the temporary file in dir. os.CreateTemp opens it with mode
// 0600 and fails when the name exists.
func newDisk(dir string, public bool) (*disk, error) {
	f, err := os.CreateTemp(dir, "spool-*")
	if err != nil {
		return nil, err
	}
	d := &disk{file: f, name: f.Name(), block: make([]byte, 0, chunkSize)}
	if os.Remove(d.name) == nil {
		d.name = ""
	}
	if !public {
		d.key = make([]byte, 32)
		_, _ = rand.Read(d.key) // never fails, see its documentation
		if d.cipher, err = aes.NewCipher(d.key); err != nil {
			return nil, errors.Join(err, d.close())
		}
	}
	if fileHook != nil {
		fileHook(f)
	}
	return d, nil
}

// write appends p. After an error the file is not used any more for writing;
// n counts the octets that can be read back.
func (d *disk) write(p []byte) (n int, err error) {
	for n < len(p) {
		m := copy(d.block[len(d.block):chunkSize], p[n:])
		d.block = d.block[:len(d.block)+m]
		n += m
		if len(d.block) == chunkSize {
			if err = d.flush(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// flush moves the full block to the file.
func (d *disk) flush() error {
	d.xor(d.block, d.done)
	if _, err := d.file.WriteAt(d.block, d.done); err != nil {
		d.xor(d.block, d.done) // plaintext again: it stays readable
		return err
	}
	d.done += int64(len(d.block))
	d.block = d.block[:0]
	return nil
}

// readAt fills p from offset off; the caller has checked that all of it exists.
func (d *disk) readAt(p []byte, off int64) (int, error) {
	n := 0
	if off < d.done {
		part := p[:min(int64(len(p)), d.done-off)]
		var err error
		n, err = d.file.ReadAt(part, off)
		d.xor(part[:n], off)
		if n < len(part) {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF // somebody cut the file
			}
			return n, err
		}
	}
	if n < len(p) {
		n += copy(p[n:], d.block[off+int64(n)-d.done:])
	}
	return n, nil
}

// xor applies the key stream at offset off of the file to p, in place. The
// counter block is the number of the AES block, as NIST SP 800-38A,
// Section 6.5 allows: the key is used for this one file only, and every
// position is written once.
func (d *disk) xor(p []byte, off int64) {
	if d.cipher == nil || len(p) == 0 {
		return
	}
	var iv [aes.BlockSize]byte
	binary.BigEndian.PutUint64(iv[8:], uint64(off)/aes.BlockSize)
	stream := cipher.NewCTR(d.cipher, iv[:])
	if skip := off % aes.BlockSize; skip > 0 {
		var pad [aes.BlockSize]byte
		stream.XORKeyStream(pad[:skip], pad[:skip])
	}
	stream.XORKeyStream(p, p)
}

// close frees everything. The expanded key inside the cipher cannot be
// overwritten from here; it becomes garbage with the last reference.
func (d *disk) close() error {
	clear(d.key)
	d.cipher = nil
	clear(d.block[:cap(d.block)])
	d.block = nil
	err := d.file.Close()
	if d.name != "" {
		err = errors.Join(err, os.Remove(d.name))
	}
	return err
}
