package spool

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"os"

	"github.com/postseal/postseal/internal/stage"
)

// blockSize is how much is written to the file at a time, a multiple of the size
// of an AES block.
const blockSize = stage.Size

// disk is the part of a Buffer that lives in a file. Data passes through blocks:
// full ones are in the file, one is on its way there beside the writer, and the
// last one is not yet full.
type disk struct {
	file *os.File
	name string // not empty while the file still has its name

	key    []byte       // AES-256 key; nil when the data is public
	cipher cipher.Block // nil when the data is public

	done  int64        // octets in the file, a multiple of blockSize
	busy  *stage.Block // full: on its way, or plaintext that could not be written
	block *stage.Block // plaintext behind it
	free  *stage.Block
	task  stage.Task
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
	d := &disk{file: f, name: f.Name(), block: stage.Get()}
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

// write appends p. After an error, which may be that of an earlier call, the file
// is not used any more for writing; n counts the octets that can be read back.
func (d *disk) write(p []byte) (n int, err error) {
	for n < len(p) {
		m := min(blockSize-len(d.block.Buf), len(p)-n)
		d.block.Buf = append(d.block.Buf, p[n:n+m]...)
		n += m
		if len(d.block.Buf) == blockSize {
			if err = d.flush(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// flush sends the full block on its way to the file.
func (d *disk) flush() error {
	if err := d.settle(); err != nil {
		return err
	}
	full, at := d.block, d.done
	if d.free == nil {
		d.free = stage.Get()
	}
	d.busy, d.block, d.free = full, d.free, nil
	store := func() error {
		d.xor(full.Buf, at)
		if _, err := d.file.WriteAt(full.Buf, at); err != nil {
			d.xor(full.Buf, at) // plaintext again: it stays readable
			return err
		}
		return nil
	}
	if err := d.task.Go(store); err != nil || stage.Parallel() {
		return err
	}
	return d.settle()
}

// settle waits for the block that is on its way.
func (d *disk) settle() error {
	err := d.task.Wait()
	if err == nil && d.busy != nil {
		d.done += int64(len(d.busy.Buf))
		d.busy.Resize(0)
		d.busy, d.free = nil, d.busy
	}
	return err
}

// pending reports whether settle has something to do before readAt.
func (d *disk) pending() bool { return d.busy != nil }

// readAt fills p from offset off; the caller has checked that all of it exists,
// and has called settle since the last write.
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
	at := d.done
	for _, b := range []*stage.Block{d.busy, d.block} {
		if b == nil {
			continue
		}
		if from := off + int64(n) - at; n < len(p) && from < int64(len(b.Buf)) {
			n += copy(p[n:], b.Buf[from:])
		}
		at += int64(len(b.Buf))
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
	_ = d.task.Wait() // nobody wants to know any more
	clear(d.key)
	d.cipher = nil
	stage.Put(d.block)
	stage.Put(d.busy)
	stage.Put(d.free)
	d.block, d.busy, d.free = nil, nil, nil
	err := d.file.Close()
	if d.name != "" {
		err = errors.Join(err, os.Remove(d.name))
	}
	return err
}
